#!/usr/bin/env python3
"""Write the GA certification package: `tarsrelease report certify` (docs/certification.md)."""

from __future__ import annotations

import argparse
import sys

from tarsrelease.cli import app


def main(arguments: list[str]) -> int:
    """The exit code of `report certify`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ga-start-time", metavar="TIME", help="in ISO 8601")
    parser.add_argument("--ga-end-time", metavar="TIME", help="in ISO 8601")
    parser.add_argument("--output-dir", metavar="DIR", default="GA_CERTIFICATION")
    parser.add_argument("--evidence", metavar="DIR", default="evidence")
    given = parser.parse_args(arguments)
    times = (("--from", given.ga_start_time), ("--to", given.ga_end_time))
    options = [f"{name}={value}" for name, value in times if value]
    return app.run(
        ["report", "certify", given.evidence, f"--output-dir={given.output_dir}", *options]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
