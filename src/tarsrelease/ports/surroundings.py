"""The port for what a release depends on outside of its own objects: backups, stores, endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from tarsrelease.migrations.guards import Vitals
from tarsrelease.migrations.server import Server
from tarsrelease.model.capacity import NodeUse, Quota, Reserved
from tarsrelease.model.environment import RedisServer


class RedisMemory(NamedTuple):
    """Bytes in use, and the limit (0: none)."""

    used: int
    limit: int


class Surroundings(Protocol):
    """Every method raises ReleaseError if the other system does not answer."""

    def nodes(self) -> list[NodeUse]:
        """All nodes: what pods request there, and what is used by metrics.k8s.io.

        Raises ForbiddenError without the right to list nodes, which needs a ClusterRole.
        """

    def quotas(self) -> list[Quota]:
        """The namespace's quotas. Raises ForbiddenError without the right."""

    def reserved(self) -> Mapping[str, Reserved]:
        """By Deployment, what one of its pods reserves."""

    def last_backup(self, cronjob: str) -> datetime | None:
        """When the CronJob succeeded last; None: never, or there is no such CronJob."""

    def disruptions_allowed(self, name: str) -> int | None:
        """How many pods a PodDisruptionBudget allows to go; None: it does not exist."""

    def endpoint(self, url: str) -> tuple[int, float]:
        """Status and seconds of a GET."""

    def certificate_until(self, host: str, port: int) -> datetime:
        """When the certificate that a server shows expires."""

    def redis(self, server: RedisServer) -> RedisMemory:
        """The memory of a server that answered PING with PONG."""

    def database(self) -> tuple[Server, Vitals] | str:
        """The database's server and load, or why it cannot be asked."""
