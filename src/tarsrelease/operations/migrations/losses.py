"""What undoing would lose: the down files, tried on a copy, counted on the real database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from tarsrelease.context import Assignment
from tarsrelease.migrations.facts import Facts, changed_types, removed_data
from tarsrelease.migrations.history import Work
from tarsrelease.migrations.locks import documented
from tarsrelease.migrations.losses import Loss, destroyed_in_block, losses
from tarsrelease.migrations.problems import SqlError
from tarsrelease.migrations.sequences import sets_of
from tarsrelease.migrations.statements import Statement, acts_on_one_object
from tarsrelease.migrations.trial import Trial
from tarsrelease.model.errors import ReleaseError
from tarsrelease.operations.migrations.files import database_of
from tarsrelease.ports.database import Catalog, DatabaseAccess, ScratchDatabase

_COUNTING = 10.0
"""Seconds for counting the rows of one column; after that it is an estimate."""
_ABSENT = {"42P01", "42703", "42704", "42883", "3F000"}
"""undefined_table, undefined_column, undefined_object, undefined_function, invalid_schema_name."""


@dataclass
class Undoing:
    """`lost`: a line for each table or column with content. `unproven`: why more may be lost.

    `nothing_to_do`: statements, by file and number, of which a half-applied file left nothing to
    undo.
    """

    lost: list[str] = field(default_factory=list)
    unproven: str = ""
    nothing_to_do: set[tuple[str, int]] = field(default_factory=set)

    @property
    def summary(self) -> str:
        """One sentence about what is lost."""
        if not self.lost and not self.unproven:
            return "No data is lost."
        parts = [f"LOST FOR GOOD: {'; '.join(self.lost)}."] if self.lost else []
        if self.unproven:
            parts.append(f"MORE MAY BE LOST: {self.unproven}.")
        return " ".join(parts)

    def without_effect(self, work: Sequence[Work]) -> list[Work]:
        """The work, with statements that have nothing to undo replaced by an empty SELECT."""
        return [
            replace(
                one,
                statements=tuple(
                    replace(each, text="SELECT", non_transactional=None)
                    if (each.file, each.number) in self.nothing_to_do
                    else each
                    for each in one.statements
                ),
            )
            for one in work
        ]


def try_undoing(
    assignment: Assignment, access: DatabaseAccess, catalog: Catalog, work: Sequence[Work]
) -> Undoing:
    """Run the down files on a copy of the schema as it is now, and count what they remove."""
    found = Undoing()
    if not work:
        return found
    database = database_of(assignment.environment)
    assignment.people.progress.say("trying the down files on a copy of the schema")
    try:
        with access.copies(catalog.server().version) as scratch:
            _walk(work, catalog, scratch, found, f"{database.schema_name}.")
    except ReleaseError as problem:
        found.unproven = f"the down files could not be tried on a copy ({problem.detail.found})"
        found.lost = [
            line for one in work for each in one.statements for line in _text(each, catalog)
        ]
    return found


def _walk(
    work: Sequence[Work], catalog: Catalog, scratch: ScratchDatabase, found: Undoing, schema: str
) -> None:
    base = before = scratch.facts()
    for one in work:
        for statement in one.statements:
            outside = documented(statement, ()) if statement.non_transactional else None
            try:
                trial = scratch.run(statement, outside)
            except SqlError as problem:
                if "empty-copy" in statement.allowed:
                    continue
                if one.partial and problem.state in _ABSENT and acts_on_one_object(statement):
                    found.nothing_to_do.add((statement.file, statement.number))
                    continue
                found.unproven = f"{statement.place} fails on a copy: {problem.message}"
                return
            after = scratch.facts()
            lost = [
                *_measured(statement, catalog, base, before, after, schema),
                *_changed(statement, catalog, trial, schema),
                *_positions(statement, catalog, trial, base, schema),
            ]
            if not lost and (words := _by_text(statement, trial)):
                found.unproven = (
                    f"{'; '.join(words)}, perhaps in a branch or a loop that a copy without rows "
                    "does not reach"
                )
            found.lost += lost
            before = after


def _measured(
    statement: Statement, catalog: Catalog, base: Facts, before: Facts, after: Facts, schema: str
) -> Iterator[str]:
    for removed in removed_data(base, before, after):
        if removed.is_sequence:
            if (position := catalog.position(removed.table)) is not None:
                name = removed.table.removeprefix(schema)
                yield f"the position of sequence {name}, {position} ({statement.place})"
            continue
        loss = Loss(removed.table, removed.column, statement.place)
        number, counted = _rows(catalog, loss)
        if number or not counted:
            yield _line(loss, number, counted, schema)
    for text in changed_types(base, before, after):
        yield f"{text} ({statement.place})"


def _changed(statement: Statement, catalog: Catalog, trial: Trial, schema: str) -> Iterator[str]:
    """Rows that are deleted, also by foreign keys, and rows whose values are overwritten."""
    reached = {
        name: gone for one in sorted(trial.deleted) for name, gone in catalog.reached(one).items()
    }
    deleted = trial.deleted | {name for name, gone in reached.items() if gone}
    for name in sorted(deleted | trial.updated | reached.keys()):
        number, counted = _rows(catalog, Loss(name, None, statement.place))
        what = "rows of" if name in deleted else "rows are overwritten in"
        if number or not counted:
            yield f"up to {number} {what} {name.removeprefix(schema)} ({statement.place})"


def _positions(
    statement: Statement, catalog: Catalog, trial: Trial, base: Facts, schema: str
) -> Iterator[str]:
    """Sequences of which the position is set."""
    for name in sorted(trial.moved) or sets_of(statement, base):
        value = catalog.last_value(name)
        at = f", {value}," if value is not None else ""
        yield f"the position of {name.removeprefix(schema)}{at} is set anew ({statement.place})"


def _by_text(statement: Statement, trial: Trial) -> list[str]:
    """What the statement may remove by its text and that of functions."""
    words = destroyed_in_block(statement)
    return [
        *([f"the block in {statement.place} has {', '.join(words)}"] if words else []),
        *(f"{statement.place} calls {one}" for one in trial.calls),
        *(f"{statement.place} fires {one}" for one in trial.fires),
    ]


def _text(statement: Statement, catalog: Catalog) -> Iterator[str]:
    """What the text alone shows."""
    for loss in losses(statement):
        number, counted = _rows(catalog, loss)
        if number or not counted:
            yield _line(loss, number, counted, "")


def _rows(catalog: Catalog, loss: Loss) -> tuple[int, bool]:
    rows = catalog.rows_lost(loss, _COUNTING)
    return (0, True) if rows is None else rows


def _line(loss: Loss, number: int, counted: bool, schema: str) -> str:
    about = "" if counted else "about "
    what = "rows with a value in" if loss.column else "rows of"
    return f"{about}{number} {what} {loss.what.removeprefix(schema)} ({loss.place})"
