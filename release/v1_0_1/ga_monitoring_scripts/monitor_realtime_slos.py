"""Watch the SLOs and send alerts: `tarsrelease measure slo` (docs/measuring.md)."""

import sys

from tarsrelease.cli.runbook_scripts import run

if __name__ == "__main__":
    sys.exit(run("slo", __file__, sys.argv[1:]))
