"""The command line: runs a step with the given options, prints its outcome, sets the exit code."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code.

    Answers --version and --help before importing anything else.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"]:
        from tarsrelease import __version__

        print(f"tarsrelease {__version__}")
        sys.exit(0)
    if arguments in (["--help"], ["-h"]):
        from tarsrelease.cli.overview import overview

        sys.stdout.write(overview())
        sys.exit(0)
    from tarsrelease.cli.app import run

    sys.exit(run(arguments))
