"""migrate down: undo a release's migrations, only when asked for, and after saying what is lost.

A rollback of the code never needs it: expand migrations leave the former version working.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from tarsrelease.bundle.files import BundleFiles
from tarsrelease.migrations.history import (
    State,
    Work,
    downs,
    fold,
    objections,
    without_down,
)
from tarsrelease.migrations.losses import losses
from tarsrelease.migrations.refusals import refuse, refuse_objections, written_findings
from tarsrelease.migrations.statements import SqlFile
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import RefusedError
from tarsrelease.model.format import count
from tarsrelease.model.outcome import Check, Observed, Outcome, Status
from tarsrelease.model.release import Release, Run
from tarsrelease.operations.migrations.apply import Applying, HeldError
from tarsrelease.operations.migrations.files import database_of, read_migrations
from tarsrelease.operations.migrations.files_in_order import apply_all, asking, take_lock, usable
from tarsrelease.operations.migrations.gave_way import held_outcome
from tarsrelease.operations.migrations.outcome import outcome
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.database import Catalog, Usage, Worker
from tarsrelease.ports.people import Person, Progress

_COUNTING = 10.0
"""Seconds for counting the rows of one column before an estimate is taken."""


def down(
    release: Release,
    environment: Environment,
    run: Run,
    *,
    files: BundleFiles,
    catalog: Callable[[], Catalog],
    worker: Callable[[], Worker],
    usage: Usage | None,
    person: Person,
    clock: Clock,
    progress: Progress,
    random: Callable[[], float],
    wait: float = 5.0,
) -> Outcome:
    """Undo what is applied of the release, the last migration first.

    `person` is asked once what would be lost has been said. Raises ReleaseError as `up` does.
    """
    started_at = clock.now()
    database = database_of(environment)
    read = read_migrations(release, files)
    migrations = release.manifest.migrations
    with asking(database):
        looking = catalog()
        usable(looking)
        state = fold(looking.history())
    work, undoes = undoing_work(release, read, state)
    for one in work:
        refuse(written_findings(one.file.statements, "down"))
    with asking(database):
        lost = said_losses(work, looking)
    for line in lost:
        progress.say(f"would be lost: {line}")
    if work and not person.approves(_question(release, environment, work, lost)):
        raise _not_approved(lost)
    with asking(database):
        working = worker()
        take_lock(working, wait=wait, clock=clock, progress=progress)
        state = fold(looking.history())  # somebody may have been at work while the person thought
    work, undoes = undoing_work(release, read, state)
    applying = Applying(
        database=database,
        worker=working,
        catalog=looking,
        usage=usage,
        clock=clock,
        progress=progress,
        random=random,
    )
    total = sum(len(one.statements) for one in work)
    try:
        apply_all(work, release, run, applying, direction="down", undoes=undoes)
    except HeldError as held:
        return held_outcome(
            "down", held, applying, total, release, environment, started_at=started_at, clock=clock
        )
    with asking(database):
        after = fold(looking.history())
    left = [one.file for one in migrations if one.file in after.files]
    check = Check(
        id="migrate.undone",
        status=Status.FAIL if left else Status.PASS,
        observed=Observed(value=len(left), unit="count"),
        expected="no migration of this release is applied, by the history",
        reason=f"still applied: {', '.join(left)}" if left else "nothing of it is applied",
    )
    return outcome(
        "down",
        release,
        environment,
        f"{count(applying.counts.finished, 'statement')} undone" if work else "nothing was applied",
        checks=[check, *applying.guards],
        started_at=started_at,
        clock=clock,
        details={"lost": lost, "statements": applying.counts.finished},
    )


def undoing_work(
    release: Release, read: Mapping[str, SqlFile], state: State
) -> tuple[list[Work], dict[str, tuple[str, ...]]]:
    """What is left to run of the down files, in order, and what each of them undoes.

    Raises RefusedError where an applied migration has no down file, or where files and history do
    not fit together.
    """
    migrations = release.manifest.migrations
    refuse_objections(
        release,
        objections(
            migrations,
            read,
            replace(state, undoing=None),
            release=release.version,
            phase="expand",
        ),
    )
    stuck = without_down(migrations, state)
    if stuck:
        raise RefusedError(
            doing=f"undoing the migrations of {release.version}",
            found=f"{', '.join(stuck)}: no down file",
            expected="a down file for every migration that is applied",
            next_step="name one in the bundle; or go forward with a new migration",
        )
    work = []
    undoes: dict[str, tuple[str, ...]] = {}
    for name, names in downs(migrations, state):
        begun = state.undoing if state.undoing and state.undoing.file == name else None
        done = begun.done if begun else {}
        changed = [
            n for n, row in done.items() if read[name].statements[n - 1].sha256 != row.sha256
        ]
        if changed:
            refuse_objections(release, [f"{name}: statement {changed[0]} was changed after it ran"])
        left = tuple(one for one in read[name].statements if one.number not in done)
        work.append(Work(read[name], left, begun.begun if begun else None))
        undoes[name] = begun.undoes if begun else names
    return work, undoes


def said_losses(work: list[Work], catalog: Catalog) -> list[str]:
    """A line for each column or table whose content would go, with its rows."""
    lines = []
    for one in work:
        for statement in one.statements:
            for loss in losses(statement):
                rows = catalog.rows_lost(loss, _COUNTING)
                if rows is None or rows == (0, True):
                    continue
                number, counted = rows
                about = "" if counted else "about "
                what = "rows with a value in" if loss.column else "rows of"
                lines.append(f"{about}{number} {what} {loss.what} ({loss.place})")
    return lines


def _question(release: Release, environment: Environment, work: list[Work], lost: list[str]) -> str:
    names = ", ".join(one.file.file for one in work)
    loss = f" LOST FOR GOOD: {'; '.join(lost)}." if lost else " No data is lost."
    return f"Undo the migrations of {release.version} in {environment.name} ({names})?{loss}"


def _not_approved(lost: list[str]) -> RefusedError:
    return RefusedError(
        doing="asking whether the migrations shall be undone",
        found="no approval" + (f"; would be lost: {'; '.join(lost)}" if lost else ""),
        expected="a yes at the terminal, or --yes",
        next_step="a rollback of the code does not need this; with --yes it is done",
    )
