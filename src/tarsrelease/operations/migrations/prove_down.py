"""Proof on a throwaway copy that down leads back: up, down, the same schema; and up again."""

from __future__ import annotations

from collections.abc import Mapping

from tarsrelease.context import Assignment
from tarsrelease.migrations.dumps import difference
from tarsrelease.migrations.history import Applied, State, downs, ordered
from tarsrelease.migrations.locks import documented
from tarsrelease.migrations.problems import SqlError
from tarsrelease.migrations.statements import SqlFile, Statement
from tarsrelease.model.bundle import Migration
from tarsrelease.model.outcome import Check, Status
from tarsrelease.ports.database import ScratchDatabase

_EXPECTED = "up, then down, leaves the schema that was there; up again the one after up"
_SHOWN = 12
"""Lines of a difference in the report."""


class _FailedError(Exception):
    """A statement failed; the text says where."""


def prove_down(
    assignment: Assignment,
    read: Mapping[str, SqlFile],
    state: State,
    phase: str,
    scratch: ScratchDatabase,
    before: str | None = None,
) -> list[Check]:
    """Run down and up again on `scratch`, to which the phase is completely applied.

    `before` is the schema's dump before up, if nothing of the release was applied then.
    """
    targets = [
        one
        for one in assignment.release.manifest.migrations
        if one.phase == phase or one.file in state.files
    ]
    if not targets:
        return []
    stuck = [one.file for one in targets if one.down is None]
    if stuck:
        return [_check(Status.SKIPPED, f"NOT CHECKED: no down file for {', '.join(stuck)}")]
    assignment.people.progress.say("running down and up again on the copy")
    full = State({one.file: _applied(one, read[one.file]) for one in targets})
    try:
        after_up = scratch.dump()
        for name, _ in downs(targets, full):
            _run(read[name], scratch)
        after_down = scratch.dump()
        for one in [*ordered(targets, "expand"), *ordered(targets, "contract")]:
            _run(read[one.file], scratch)
        again = scratch.dump()
    except _FailedError as problem:
        return [_check(Status.FAIL, str(problem))]
    unlike = difference(after_up, again, names=("after up", "after up, down, up"))
    if before is not None:
        unlike = difference(before, after_down, names=("before", "after up and down")) + unlike
    if unlike:
        return [_check(Status.FAIL, "the schema differs:\n" + "\n".join(unlike[:_SHOWN]))]
    back = "down leads back to the schema before, " if before is not None else ""
    return [_check(Status.PASS, f"{back}down and up again to the same schema")]


def _applied(migration: Migration, file: SqlFile) -> Applied:
    return Applied(migration.file, "", len(file.statements), file.sha256)


def _run(file: SqlFile, scratch: ScratchDatabase) -> None:
    for statement in file.statements:
        _one(statement, scratch)


def _one(statement: Statement, scratch: ScratchDatabase) -> None:
    try:
        scratch.run(statement, documented(statement, ()) if statement.non_transactional else None)
    except SqlError as problem:
        if "empty-copy" in statement.allowed:
            return
        raise _FailedError(
            f"{statement.place}: {problem.message} {problem.hint}".strip()
        ) from problem


def _check(status: Status, reason: str) -> Check:
    return Check(id="migrate.down", status=status, expected=_EXPECTED, reason=reason)
