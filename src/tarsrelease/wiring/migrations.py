"""Build the access to the database of migrations from an assignment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tarsrelease.context import Assignment
from tarsrelease.operations.migrations.files import database_of
from tarsrelease.ports.database import DatabaseAccess

if TYPE_CHECKING:
    from tarsrelease.ports.database import Usage


@contextmanager
def database_access(assignment: Assignment) -> Iterator[DatabaseAccess]:
    """Access to the environment's database; connections end with the block.

    Raises UsageError if the environment names no database. The libraries are imported here and
    not before, because they cost more than most commands.
    """
    from random import random

    from tarsrelease.adapters.files.bundle_files import FolderFiles
    from tarsrelease.adapters.postgres.database import Postgres
    from tarsrelease.adapters.postgres.squawk import squawk
    from tarsrelease.adapters.sql_parser import ParsableSql

    environment = assignment.environment
    with Postgres(
        environment,
        database_of(environment),
        assignment.release.manifest.application,
        assignment.run,
    ) as postgres:
        yield DatabaseAccess(
            files=ParsableSql(FolderFiles(Path(assignment.release.folder))),
            catalog=postgres.catalog,
            worker=postgres.worker,
            copies=postgres.copy,
            linter=squawk,
            usage=_usage(assignment),
            random=random,
        )


def _usage(assignment: Assignment) -> Usage | None:
    """What the database's pod uses, if the environment guards it."""
    environment = assignment.environment
    if environment.database is None or environment.database.guards.usage is None:
        return None
    from tarsrelease.adapters.prometheus.samples import PrometheusMetrics
    from tarsrelease.operations.migrations.pod_usage import pod_usage

    return pod_usage(PrometheusMetrics(environment.prometheus), environment.database.guards.usage)
