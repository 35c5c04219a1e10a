"""Which files are applied according to the history, how far, and what is left to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from tarsrelease.migrations.statements import SqlFile, Statement
from tarsrelease.model.bundle import Migration


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One attempt at one statement, as the table `tarsrelease_migrations` keeps it.

    `statements` is how many the file had, `undoes` (of a down file) the files it undoes;
    `finished` is None while it runs, and stays None if it was interrupted or ended in an `error`
    that left nothing behind.
    """

    id: int
    release: str
    file: str
    direction: str
    statement: int
    statements: int
    sha256: str
    file_sha256: str
    undoes: tuple[str, ...]
    started: datetime
    finished: datetime | None
    by: str
    run: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """How far a file is applied; `done` maps finished statements to their rows.

    `interrupted` is the row of an attempt that never finished, if it is the file's last one.
    """

    file: str
    release: str
    statements: int
    file_sha256: str
    done: dict[int, HistoryRow] = field(default_factory=dict)
    interrupted: HistoryRow | None = None
    undoes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every statement is finished."""
        return len(self.done) == self.statements


@dataclass(frozen=True, slots=True)
class State:
    """The whole history: `files` by name, and a down file that has started and not finished."""

    files: Mapping[str, Applied]
    undoing: Applied | None = None

    def applied(self, file: str) -> bool:
        """Whether the file is completely applied."""
        return file in self.files and self.files[file].complete


def fold(rows: Iterable[HistoryRow]) -> State:
    """The state after these rows, whose ids give their order."""
    files: dict[str, Applied] = {}
    undoing: Applied | None = None
    for row in sorted(rows, key=lambda row: row.id):
        if row.direction == "up":
            files[row.file] = _after(files.get(row.file), row)
            continue
        undoing = _after(undoing if undoing and undoing.file == row.file else None, row)
        if undoing.complete:
            files = {name: state for name, state in files.items() if name not in undoing.undoes}
            undoing = None
    return State(files, undoing)


def _after(before: Applied | None, row: HistoryRow) -> Applied:
    state = before or Applied(row.file, row.release, row.statements, row.file_sha256)
    if row.finished is not None:
        state.done[row.statement] = row  # a copy for each row would take quadratic time
    return replace(
        state,
        release=row.release,
        statements=row.statements,
        file_sha256=row.file_sha256,
        interrupted=row if row.finished is None and row.error is None else None,
        undoes=row.undoes,
    )


@dataclass(frozen=True, slots=True)
class Work:
    """Statements to apply, in order; `interrupted` is the row of an attempt that never finished."""

    file: SqlFile
    statements: tuple[Statement, ...]
    interrupted: HistoryRow | None = None
    partial: bool = False
    """Whether it undoes a file that was applied in part."""


def ordered(migrations: Sequence[Migration], phase: str) -> list[Migration]:
    """The phase's migrations in their order."""
    return sorted((one for one in migrations if one.phase == phase), key=lambda one: one.order)


def objections(
    migrations: Sequence[Migration],
    files: Mapping[str, SqlFile],
    state: State,
    *,
    release: str,
    phase: str,
) -> list[str]:
    """Why nothing may be applied, one sentence each; empty if files and history agree.

    A file that was applied completely must not change at all. In a file that stopped half-way,
    the statements that are not finished may change, so that a wrong one can be corrected.
    """
    found = []
    if state.undoing is not None:
        found.append(
            f"{state.undoing.file} stopped after {len(state.undoing.done)} of "
            f"{state.undoing.statements} statements: finish `migrate down` first"
        )
    named = {migration.file for migration in migrations}
    for name, applied in state.files.items():
        if name in named:
            found += _changes(applied, files[name])
        elif applied.release == release:
            found.append(f"{name} was applied for {release}, but its manifest does not name it")
        elif not applied.complete:
            found.append(
                f"{name} of release {applied.release} stopped after {len(applied.done)} of "
                f"{applied.statements} statements, and this release does not have it"
            )
    found += _order(migrations, state)
    if phase == "contract":
        found += [
            f"{migration.file} of phase expand is not applied yet"
            for migration in ordered(migrations, "expand")
            if not state.applied(migration.file)
        ]
    return found


def _changes(applied: Applied, file: SqlFile) -> list[str]:
    if applied.complete:
        same = applied.file_sha256 == file.sha256
        row = applied.done[max(applied.done)]
        return (
            []
            if same
            else [
                f"{file.file} was changed after it was applied for {applied.release} by {row.by} "
                f"(then {applied.file_sha256[:12]}, now {file.sha256[:12]})"
            ]
        )
    return [
        f"{file.file}: statement {number} was changed after it was applied (run {row.run})"
        for number, row in sorted(applied.done.items())
        if number > len(file.statements) or file.statements[number - 1].sha256 != row.sha256
    ]


def _order(migrations: Sequence[Migration], state: State) -> list[str]:
    found = []
    for phase in ("expand", "contract"):
        missing: Migration | None = None
        for migration in ordered(migrations, phase):
            if missing is not None and migration.file in state.files:
                found.append(
                    f"{migration.file} (order {migration.order}) is applied, but {missing.file} "
                    f"(order {missing.order}) before it is not"
                )
            if not state.applied(migration.file) and missing is None:
                missing = migration
    return found


def pending(
    migrations: Sequence[Migration], files: Mapping[str, SqlFile], state: State, phase: str
) -> list[Work]:
    """What is left of the phase, in order, without files that are completely applied."""
    work = []
    for migration in ordered(migrations, phase):
        file, applied = files[migration.file], state.files.get(migration.file)
        done = applied.done if applied else {}
        left = tuple(one for one in file.statements if one.number not in done)
        if left:
            work.append(Work(file, left, applied.interrupted if applied else None))
    return work


def downs(migrations: Sequence[Migration], state: State) -> list[tuple[str, tuple[str, ...]]]:
    """Down files to run, the last applied first, each with the files it undoes.

    Only for migrations that are applied, completely or in part; contract before expand. A migration
    without a down file is left out: see `without_down`.
    """
    order = [*ordered(migrations, "expand"), *ordered(migrations, "contract")]
    found: dict[str, list[str]] = {}
    for migration in reversed(order):
        if migration.down is not None and migration.file in state.files:
            found.setdefault(migration.down, []).append(migration.file)
    return [(down, tuple(undoes)) for down, undoes in found.items()]


def without_down(migrations: Sequence[Migration], state: State) -> list[str]:
    """Applied files that nothing undoes."""
    return [one.file for one in migrations if one.file in state.files and one.down is None]
