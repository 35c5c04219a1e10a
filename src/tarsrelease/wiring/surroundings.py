"""Build what check preflight asks outside of the release's own objects."""

from __future__ import annotations

import os

from tarsrelease.adapters.kubernetes.client import KubernetesApi
from tarsrelease.adapters.surroundings import RealSurroundings
from tarsrelease.context import Assignment
from tarsrelease.migrations.guards import Vitals
from tarsrelease.migrations.problems import ConnectionGoneError, SqlError
from tarsrelease.migrations.server import Server
from tarsrelease.model.errors import UnreachableError
from tarsrelease.wiring.migrations import database_access


def surroundings(assignment: Assignment) -> RealSurroundings:
    """The port `Surroundings` of an environment. Raises UsageError without a usable kubeconfig."""
    place = assignment.environment.kubernetes

    def database() -> tuple[Server, Vitals] | str:
        settings = assignment.environment.database
        if settings is None or not os.environ.get(settings.dsn_env):
            return f"the variable {settings.dsn_env if settings else ''} with the DSN is not set"
        try:
            with database_access(assignment) as access:
                catalog = access.catalog()
                return catalog.server(), catalog.vitals()
        except (SqlError, ConnectionGoneError) as problem:
            raise UnreachableError(
                doing="asking the database",
                found=str(problem),
                expected="its version and load",
                next_step="check the variable with the DSN, and the database",
            ) from problem

    return RealSurroundings(KubernetesApi.connect(place.context, place.namespace), database)
