"""Frozen values that all other packages use; no input, no output, no clock."""
