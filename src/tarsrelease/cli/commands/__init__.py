"""One module per command of the day; each is imported only when it is run."""
