"""Deployments, pods and autoscalers of one namespace, as the release sees them."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from typing import Any

from tarsrelease.adapters.kubernetes import helm_record
from tarsrelease.adapters.kubernetes.client import (
    AUTOSCALER,
    CONFIG_MAP,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    POD,
    SERVICE,
    KubernetesApi,
)
from tarsrelease.adapters.kubernetes.shape import reads_answers
from tarsrelease.model.cluster import AutoscalerState, ContainerState, DeploymentState, PodState
from tarsrelease.model.errors import ForbiddenError
from tarsrelease.model.measurement import Track
from tarsrelease.model.rollout import Rollout

_HELM_RELEASE = "meta.helm.sh/release-name"
_SERVICE = "kubernetes.io/service-name"
_VERSION = "app.kubernetes.io/version"
_NO_TIME = "9"
"""Later than any time: the API server notes none for the newest scaling by kubectl or an HPA."""
_SETTINGS = ("name", "command", "args", "env", "envFrom", "resources")
_VERSION_TAG = re.compile(r"v?(\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(_[0-9A-Za-z.-]+)?)")


@reads_answers
class KubernetesWorkloads:
    """The workloads of an application. Whose a pod is follows from its Deployment's name."""

    def __init__(self, cluster: KubernetesApi, rollout: Rollout) -> None:
        self._cluster = cluster
        self._version_label = rollout.labels.version
        self._canaries = {service.canary.deployment for service in rollout.services} | {
            worker.canary for worker in rollout.workers
        }
        self._templates: dict[str, DeploymentState] = {}
        self._records: dict[tuple[str, int], str] = {}
        self._ours = (
            self._canaries
            | {service.stable.deployment for service in rollout.services}
            | {worker.stable for worker in rollout.workers}
        )

    def deployments(self) -> list[DeploymentState]:
        """All Deployments of the namespace."""
        states = [self._deployment(found) for found in self._cluster.select(DEPLOYMENT)]
        self._templates = {state.name: state for state in states}
        return states

    def pods(self) -> list[PodState]:
        """All pods of the application's Deployments, on either track."""
        pods = [self._pod(found) for found in self._cluster.select(POD)]
        return [pod for pod in pods if pod is not None and pod.owner in self._ours]

    def pods_behind(self) -> dict[str, frozenset[str]]:
        """By Service with a selector: the pods that its EndpointSlices call ready."""
        behind: dict[str, set[str]] = {
            found["metadata"]["name"]: set()
            for found in self._cluster.select(SERVICE)
            if found["spec"].get("selector")
        }
        for found in self._cluster.select(ENDPOINT_SLICE):
            service = (found["metadata"].get("labels") or {}).get(_SERVICE)
            if service in behind:
                behind[service].update(_ready_pods(found))
        return {service: frozenset(pods) for service, pods in behind.items()}

    def scale(self, deployment: str, replicas: int) -> None:
        """Set the number of replicas; returns at once."""
        self._cluster.merge(
            DEPLOYMENT, deployment, {"spec": {"replicas": replicas}}, subresource="scale"
        )

    def autoscalers(self) -> list[AutoscalerState]:
        """All HorizontalPodAutoscalers of the namespace that scale a Deployment."""
        return [
            AutoscalerState(
                name=found["metadata"]["name"],
                deployment=found["spec"]["scaleTargetRef"]["name"],
                min_replicas=found["spec"].get("minReplicas", 1),
                max_replicas=found["spec"]["maxReplicas"],
            )
            for found in self._cluster.select(AUTOSCALER)
            if found["spec"]["scaleTargetRef"]["kind"] == "Deployment"
        ]

    def keep_at_least(self, autoscaler: str, replicas: int) -> None:
        """Set the autoscaler's minimum."""
        self._cluster.merge(AUTOSCALER, autoscaler, {"spec": {"minReplicas": replicas}})

    def remove_leftovers(self, helm_release: str) -> list[str]:
        """Delete objects that are annotated with this Helm release, or named as its config."""
        removed = []
        for kind in (DEPLOYMENT, SERVICE, CONFIG_MAP):
            for found in self._cluster.select(kind):
                metadata = found["metadata"]
                owner = (metadata.get("annotations") or {}).get(_HELM_RELEASE)
                named = kind is CONFIG_MAP and metadata["name"] == f"{helm_release}-config"
                if (owner == helm_release or named) and self._cluster.delete(
                    kind, metadata["name"]
                ):
                    removed.append(f"{kind.kind}/{metadata['name']}")
        return removed

    def _deployment(self, found: dict[str, Any]) -> DeploymentState:
        metadata, spec, status = found["metadata"], found["spec"], found.get("status") or {}
        template = spec["template"]
        images = tuple(container["image"] for container in template["spec"]["containers"])
        return DeploymentState(
            name=metadata["name"],
            replicas=spec.get("replicas", 1),
            ready=status.get("readyReplicas", 0),
            updated=status.get("updatedReplicas", 0),
            available=status.get("availableReplicas", 0),
            settled=status.get("observedGeneration", 0) >= metadata.get("generation", 0),
            images=images,
            version=self._version(template.get("metadata") or {})
            or self._version(metadata)
            or version_in_image(images[0])
            or _chart_version(metadata)
            or self._recorded(metadata),
            problem=_problem(status),
            outdated=max(status.get("replicas", 0) - status.get("updatedReplicas", 0), 0),
            changed_by=_changed_by(metadata, "f:replicas"),
            template_by=_changed_by(metadata, "f:template"),
            settings=_settings(template["spec"]),
            probes=_probes(template["spec"]),
            probe_paths=_probe_paths(template["spec"]),
        )

    def _pod(self, found: dict[str, Any]) -> PodState | None:
        metadata, status = found["metadata"], found.get("status") or {}
        owner = deployment_of(metadata)
        if owner is None:
            return None
        conditions = {item["type"]: item["status"] for item in status.get("conditions") or []}
        started = status.get("startTime")
        images = tuple(each["image"] for each in (found.get("spec") or {}).get("containers") or [])
        return PodState(
            name=metadata["name"],
            owner=owner,
            track=Track.CANARY if owner in self._canaries else Track.STABLE,
            version=self._version(metadata) or self._by_images(owner, images),
            ready=conditions.get("Ready") == "True",
            terminating="deletionTimestamp" in metadata,
            phase=status.get("phase", "Unknown"),
            started_at=datetime.fromisoformat(started) if started else None,
            address=status.get("podIP") or "",
            containers=tuple(
                _container(item, init=init)
                for key, init in (("initContainerStatuses", True), ("containerStatuses", False))
                for item in status.get(key) or []
            ),
        )

    def _by_images(self, owner: str, images: tuple[str, ...]) -> str:
        """The version of a pod without a label: that of its Deployment, as last read, where the pod
        has the same images (and perhaps injected sidecars); else that of its image's tag."""
        state = self._templates.get(owner)
        if state is not None and set(state.images) <= set(images):
            return state.version
        ours = _repository(state.images[0]) if state is not None else None
        own = [image for image in images if ours is None or _repository(image) == ours]
        return version_in_image(own[0]) if own else ""

    def _recorded(self, metadata: dict[str, Any]) -> str:
        """The appVersion in Helm's record of the release that owns the Deployment, or "".

        The record is read once for each generation of the Deployment, as it has the whole chart.
        """
        release = (metadata.get("annotations") or {}).get(_HELM_RELEASE)
        key = (metadata["name"], metadata.get("generation", 0))
        if release and key not in self._records:
            try:
                record = helm_record.newest(self._cluster, release)
            except ForbiddenError:
                record = None
            chart = (record.content.get("chart") or {}).get("metadata") if record else None
            self._records[key] = str((chart or {}).get("appVersion") or "")
        return self._records.get(key, "")

    def _version(self, metadata: dict[str, Any]) -> str:
        labels = metadata.get("labels") or {}
        version: str = labels.get(self._version_label) or labels.get(_VERSION) or ""
        return version


