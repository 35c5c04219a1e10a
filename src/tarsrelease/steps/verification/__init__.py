"""The parts of `verify`, one module per question; each takes values and gives checks."""
