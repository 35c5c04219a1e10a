"""pg_dump of a schema."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from psycopg import conninfo

from tarsrelease.adapters.postgres.connect import address, without_password
from tarsrelease.adapters.postgres.facts import TRIAL_SCHEMA
from tarsrelease.adapters.postgres.history import HISTORY, OWNER
from tarsrelease.adapters.postgres.programs import find
from tarsrelease.model.errors import UnreachableError, UsageError

WITHOUT_OWNERS = ("--no-owner", "--no-privileges", "--no-publications")
"""For a copy that no superuser makes: only superusers may publish all tables."""
_LONGEST = 120.0
_LOCK_WAIT = 10.0
"""Seconds that pg_dump waits for a table that somebody has locked exclusively."""


def dump_schema(dsn: str, version: int, options: Sequence[str] = ()) -> str:
    """pg_dump of the schema without the history's tables. Raises UsageError or UnreachableError.

    pg_dump must not be older than the server.
    """
    program = find("pg_dump", at_least=version)
    with _service(conninfo.conninfo_to_dict(dsn)) as environment:
        try:
            done = subprocess.run(
                [
                    str(program),
                    *("--schema-only", "--no-subscriptions"),
                    *("--no-tablespaces", f"--exclude-schema={TRIAL_SCHEMA}", *options),
                    f"--lock-wait-timeout={_LOCK_WAIT * 1000:.0f}",
                    *(f"--exclude-table=*.{name}" for name in (HISTORY, OWNER)),
                ],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                check=False,
                timeout=_LONGEST,
            )
        except subprocess.TimeoutExpired:
            raise UnreachableError(
                doing=f"dumping the schema of {address(dsn)}",
                found=f"pg_dump did not finish within {_LONGEST:.0f} s",
                expected="a dump of the schema alone",
                next_step="check that the server answers, and that it is not overloaded",
            ) from None
    if done.returncode != 0:
        raise _failed(dsn, without_password(" ".join(done.stderr.split())))
    return done.stdout


def _failed(dsn: str, found: str) -> UsageError | UnreachableError:
    kind: type[UsageError | UnreachableError] = UnreachableError
    next_step = "check that the server answers"
    if "permission denied" in found:
        kind = UsageError
        next_step = "the role must own, or be able to read, every table (pg_read_all_data)"
    elif "LOCK TABLE" in found:
        found = f"a table is locked exclusively for more than {_LOCK_WAIT:.0f} s: {found}"
        next_step = (
            "wait until the schema change that holds the lock ends, or end its session: SELECT "
            "pid, relation::regclass FROM pg_locks WHERE mode = 'AccessExclusiveLock'"
        )
    return kind(
        doing=f"dumping the schema of {address(dsn)}",
        found=found,
        expected="pg_dump --schema-only to succeed",
        next_step=next_step,
    )


@contextmanager
def _service(settings: Mapping[str, object]) -> Iterator[dict[str, str]]:
    """An environment that leads to the server; no secret is in any process's arguments."""
    found = {name: str(value) for name, value in settings.items() if value is not None}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    with tempfile.TemporaryDirectory(prefix="tarsrelease-") as folder:
        file = Path(folder) / "service"
        file.touch(mode=0o600)
        lines = [f"{name}={value}" for name, value in found.items() if name != "service"]
        file.write_text("\n".join(["[migrations]", *lines, ""]), encoding="utf-8")
        yield {
            **kept,
            "LC_ALL": "C",
            "PGSERVICEFILE": str(file),
            "PGSERVICE": "migrations",
            "PGCLIENTENCODING": "UTF8",
        }
