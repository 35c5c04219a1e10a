"""The cluster and the metrics server as the fault injector disturbs them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tarsrelease.context import Cluster
from tarsrelease.model.rollout import Service
from tarsrelease.rehearsal.faults import PartAction
from tarsrelease.rehearsal.injector import PodLife
from tarsrelease.rehearsal.prometheus import scraped_twice

Control = Callable[[Mapping[str, Any]], object]


class ClusterTarget:
    """Reaches pods through the API server's proxy, and Prometheus through the supervisor.

    `kubectl` is how kubectl is started, with its context; `control` is None where Prometheus is
    not ours to disturb, `prometheus` its configuration file.
    """

    def __init__(
        self,
        services: Sequence[Service],
        namespace: str,
        *,
        cluster: Cluster,
        kubectl: Sequence[str],
        control: Control | None,
        prometheus: Path | None = None,
    ) -> None:
        self._services = services
        self._namespace = namespace
        self._routes = cluster.routes
        self._workloads = cluster.workloads
        self._kubectl = kubectl
        self._control = control
        self._prometheus = prometheus
        self._configured: str | None = None
        self._owners = {
            side.deployment: service
            for service in services
            for side in (service.stable, service.canary)
        }

    def canary_weight(self) -> int:
        """The canary's highest weight on any route, in percent."""
        return max((route.weight for route in self._routes.read(self._services)), default=0)

    def pods(self) -> Sequence[PodLife]:
        """Running pods of the services, with the sum of their containers' restarts."""
        return [
            PodLife(
                name=pod.name,
                service=self._owners[pod.owner].name,
                track=pod.track,
                restarts=sum(container.restarts for container in pod.containers),
            )
            for pod in self._workloads.pods()
            if pod.phase == "Running" and not pod.terminating and pod.owner in self._owners
        ]

    def switch(self, pod: str, faults: Mapping[str, object]) -> bool:
        """POST the faults to the pod's switch through the API server."""
        owner = next((name for name in self._owners if pod.startswith(f"{name}-")), None)
        if owner is None:
            return False
        port = self._owners[owner].port
        path = f"/api/v1/namespaces/{self._namespace}/pods/{pod}:{port}/proxy/_faults"
        done = subprocess.run(
            [*self._kubectl, "create", "--raw", path, "-f", "-"],
            input=json.dumps(faults),
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        # A process told to crash may be gone before it has answered.
        return done.returncode == 0 or bool(faults.get("crash"))

    def disturb_prometheus(self, action: PartAction) -> None:
        """Kill, pause or reconfigure Prometheus; killed, it stays away until it is restored."""
        if action == "scrape-twice":
            if self._prometheus is not None:
                self._configured = self._prometheus.read_text()
                self._configure(scraped_twice(self._configured))
            return
        self._ask({"do": action, "part": "prometheus"})

    def restore_prometheus(self, action: PartAction) -> None:
        """Start it again, let it go on, or give it its own configuration again."""
        if action == "scrape-twice":
            if self._configured is not None:
                self._configure(self._configured)
            return
        self._ask({"do": "start" if action == "kill" else "resume", "part": "prometheus"})

    def _configure(self, text: str) -> None:
        if self._prometheus is not None:
            self._prometheus.write_text(text)
            self._ask({"do": "reload", "part": "prometheus"})

    def _ask(self, request: Mapping[str, Any]) -> None:
        if self._control is not None:
            self._control(request)
