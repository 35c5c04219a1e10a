"""What the scripts in a bundle's ga_monitoring_scripts/ do: one `measure` command each.

They may be started from any directory. The command runs in the nearest directory that has
environments/ above the current one, else above the bundle, so that names of environments and the
evidence folder are found there and nothing is written into the bundle.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tarsrelease.cli import app


def run(command: str, script: str, arguments: Sequence[str]) -> int:
    """Run `measure COMMAND` for the bundle of `script`, by default in production."""
    bundle = Path(script).resolve().parents[1]
    root = next(
        (
            folder
            for start in (Path.cwd(), bundle)
            for folder in (start, *start.parents)
            if (folder / "environments").is_dir()
        ),
        None,
    )
    if root is None and Path.cwd().is_relative_to(bundle):
        root = bundle.parent
    if root is not None:
        os.chdir(root)
    given = list(arguments)
    if not any(each.partition("=")[0] == "--environment" for each in given):
        given += ["--environment", os.environ.get("TARSRELEASE_ENVIRONMENT", "production")]
    return app.run(["measure", command, "--release", str(bundle), *given])