def _ready_pods(endpoint_slice: dict[str, Any]) -> list[str]:
    """Pods that get traffic. A condition that is not there counts as ready."""
    return [
        target["name"]
        for endpoint in endpoint_slice.get("endpoints") or []
        if (endpoint.get("conditions") or {}).get("ready") is not False
        and (target := endpoint.get("targetRef") or {}).get("kind") == "Pod"
    ]


def _settings(spec: dict[str, Any]) -> str:
    """A digest of what the containers are given, except their images and what is defaulted."""
    containers = [*(spec.get("initContainers") or []), *spec["containers"]]
    given = [{name: each.get(name) for name in _SETTINGS} for each in containers]
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]


def _probes(spec: dict[str, Any]) -> float:
    """Requests a second of the kubelet to a pod, once it has started."""
    return sum(
        1 / (probe.get("periodSeconds") or 10)
        for probe in _all_probes(spec)
        if "httpGet" in probe or "grpc" in probe
    )


def _probe_paths(spec: dict[str, Any]) -> tuple[str, ...]:
    """The paths that these requests have."""
    asked = [probe["httpGet"] for probe in _all_probes(spec) if "httpGet" in probe]
    return tuple(dict.fromkeys(each.get("path") or "/" for each in asked))


def _all_probes(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        container.get(kind) or {}
        for container in spec.get("containers") or []
        for kind in ("readinessProbe", "livenessProbe")
    ]


