"""``python -m tarsrelease.github NAME``."""

import sys

from tarsrelease.github.main import main

sys.exit(main(sys.argv[1]))
