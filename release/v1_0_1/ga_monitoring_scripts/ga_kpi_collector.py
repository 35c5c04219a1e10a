"""Measure the KPIs of a window: `tarsrelease measure kpi` (docs/measuring.md)."""

import sys

from tarsrelease.cli.runbook_scripts import run

if __name__ == "__main__":
    sys.exit(run("kpi", __file__, sys.argv[1:]))
