"""The linter squawk, a program in a Python package."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tarsrelease.adapters.child_environment import minimal
from tarsrelease.migrations.findings import Finding
from tarsrelease.migrations.linting import NOT_ASKED, read_squawk
from tarsrelease.migrations.statements import SqlFile
from tarsrelease.model.errors import UsageError

_LONGEST = 30.0


def squawk(version: int) -> Callable[[SqlFile], list[Finding]]:
    """A linter for PostgreSQL of this major version."""
    program = _program()

    def lint(file: SqlFile) -> list[Finding]:
        argv = [program, "--reporter", "json", "--pg-version", f"{version}.0"]
        argv += ["--stdin-filepath", file.file, "--no-error-on-unmatched-pattern"]
        for rule in NOT_ASKED:
            argv += ["--exclude", rule]
        try:
            done = subprocess.run(
                argv,
                input=file.content,
                capture_output=True,
                check=False,
                timeout=_LONGEST,
                env=minimal(),
            )
            return read_squawk(done.stdout.decode(), file)
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError) as problem:
            raise UsageError(
                doing=f"linting {file.file}",
                found=f"{program} gave no findings in JSON: {problem}",
                expected="squawk 2, as the package squawk-cli installs it",
                next_step="install tarsrelease's requirements again",
            ) from problem

    return lint


def _program() -> str:
    beside = Path(sys.executable).parent / "squawk"
    found = str(beside) if beside.exists() else shutil.which("squawk")
    if found is None:
        raise UsageError(
            doing="finding the linter",
            found=f"no squawk beside {sys.executable} or on the PATH",
            expected="the package squawk-cli, which tarsrelease requires",
            next_step="install tarsrelease's requirements again",
        )
    return found
