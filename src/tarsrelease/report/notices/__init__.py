"""A notice as the message of each channel. Pure."""
