"""Where the release's WebSocket service is."""

from __future__ import annotations

from tarsrelease.adapters.http.tls import trust
from tarsrelease.adapters.websocket.probe import Place, place_of
from tarsrelease.context import Assignment
from tarsrelease.model.environment import Gateway
from tarsrelease.model.rollout import Rollout


def place(assignment: Assignment, url: str | None, path: str, *, canary: bool) -> Place:
    """The service at `url`, else behind the gateway at the host that leads to `path`.

    Raises UsageError for an address that is none, and for a missing variable of gateway.tls.
    """
    gateway = assignment.environment.gateway
    headers = {gateway.canary_header: "always"} if canary else {}
    if url is not None:
        return place_of(url, path, headers=headers)
    host = _host(assignment.rollout, gateway, path)
    tls = gateway.tls
    verified = None if tls is None else trust(tls, "gateway.tls", gateway.address)
    name = (tls.server_name if tls is not None else None) or (host or "").partition(":")[0] or None
    return place_of(
        gateway.address, path, host=host, headers=headers, tls=verified, server_name=name
    )


def _host(rollout: Rollout, gateway: Gateway, path: str) -> str | None:
    """The first hostname of the service whose paths have the longest beginning of `path`."""
    found = [
        (len(prefix), service.hosts[0])
        for service in rollout.services
        for prefix in service.paths
        if path.startswith(prefix)
    ]
    return gateway.hostnames.get(max(found)[1]) if found else None
