"""The tests of production_validation_suite.py, one module for each group."""
