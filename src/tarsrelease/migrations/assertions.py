"""Assertions of a migration against what the database says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tarsrelease.model.bundle import ColumnAssertion, IndexAssertion, QueryAssertion
from tarsrelease.model.outcome import Check, Observed, Status


@dataclass(frozen=True, slots=True)
class IndexState:
    """An index in the catalog; `columns` as PostgreSQL prints them, with DESC."""

    table: str
    columns: tuple[str, ...]
    valid: bool
    ready: bool


@dataclass(frozen=True, slots=True)
class QueryRun:
    """How a query was planned and how long it took on the server: the median of `runs`, seconds."""

    indexes: frozenset[str]
    seconds: float
    runs: int


def index_check(wanted: IndexAssertion, found: IndexState | None, source: str) -> Check:
    """The index exists, is valid and ready, and is on these columns of this table."""
    expected = f"valid and ready, on {wanted.table} ({', '.join(wanted.columns)})"
    if found is None:
        reason = f"{wanted.index} does not exist"
        return _check("migrate.index", Status.FAIL, expected, reason, source)
    faults = []
    if not found.valid:
        faults.append("is INVALID: its build was interrupted, so no query uses it")
    if not found.ready:
        faults.append("is not ready: writes do not maintain it yet")
    if _bare(found.table) != _bare(wanted.table):
        faults.append(f"is on {found.table}")
    if tuple(map(_plain, found.columns)) != tuple(map(_plain, wanted.columns)):
        faults.append(f"is on columns ({', '.join(found.columns)})")
    if faults:
        reason = f"{wanted.index} {'; '.join(faults)}"
        return _check("migrate.index", Status.FAIL, expected, reason, source)
    return _check("migrate.index", Status.PASS, expected, f"{wanted.index} is {expected}", source)


def column_check(wanted: ColumnAssertion, found: str | None, source: str) -> Check:
    """The column exists and has this type; `found` is its type, None where it is absent."""
    expected = f"{wanted.table}.{wanted.column} of type {wanted.type}"
    if found is None:
        reason = f"{wanted.table} has no column {wanted.column}"
        return _check("migrate.column", Status.FAIL, expected, reason, source)
    status = Status.PASS if _plain(found) == _plain(wanted.type) else Status.FAIL
    reason = f"{wanted.table}.{wanted.column} is {found}"
    return _check("migrate.column", status, expected, reason, source)


def query_check(wanted: QueryAssertion, run: QueryRun, source: str) -> Check:
    """The query answers in time, planned through the index that is named."""
    expected = f"under {wanted.within * 1000:g} ms"
    if wanted.uses_index:
        expected += f", using {wanted.uses_index}"
    faults = []
    if run.seconds >= wanted.within:
        faults.append(f"took {run.seconds * 1000:.3g} ms")
    if wanted.uses_index and wanted.uses_index.rpartition(".")[2] not in run.indexes:
        used = ", ".join(sorted(run.indexes)) or "no index"
        faults.append(f"is planned with {used}")
    measured = f"{run.seconds * 1000:.3g} ms (median of {run.runs}), with "
    measured += ", ".join(sorted(run.indexes)) or "no index"
    return Check(
        id="migrate.query",
        status=Status.FAIL if faults else Status.PASS,
        observed=Observed(value=run.seconds, unit="seconds"),
        expected=expected,
        reason=f"{'; '.join(faults) or measured}: {' '.join(wanted.query.split())}",
        source=source,
        samples=run.runs,
    )


def _bare(name: str) -> str:
    return name.rpartition(".")[2]


def _plain(text: str) -> str:
    return " ".join(text.replace('"', "").lower().split())


def _check(check_id: str, status: Status, expected: str, reason: str, source: str) -> Check:
    return Check(id=check_id, status=status, expected=expected, reason=reason, source=source)


def answer_check(seconds: Sequence[float], limit: float) -> Check:
    """A trivial query's median answer, round trip included, is below the limit."""
    ordered = sorted(seconds)
    median = ordered[len(ordered) // 2]
    return Check(
        id="database.answers",
        status=Status.PASS if median < limit else Status.FAIL,
        observed=Observed(value=median, unit="seconds"),
        expected=f"under {limit * 1000:g} ms",
        reason=f"answers in {median * 1000:.3g} ms (median of {len(ordered)})",
        samples=len(ordered),
    )
