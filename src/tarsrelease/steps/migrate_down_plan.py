"""What down would do now, and what would be lost; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable

from tarsrelease.bundle.files import BundleFiles
from tarsrelease.migrations.history import fold
from tarsrelease.migrations.refusals import refuse, written_findings
from tarsrelease.model.environment import Environment
from tarsrelease.model.release import Release
from tarsrelease.operations.migrations.files import database_of, read_migrations
from tarsrelease.operations.migrations.files_in_order import asking, usable
from tarsrelease.ports.database import Catalog
from tarsrelease.steps.migrate_down import said_losses, undoing_work


def plan_down(
    release: Release,
    environment: Environment,
    *,
    files: BundleFiles,
    catalog: Callable[[], Catalog],
) -> list[str]:
    """A line for each statement that `down` would run, and for what would be lost by it.

    Raises ReleaseError as `down` does before it changes anything.
    """
    database = database_of(environment)
    read = read_migrations(release, files)
    with asking(database):
        looking = catalog()
        usable(looking)
        state = fold(looking.history())
    work, _ = undoing_work(release, read, state)
    for one in work:
        refuse(written_findings(one.file.statements, "down"))
    with asking(database):
        lost = said_losses(work, looking)
    if not work:
        return [f"nothing of {release.version} is applied"]
    return [
        *(f"{line.place}: {line.first_line}" for one in work for line in one.statements),
        *([f"LOST FOR GOOD: {line}" for line in lost] or ["no data is lost"]),
    ]