def _changed_by(metadata: dict[str, Any], field: str) -> str:
    """The manager with the newest write of a field of the spec."""
    writes = [
        (str(entry.get("time") or _NO_TIME), str(entry.get("manager") or ""))
        for entry in metadata.get("managedFields") or []
        if field in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    return max(writes, default=("", ""))[1]


def _problem(status: dict[str, Any]) -> str:
    """Why pods cannot be created, such as an exceeded quota; "" if they can.

    The Deployment repeats the message of its ReplicaSet's FailedCreate event as a condition.
    """
    return next(
        (
            str(each.get("message") or each.get("reason") or "")
            for each in status.get("conditions") or []
            if each.get("type") == "ReplicaFailure" and each.get("status") == "True"
        ),
        "",
    )


def version_in_image(image: str) -> str:
    """The version that an image's tag says (`shop:v1.2.3`, also with a digest), or ""."""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    found = _VERSION_TAG.fullmatch(tag)
    return found[1] if found else ""


def _repository(image: str) -> str:
    path, slash, name = image.partition("@")[0].rpartition("/")
    return path + slash + name.partition(":")[0]


def _chart_version(metadata: dict[str, Any]) -> str:
    """The version in the label that Helm's charts set: `helm.sh/chart: shop-1.2.3`."""
    chart = (metadata.get("labels") or {}).get("helm.sh/chart", "")
    found = re.search(r"-(\d+\.\d+\.\d+([-_].+)?)$", chart)
    return found[1].replace("_", "+") if found else ""


def deployment_of(metadata: dict[str, Any]) -> str | None:
    """The pod's Deployment: its ReplicaSet's name without the template's hash."""
    template_hash = (metadata.get("labels") or {}).get("pod-template-hash")
    for owner in metadata.get("ownerReferences") or []:
        if owner["kind"] == "ReplicaSet" and template_hash:
            name: str = owner["name"]
            return name.removesuffix(f"-{template_hash}")
    return None


def _container(item: dict[str, Any], *, init: bool) -> ContainerState:
    current, last = item.get("state") or {}, item.get("lastState") or {}
    ended = current.get("terminated") or last.get("terminated") or {}
    return ContainerState(
        name=item["name"],
        init=init,
        ready=item.get("ready", False),
        restarts=item.get("restartCount", 0),
        waiting=(current.get("waiting") or {}).get("reason"),
        terminated=ended.get("reason"),
        exit_code=ended.get("exitCode"),
    )
