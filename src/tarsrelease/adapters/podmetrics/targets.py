"""Where a pod has its metrics: what the pod says, or the environment file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tarsrelease.model.metrics_server import PodMetricsEndpoint

_PORT, _PATH, _SCHEME = (f"prometheus.io/{name}" for name in ("port", "path", "scheme"))
_NAMED = "metrics"


class Target(NamedTuple):
    """One pod's metrics page."""

    pod: str
    address: str
    deployment: str
    scheme: str
    port: int
    path: str

    @property
    def resource(self) -> str:
        """The pod as the API server's proxy names it: ``[https:]NAME:PORT``."""
        scheme = "https:" if self.scheme == "https" else ""
        return f"{scheme}{self.pod}:{self.port}"


def target_of(
    pod: Mapping[str, Any], deployment: str, endpoint: PodMetricsEndpoint | None
) -> Target | None:
    """The pod's metrics page; None where nothing names its port.

    The environment file comes first, then the annotations ``prometheus.io/port``, ``path`` and
    ``scheme``, then a container port named ``metrics``.
    """
    metadata, status = pod["metadata"], pod.get("status") or {}
    said = metadata.get("annotations") or {}
    path, scheme = said.get(_PATH) or "/metrics", said.get(_SCHEME) or "http"
    ports = [
        port["containerPort"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or []
        if port.get("name") == _NAMED
    ]
    annotated = [int(said[_PORT])] if str(said.get(_PORT, "")).isdigit() else []
    if endpoint is not None:
        annotated, path, scheme = [endpoint.port], endpoint.path, endpoint.scheme
    port = next(iter([*annotated, *ports]), None)
    if port is None:
        return None
    address = status.get("podIP") or ""
    return Target(metadata["name"], address, deployment, scheme, port, path)
