"""Compare canary and stable, or environments: `tarsrelease measure drift` (docs/measuring.md)."""

import sys

from tarsrelease.cli.runbook_scripts import run

if __name__ == "__main__":
    sys.exit(run("drift", __file__, sys.argv[1:]))
