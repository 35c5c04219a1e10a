"""The Python of the composite actions: inputs, one command, outputs, summary and annotations."""
