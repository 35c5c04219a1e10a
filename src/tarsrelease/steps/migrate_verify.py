"""migrate verify: the schema is as the manifest says, and the database answers."""

from __future__ import annotations

from tarsrelease.context import Assignment
from tarsrelease.migrations.assertions import (
    answer_check,
    column_check,
    index_check,
    query_check,
)
from tarsrelease.migrations.guards import guard_checks
from tarsrelease.migrations.history import State, fold
from tarsrelease.migrations.problems import SqlError
from tarsrelease.model.bundle import ColumnAssertion, IndexAssertion, Migration, QueryAssertion
from tarsrelease.model.outcome import Check, Outcome, Status
from tarsrelease.operations.migrations.files import database_of
from tarsrelease.operations.migrations.outcome import NO_MIGRATIONS, Step, left_alone
from tarsrelease.operations.migrations.session import errors_as_outcomes
from tarsrelease.ports.database import Catalog, DatabaseAccess

_ANSWERS = 9
_QUERY_RUNS = 5
_SLOWEST = 20
"""A query may take so many times its limit before it is cancelled."""


def verify(assignment: Assignment, access: DatabaseAccess) -> Outcome:
    """Check every assertion of the expand migrations, and of contract migrations once applied.

    Raises ReleaseError if the database cannot be queried.
    """
    release = assignment.release
    if not release.manifest.migrations:
        return left_alone(assignment, "migrate verify", NO_MIGRATIONS)
    step = Step(assignment, "verify")
    database = database_of(assignment.environment)
    with errors_as_outcomes(database):
        catalog = access.catalog()
        state = fold(catalog.history())
        checks = [
            check
            for migration in release.manifest.migrations
            for check in _of_migration(migration, state, catalog)
        ]
        checks.append(answer_check(catalog.answer_times(_ANSWERS), database.answers_within))
        checks += [
            check
            for check in guard_checks(catalog.vitals(), database.guards)
            if check.id == "database.connections"
        ]
    failed = sum(check.status is not Status.PASS for check in checks)
    return step.ended(
        "the schema is as the release needs it" if not failed else f"{failed} checks did not pass",
        checks,
        next_step="" if not failed else "tarsrelease migrate status shows what was applied",
    )


def _of_migration(migration: Migration, state: State, catalog: Catalog) -> list[Check]:
    applied = state.applied(migration.file)
    if migration.phase == "contract" and not applied:
        return [
            Check(
                id="migrate.applied",
                status=Status.SKIPPED,
                expected="applied once nothing can be rolled back to",
                reason=f"NOT CHECKED: {migration.file} is a contract migration, not yet applied",
                source=migration.file,
            )
        ]
    checks = [
        Check(
            id="migrate.applied",
            status=Status.PASS if applied else Status.FAIL,
            expected="every statement finished, by the history",
            reason=f"{migration.file} is {'applied' if applied else 'NOT applied'}",
            source=migration.file,
        )
    ]
    for wanted in migration.assertions:
        match wanted:
            case IndexAssertion():
                checks.append(index_check(wanted, catalog.index(wanted.index), migration.file))
            case ColumnAssertion():
                found = catalog.column_type(wanted.table, wanted.column)
                checks.append(column_check(wanted, found, migration.file))
            case QueryAssertion():
                checks.append(_query(wanted, migration, catalog))
    return checks


def _query(wanted: QueryAssertion, migration: Migration, catalog: Catalog) -> Check:
    try:
        run = catalog.run_query(wanted.query, runs=_QUERY_RUNS, deadline=wanted.within * _SLOWEST)
    except SqlError as problem:
        return Check(
            id="migrate.query",
            status=Status.FAIL,
            expected=f"under {wanted.within * 1000:g} ms",
            reason=f"{problem.message}: {wanted.query}",
            source=migration.file,
        )
    return query_check(wanted, run, migration.file)
