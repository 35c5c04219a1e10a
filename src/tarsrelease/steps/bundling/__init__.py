"""The parts of a bundle as bytes. Pure: the same input gives the same bytes on every machine."""
