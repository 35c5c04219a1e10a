"""migrate down: undo a release's migrations, on request only, and after showing what is lost.

A rollback of the code never needs it: the former version works with expand migrations applied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tarsrelease.context import Assignment
from tarsrelease.migrations.history import (
    State,
    Work,
    downs,
    fold,
    objections,
    without_down,
)
from tarsrelease.migrations.refusals import refuse, refuse_objections, written_findings
from tarsrelease.migrations.statements import SqlFile
from tarsrelease.model.errors import RefusedError
from tarsrelease.model.format import count
from tarsrelease.model.outcome import Check, Observed, Outcome, Status
from tarsrelease.model.release import Release
from tarsrelease.model.step_details import MigrateDownDetails
from tarsrelease.operations.migrations.apply import Applier, HeldError
from tarsrelease.operations.migrations.files import database_of, read_migrations
from tarsrelease.operations.migrations.held import held_outcome
from tarsrelease.operations.migrations.losses import Undoing, try_undoing
from tarsrelease.operations.migrations.outcome import Step
from tarsrelease.operations.migrations.session import (
    apply_all,
    errors_as_outcomes,
    refuse_unusable,
    take_lock,
)
from tarsrelease.ports.database import Catalog, DatabaseAccess


def down(assignment: Assignment, access: DatabaseAccess, wait: float = 5.0) -> Outcome:
    """Undo what is applied of the release, the last migration first.

    Asks the person after showing what would be lost. `wait`: seconds to wait for another run's
    lock. Raises ReleaseError as `up` does.
    """
    release = assignment.release
    step = Step(assignment, "down")
    database = database_of(assignment.environment)
    work, undoing, catalog = try_down(assignment, access)
    for line in undoing.lost:
        assignment.people.progress.say(f"would be lost: {line}")
    if work and not assignment.people.person.approves(_question(assignment, work, undoing)):
        raise _not_approved(undoing)
    with errors_as_outcomes(database):
        worker = access.worker()
        take_lock(assignment, worker, wait)
        state = fold(catalog.history())  # another run may have worked while the person thought
    work, undoes = undoing_work(release, read_migrations(release, access.files), state)
    applier = Applier(assignment, access, catalog, worker)
    try:
        apply_all(applier, undoing.without_effect(work), "down", undoes)
    except HeldError as held:
        return held_outcome(step, held, applier, sum(len(one.statements) for one in work))
    with errors_as_outcomes(database):
        after = fold(catalog.history())
    left = [one.file for one in release.manifest.migrations if one.file in after.files]
    check = Check(
        id="migrate.undone",
        status=Status.FAIL if left else Status.PASS,
        observed=Observed(value=len(left), unit="count"),
        expected="no migration of this release is applied, by the history",
        reason=f"still applied: {', '.join(left)}" if left else "nothing of it is applied",
    )
    finished = applier.counts.finished
    return step.ended(
        f"{count(finished, 'statement')} undone" if work else "nothing was applied",
        [check, *applier.guards],
        details=MigrateDownDetails(lost=tuple(undoing.lost), statements=finished),
    )


def try_down(assignment: Assignment, access: DatabaseAccess) -> tuple[list[Work], Undoing, Catalog]:
    """What is left to undo, and what that would lose: all of `down` that changes nothing.

    Raises ReleaseError as `down` does before it asks.
    """
    release = assignment.release
    read = read_migrations(release, access.files)
    with errors_as_outcomes(database_of(assignment.environment)):
        catalog = access.catalog()
        refuse_unusable(catalog)
        work, _ = undoing_work(release, read, fold(catalog.history()))
        for one in work:
            refuse(written_findings(one.file.statements, "down"))
        return work, try_undoing(assignment, access, catalog, work), catalog


def undoing_work(
    release: Release, read: Mapping[str, SqlFile], state: State
) -> tuple[list[Work], dict[str, tuple[str, ...]]]:
    """What is left to run of the down files, in order, and what each of them undoes.

    Raises RefusedError if an applied migration has no down file, or if files and history do not
    agree.
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
        started = state.undoing if state.undoing and state.undoing.file == name else None
        done = started.done if started else {}
        changed = [
            n for n, row in done.items() if read[name].statements[n - 1].sha256 != row.sha256
        ]
        if changed:
            refuse_objections(release, [f"{name}: statement {changed[0]} was changed after it ran"])
        left = tuple(one for one in read[name].statements if one.number not in done)
        undoes[name] = started.undoes if started else names
        partial = any(not state.applied(file) for file in undoes[name])
        work.append(Work(read[name], left, started.interrupted if started else None, partial))
    return work, undoes


def _question(assignment: Assignment, work: Sequence[Work], undoing: Undoing) -> str:
    version, environment = assignment.release.version, assignment.environment.name
    names = ", ".join(one.file.file for one in work)
    return f"Undo the migrations of {version} in {environment} ({names})? {undoing.summary}"


def _not_approved(undoing: Undoing) -> RefusedError:
    return RefusedError(
        doing="asking for approval to undo the migrations",
        found=f"no approval. {undoing.summary}",
        expected="a yes at the terminal, or --yes",
        next_step="add --yes to undo them; a rollback of the code does not need it",
    )
