"""What down would do now, and what would be lost; nothing is changed."""

from __future__ import annotations

from tarsrelease.context import Assignment
from tarsrelease.migrations.history import fold
from tarsrelease.migrations.refusals import refuse, written_findings
from tarsrelease.operations.migrations.files import database_of, read_migrations
from tarsrelease.operations.migrations.losses import try_undoing
from tarsrelease.operations.migrations.session import errors_as_outcomes, refuse_unusable
from tarsrelease.ports.database import DatabaseAccess
from tarsrelease.steps.migrate_down import undoing_work


def plan_down(assignment: Assignment, access: DatabaseAccess) -> list[str]:
    """A line for each statement that `down` would run, and for what would be lost by it.

    Raises ReleaseError as `down` does before it changes anything.
    """
    release = assignment.release
    database = database_of(assignment.environment)
    read = read_migrations(release, access.files)
    with errors_as_outcomes(database):
        catalog = access.catalog()
        refuse_unusable(catalog)
        state = fold(catalog.history())
    work, _ = undoing_work(release, read, state)
    for one in work:
        refuse(written_findings(one.file.statements, "down"))
    with errors_as_outcomes(database):
        undoing = try_undoing(assignment, access, catalog, work)
    if not work:
        return [f"nothing of {release.version} is applied"]
    return [
        *(f"{line.place}: {line.first_line}" for one in work for line in one.statements),
        *(f"LOST FOR GOOD: {line}" for line in undoing.lost),
        *([f"MORE MAY BE LOST: {undoing.unproven}"] if undoing.unproven else []),
        *([] if undoing.lost or undoing.unproven else ["no data is lost"]),
    ]
