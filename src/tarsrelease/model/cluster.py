"""The cluster's state as values."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from tarsrelease.model.base import Value
from tarsrelease.model.measurement import Track


class ContainerState(Value):
    """One container of a pod. `waiting` and `terminated` are Kubernetes' reasons, or None."""

    name: str
    init: bool
    ready: bool
    restarts: int
    waiting: str | None = None
    terminated: str | None = None
    exit_code: int | None = None


class PodState(Value):
    """One pod. `owner` is the Deployment's name, `version` what the pod runs ("": not known).

    `address` is its IP address, "" before it has one.
    """

    name: str
    owner: str
    track: Track
    version: str
    ready: bool
    terminating: bool
    phase: str
    started_at: datetime | None
    containers: tuple[ContainerState, ...]
    address: str = ""


class DeploymentState(Value):
    """One Deployment. `settled` means that the controller has seen the newest spec.

    `replicas` are wanted; `updated` are there of the newest spec, and `outdated` of older ones.
    `probes` are the kubelet's HTTP and gRPC requests a second to each of its pods, `probe_paths`
    the paths that it asks for.
    `problem` says why its pods cannot be created (a quota, an admission webhook); "" if they can.
    `changed_by` is the field manager that set its replicas last, `template_by` that of its pods'
    template; "" if that is not known. `settings` is a digest of its containers' commands,
    environments and resources.
    """

    name: str
    replicas: int
    ready: int
    updated: int
    available: int
    settled: bool
    images: tuple[str, ...]
    version: str
    problem: str = ""
    changed_by: str = Field(default="", exclude_if=lambda name: not name)
    template_by: str = Field(default="", exclude_if=lambda name: not name)
    settings: str = Field(default="", exclude_if=lambda digest: not digest)
    outdated: int = Field(default=0, exclude_if=lambda number: not number)
    probes: float = Field(default=0.0, exclude_if=lambda rate: not rate)
    probe_paths: tuple[str, ...] = Field(default=(), exclude_if=lambda paths: not paths)

    @property
    def complete(self) -> bool:
        """All wanted replicas are of the newest spec and available, and no old one is left."""
        ready = self.replicas == self.updated == self.available == self.ready
        return self.settled and ready and not self.outdated


class AutoscalerState(Value):
    """A HorizontalPodAutoscaler that scales `deployment`."""

    name: str
    deployment: str
    min_replicas: int
    max_replicas: int


class NodeState(Value):
    """One node. `pressures` are its conditions that should not hold (MemoryPressure, …)."""

    name: str
    ready: bool
    schedulable: bool
    pressures: tuple[str, ...] = ()


class RouteState(Value):
    """One service's HTTPRoute as far as the release is concerned.

    `weight` is the canary's percentage. `stage`, `run` and `traffic_until` are the annotations
    written together with it. `accepted` covers Accepted and ResolvedRefs at the current
    generation; `problem` is the gateway's message otherwise. `managers` are the field managers
    that own part of the spec, other than ours. `adopted`: no delivery controller among them writes
    the weights any more.
    """

    service: str
    weight: int
    stage: str | None
    run: str | None
    release: str | None
    traffic_until: datetime | None
    accepted: bool
    problem: str | None
    managers: tuple[str, ...]
    adopted: bool = False
    written_at: datetime | None = None


class RouteFaults(Value):
    """What in a service's routes would make a release fail: sentences, each with its remedy."""

    service: str
    found: tuple[str, ...] = ()


class Revision(Value):
    """One revision in a Helm release's history. `status` is Helm's word (deployed, failed, …)."""

    number: int
    status: str
    chart: str
    app_version: str


class Snapshot(Value):
    """The state that decisions are made from, read at one time."""

    taken_at: datetime
    routes: tuple[RouteState, ...]
    deployments: tuple[DeploymentState, ...]
    pods: tuple[PodState, ...]
    stable_history: tuple[Revision, ...]
    canary_history: tuple[Revision, ...]

    def deployment(self, name: str) -> DeploymentState | None:
        """The Deployment of this name, if it exists."""
        return next((found for found in self.deployments if found.name == name), None)
