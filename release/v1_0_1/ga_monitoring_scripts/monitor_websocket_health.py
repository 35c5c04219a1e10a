"""Cut WebSockets and measure reconnects: `tarsrelease measure websocket` (docs/measuring.md)."""

import sys

from tarsrelease.cli.runbook_scripts import run

if __name__ == "__main__":
    sys.exit(run("websocket", __file__, sys.argv[1:]))
