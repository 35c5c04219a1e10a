"""migrate up: apply what is left of a phase, statement by statement.

(1) Read the files, and refuse statements that may not be applied. (2) Check the server and the
role. (3) Take the lock. (4) Compare the files with the history. (5) Apply the statements. A run
that is interrupted at any instant is continued by the next one.
"""

from __future__ import annotations

from tarsrelease.context import Assignment
from tarsrelease.migrations.history import fold, objections, pending
from tarsrelease.migrations.refusals import phase_files, refuse, refuse_objections, written_findings
from tarsrelease.model.format import count
from tarsrelease.model.outcome import Check, Observed, Outcome, Status
from tarsrelease.model.step_details import MigrateUpDetails
from tarsrelease.operations.migrations.apply import Applier, HeldError
from tarsrelease.operations.migrations.files import database_of, read_migrations
from tarsrelease.operations.migrations.held import held_outcome
from tarsrelease.operations.migrations.outcome import NO_MIGRATIONS, Step, left_alone
from tarsrelease.operations.migrations.session import (
    apply_all,
    errors_as_outcomes,
    refuse_unusable,
    take_lock,
)
from tarsrelease.ports.database import DatabaseAccess


def up(
    assignment: Assignment, access: DatabaseAccess, phase: str = "expand", wait: float = 5.0
) -> Outcome:
    """Apply the phase's statements that are not applied yet.

    `wait`: seconds to wait for another run's lock. Proceeds also if nothing is left to do. Holds
    if it had to give way for too long. Raises ReleaseError: refused (1), configuration (2),
    stopped after something was applied (12), unreachable (69), locked (75).
    """
    release = assignment.release
    migrations = release.manifest.migrations
    if not migrations:
        return left_alone(assignment, "migrate up", NO_MIGRATIONS)
    step = Step(assignment, "up")
    database = database_of(assignment.environment)
    read = read_migrations(release, access.files)  # (1)
    chosen = phase_files(release, read, phase)
    for _, file in chosen:
        refuse(written_findings(file.statements, phase))
    with errors_as_outcomes(database):
        catalog = access.catalog()
        refuse_unusable(catalog)  # (2)
        worker = access.worker()
        take_lock(assignment, worker, wait)  # (3)
        worker.prepare_history()
        state = fold(catalog.history())  # (4)
    refuse_objections(
        release, objections(migrations, read, state, release=release.version, phase=phase)
    )
    work = pending(migrations, read, state, phase)
    applier = Applier(assignment, access, catalog, worker)
    total = sum(len(one.statements) for one in work)
    try:
        apply_all(applier, work, "up")  # (5)
    except HeldError as held:
        return held_outcome(step, held, applier, total)
    with errors_as_outcomes(database):
        after = fold(catalog.history())
        invalid = catalog.invalid_indexes()
    checks = [_file_check(name, after.applied(name), len(file.statements)) for name, file in chosen]
    ours = {name for _, file in chosen for one in file.statements for name in one.names}
    checks.append(_indexes_check([name for name in invalid if name in ours]))
    counts = applier.counts
    return step.ended(
        f"{phase}: {count(counts.finished, 'statement')} applied"
        if total
        else f"{phase}: nothing was left to apply",
        [*checks, *applier.guards],
        details=MigrateUpDetails(
            phase=phase,
            statements=counts.finished,
            gave_way=counts.gave_way,
            repaired=counts.repaired,
            paused_seconds=round(counts.paused, 3),
            foreign_invalid_indexes=tuple(name for name in invalid if name not in ours),
        ),
        next_step="tarsrelease migrate verify",
    )


def _file_check(name: str, applied: bool, statements: int) -> Check:
    return Check(
        id="migrate.applied",
        status=Status.PASS if applied else Status.FAIL,
        observed=Observed(value=statements, unit="statements"),
        expected="every statement finished, by the history",
        reason=f"{name}: {count(statements, 'statement')}"
        if applied
        else f"{name} is not finished",
        source=name,
    )


def _indexes_check(invalid: list[str]) -> Check:
    return Check(
        id="migrate.indexes",
        status=Status.FAIL if invalid else Status.PASS,
        observed=Observed(value=len(invalid), unit="count"),
        expected="no INVALID index of this release",
        reason=f"INVALID: {', '.join(invalid)}" if invalid else "none is INVALID",
    )
