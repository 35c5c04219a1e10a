"""migrate status: what is applied, what is left, and who works on it now."""

from __future__ import annotations

from tarsrelease.context import Assignment
from tarsrelease.migrations.history import Applied, State, fold, objections
from tarsrelease.model.bundle import Migration
from tarsrelease.model.format import count
from tarsrelease.model.outcome import Check, Observed, Outcome, Status, Verdict
from tarsrelease.model.release import Release
from tarsrelease.model.step_details import MigrateStatusDetails
from tarsrelease.operations.migrations.files import database_of, read_migrations
from tarsrelease.operations.migrations.outcome import Step
from tarsrelease.operations.migrations.session import errors_as_outcomes
from tarsrelease.ports.database import DatabaseAccess


def status(assignment: Assignment, access: DatabaseAccess) -> Outcome:
    """Read the history and the lock; nothing is changed.

    No-go if files and history do not agree. A migration that is not applied yet is inconclusive,
    which does not count against it.
    """
    release = assignment.release
    step = Step(assignment, "status")
    read = read_migrations(release, access.files)
    with errors_as_outcomes(database_of(assignment.environment)):
        catalog = access.catalog()
        state = fold(catalog.history())
        owner = catalog.lock_owner()
        builds = catalog.builds()
        invalid = catalog.invalid_indexes()
    migrations = release.manifest.migrations
    against = objections(migrations, read, state, release=release.version, phase="expand")
    checks = [
        _check(migration, state, len(read[migration.file].statements)) for migration in migrations
    ]
    checks += [
        Check(id="migrate.history", status=Status.FAIL, expected="files as applied", reason=line)
        for line in against
    ]
    checks += [_unfinished(f"{build.index} is being built right now: {build}") for build in builds]
    checks += [
        _unfinished(
            f"{name} on {table} is INVALID; `migrate up` replaces it if this history has an "
            "interrupted attempt at it, else drop it"
        )
        for name, table in invalid.items()
        if name not in {build.index for build in builds}
    ]
    if not migrations:
        checks.append(_none())
    applied = sum(state.applied(migration.file) for migration in migrations)
    return step.ended(
        f"{applied} of {len(migrations)} migrations are applied"
        + (f"; {owner} works on them" if owner else ""),
        checks,
        details=MigrateStatusDetails(
            lock=str(owner) if owner else None,
            builds=tuple(str(build) for build in builds),
            invalid_indexes=tuple(sorted(invalid)),
        ),
        next_step=_next(release, state),
        verdict=Verdict.NO_GO if against else Verdict.PROCEED,
    )


def _unfinished(reason: str) -> Check:
    return Check(
        id="migrate.indexes", status=Status.INCONCLUSIVE, expected="valid indexes", reason=reason
    )


def _none() -> Check:
    return Check(
        id="migrate.applied",
        status=Status.SKIPPED,
        expected="migrations",
        reason="NOT CHECKED: this release has no migrations",
    )


def _check(migration: Migration, state: State, statements: int) -> Check:
    found = state.files.get(migration.file)
    done = len(found.done) if found else 0
    complete = state.applied(migration.file)
    return Check(
        id="migrate.applied",
        status=Status.PASS if complete else Status.INCONCLUSIVE,
        observed=Observed(value=done, unit="statements"),
        expected=f"{statements} statements finished",
        reason=_line(migration, state),
        source=migration.file,
    )


def _line(migration: Migration, state: State) -> str:
    found = state.files.get(migration.file)
    name = f"{migration.phase} {migration.order}: {migration.file}"
    if found is None:
        return f"{name}: not applied"
    return f"{name}: {_how(found)}"


def _how(found: Applied) -> str:
    if not found.done:
        return (
            f"statement {found.interrupted.statement} was begun by run {found.interrupted.run}"
            if (found.interrupted)
            else "not applied"
        )
    last = found.done[max(found.done)]
    when = f"{last.finished:%Y-%m-%d %H:%M:%S} UTC" if last.finished else ""
    line = f"{len(found.done)} of {count(found.statements, 'statement')}, last by {last.by} "
    line += f"(run {last.run}, {when})"
    if found.interrupted is not None:
        line += (
            f"; statement {found.interrupted.statement} was begun by run {found.interrupted.run}"
        )
    return line


def _next(release: Release, state: State) -> str:
    if state.undoing is not None:
        return "tarsrelease migrate down --release ... continues undoing"
    phases = [one.phase for one in release.manifest.migrations if not state.applied(one.file)]
    if "expand" in phases:
        return "tarsrelease migrate up --release ..."
    return "tarsrelease migrate up --phase contract --release ..." if phases else ""
