"""psycopg's errors as those of the ports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tarsrelease.migrations.problems import ConnectionGoneError, SqlError


@contextmanager
def own_errors() -> Iterator[None]:
    """Turn psycopg's errors into SqlError or ConnectionGoneError."""
    try:
        yield
    except psycopg.Error as problem:
        raise own_error(problem) from problem


def own_error(problem: psycopg.Error) -> SqlError | ConnectionGoneError:
    """An error with a SQLSTATE is PostgreSQL's answer; without one, the connection is gone."""
    state = problem.sqlstate
    # 57P01 to 57P03: the server or an administrator ends the session, or it starts up.
    if state is None or state.startswith(("08", "57P")):
        return ConnectionGoneError(" ".join(str(problem).split()) or "the connection is closed")
    diagnostics = problem.diag
    position = diagnostics.statement_position
    return SqlError(
        state or "XX000",  # a server that is none, or a broken proxy
        diagnostics.message_primary or str(problem),
        hint=" ".join(filter(None, (diagnostics.message_detail, diagnostics.message_hint))),
        position=int(position) if position and re.fullmatch(r"[0-9]{1,9}", position) else 0,
    )
