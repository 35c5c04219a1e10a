"""tarsrelease: takes a release through its day, and a bad one back, provably."""

__version__ = "0.1.0"
