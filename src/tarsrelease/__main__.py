"""``python -m tarsrelease``."""

from tarsrelease.cli import main

main()
