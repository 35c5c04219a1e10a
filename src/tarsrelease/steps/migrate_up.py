"""migrate up: apply what is left of a phase, statement by statement.

(1) the files are read and refused where a statement may not be applied, (2) the server and the
role are looked at, (3) the lock is taken, (4) files and history are compared, (5) the statements
are applied; each can be broken off at any instant, and a new run goes on there.
"""

from __future__ import annotations

from collections.abc import Callable

from tarsrelease.bundle.files import BundleFiles
from tarsrelease.migrations.history import fold, objections, pending
from tarsrelease.migrations.refusals import phase_files, refuse, refuse_objections, written_findings
from tarsrelease.model.environment import Environment
from tarsrelease.model.format import count
from tarsrelease.model.outcome import Check, Observed, Outcome, Status
from tarsrelease.model.release import Release, Run
from tarsrelease.operations.migrations.apply import Applying, HeldError
from tarsrelease.operations.migrations.files import database_of, read_migrations
from tarsrelease.operations.migrations.files_in_order import apply_all, asking, take_lock, usable
from tarsrelease.operations.migrations.gave_way import held_outcome
from tarsrelease.operations.migrations.outcome import NO_MIGRATIONS, left_alone, outcome
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.database import Catalog, Usage, Worker
from tarsrelease.ports.people import Progress


def up(
    release: Release,
    environment: Environment,
    run: Run,
    phase: str = "expand",
    *,
    files: BundleFiles,
    catalog: Callable[[], Catalog],
    worker: Callable[[], Worker],
    usage: Usage | None,
    clock: Clock,
    progress: Progress,
    random: Callable[[], float],
    wait: float = 5.0,
) -> Outcome:
    """Apply the phase's statements that are not applied yet.

    `catalog` and `worker` connect when they are called, after the files were read. `wait`:
    seconds to wait for another run's lock. Proceeds also where nothing is left to do. Holds where
    it had to give way for too long. Raises ReleaseError: refused (1), configuration (2), stopped
    after something was applied (12), unreachable (69), locked (75).
    """
    if not release.manifest.migrations:
        return left_alone("migrate up", release, environment, NO_MIGRATIONS, clock=clock)
    started_at = clock.now()
    database = database_of(environment)
    read = read_migrations(release, files)  # (1)
    chosen = phase_files(release, read, phase)
    for _, file in chosen:
        refuse(written_findings(file.statements, phase))
    with asking(database):
        looking = catalog()
        usable(looking)  # (2)
        working = worker()
        take_lock(working, wait=wait, clock=clock, progress=progress)  # (3)
        working.prepare_history()
        state = fold(looking.history())  # (4)
    migrations = release.manifest.migrations
    refuse_objections(
        release, objections(migrations, read, state, release=release.version, phase=phase)
    )
    work = pending(migrations, read, state, phase)
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
        apply_all(work, release, run, applying, direction="up", undoes={})  # (5)
    except HeldError as held:
        return held_outcome(
            "up", held, applying, total, release, environment, started_at=started_at, clock=clock
        )
    with asking(database):
        after = fold(looking.history())
        invalid = looking.invalid_indexes()
    checks = [_file_check(name, after.applied(name), len(file.statements)) for name, file in chosen]
    ours = {name for _, file in chosen for one in file.statements for name in one.names}
    checks.append(_indexes_check([name for name in invalid if name in ours]))
    counts = applying.counts
    return outcome(
        "up",
        release,
        environment,
        f"{phase}: {count(counts.finished, 'statement')} applied"
        if total
        else f"{phase}: nothing was left to apply",
        checks=[*checks, *applying.guards],
        started_at=started_at,
        clock=clock,
        details={
            "phase": phase,
            "statements": counts.finished,
            "gave_way": counts.gave_way,
            "repaired": counts.repaired,
            "paused_seconds": round(counts.paused, 3),
            "foreign_invalid_indexes": [name for name in invalid if name not in ours],
        },
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
