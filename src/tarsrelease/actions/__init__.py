"""What the composite actions run: inputs in, one command, and outputs, summary, annotations out."""
