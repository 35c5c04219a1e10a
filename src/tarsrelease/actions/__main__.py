"""``python -m tarsrelease.actions NAME``."""

import sys

from tarsrelease.actions.main import main

sys.exit(main(sys.argv[1]))
