"""The port `Surroundings`: CronJobs and budgets of the cluster, addresses, certificates, stores."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import monotonic

import httpx

from tarsrelease.adapters.http.client import Client
from tarsrelease.adapters.kubernetes import reservations
from tarsrelease.adapters.kubernetes.client import CRON_JOB, DISRUPTION_BUDGET, KubernetesApi
from tarsrelease.adapters.kubernetes.shape import reads_answers
from tarsrelease.adapters.redis import redis_memory
from tarsrelease.migrations.guards import Vitals
from tarsrelease.migrations.server import Server
from tarsrelease.model.capacity import NodeUse, Quota, Reserved
from tarsrelease.model.environment import RedisServer
from tarsrelease.model.errors import UnreachableError
from tarsrelease.ports.surroundings import RedisMemory

_TIMEOUT = 10.0

Database = Callable[[], tuple[Server, Vitals] | str]


@reads_answers
class RealSurroundings:
    """Reads only."""

    def __init__(self, api: KubernetesApi, database: Database) -> None:
        self._api, self._database = api, database

    def nodes(self) -> list[NodeUse]:
        """See the port."""
        return reservations.nodes(self._api)

    def quotas(self) -> list[Quota]:
        """See the port."""
        return reservations.quotas(self._api)

    def reserved(self) -> Mapping[str, Reserved]:
        """See the port."""
        return reservations.reserved(self._api)

    def last_backup(self, cronjob: str) -> datetime | None:
        """See the port."""
        found = self._api.get(CRON_JOB, cronjob) or {}
        text = (found.get("status") or {}).get("lastSuccessfulTime")
        return None if text is None else datetime.fromisoformat(str(text))

    def disruptions_allowed(self, name: str) -> int | None:
        """See the port."""
        found = self._api.get(DISRUPTION_BUDGET, name)
        return (
            None if found is None else int((found.get("status") or {}).get("disruptionsAllowed", 0))
        )

    def endpoint(self, url: str) -> tuple[int, float]:
        """See the port. Redirects are not followed: a login page is no answer."""
        began = monotonic()
        try:
            answer = Client(seconds=_TIMEOUT).request("GET", url)
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise _away(f"GET {url}", problem) from problem
        return answer.status, monotonic() - began

    def certificate_until(self, host: str, port: int) -> datetime:
        """See the port. The certificate is verified, too."""
        try:
            with (
                socket.create_connection((host, port), timeout=_TIMEOUT) as plain,
                ssl.create_default_context().wrap_socket(plain, server_hostname=host) as tls,
            ):
                found = tls.getpeercert() or {}
            return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(found["notAfter"])), UTC)
        except (OSError, ValueError, KeyError) as problem:
            raise _away(f"reading the certificate of {host}:{port}", problem) from problem

    def redis(self, server: RedisServer) -> RedisMemory:
        """See the port."""
        return redis_memory(server)

    def database(self) -> tuple[Server, Vitals] | str:
        """See the port."""
        return self._database()


def _away(doing: str, problem: Exception) -> UnreachableError:
    return UnreachableError(
        doing=doing,
        found=f"{type(problem).__name__}: {problem}",
        expected=f"an answer within {_TIMEOUT:.0f} s",
        next_step="check the address, and that this machine can reach it",
    )
