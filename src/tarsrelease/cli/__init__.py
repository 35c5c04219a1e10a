"""The command line: flags to the arguments of a step, its outcome to text and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"]:  # asked by scripts before every use: nothing is imported for it
        from tarsrelease import __version__

        print(f"tarsrelease {__version__}")
        sys.exit(0)
    from tarsrelease.cli.app import run

    sys.exit(run(arguments))
