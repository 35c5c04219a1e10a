"""What pods reserve, nodes have and quotas allow, and Kubernetes' way to write amounts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tarsrelease.adapters.kubernetes.client import (
    DEPLOYMENT,
    NODE,
    NODE_METRICS,
    POD_ANYWHERE,
    RESOURCE_QUOTA,
    KubernetesApi,
)
from tarsrelease.model.capacity import Amounts, NodeUse, Quota, Reserved
from tarsrelease.model.errors import ForbiddenError, UnreachableError

_UNITS = {
    "": 1.0,
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    **{unit: 1e3 ** (number + 1) for number, unit in enumerate("kMGTPE")},
    **{f"{unit}i": 1024.0 ** (number + 1) for number, unit in enumerate("KMGTPE")},
}
_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)")


def parse_quantity(text: str) -> float:
    """``250m`` is 0.25, ``64Mi`` is 67108864. Raises ValueError."""
    found = _QUANTITY.fullmatch(str(text))
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"{text!r} is no Kubernetes quantity")
    return float(found[1]) * _UNITS[found[2]]


def reserved(api: KubernetesApi) -> dict[str, Reserved]:
    """By Deployment of the namespace, what one of its pods reserves."""
    return {
        name: Reserved(
            deployment=name,
            cpu_request=_sum(containers, "requests", "cpu"),
            cpu_limit=_sum(containers, "limits", "cpu"),
            memory_request=_sum(containers, "requests", "memory"),
            memory_limit=_sum(containers, "limits", "memory"),
        )
        for each in api.select(DEPLOYMENT)
        for name in [str(each["metadata"]["name"])]
        for containers in [each["spec"]["template"]["spec"].get("containers") or []]
    }


def _sum(containers: Sequence[Any], kind: str, resource: str) -> float | None:
    """Of all containers; None if one does not say. A limit is also the request that is left out."""
    total = 0.0
    for container in containers:
        resources = container.get("resources") or {}
        given = (resources.get(kind) or {}).get(resource)
        if given is None and kind == "requests":
            given = (resources.get("limits") or {}).get(resource)
        if given is None:
            return None
        total += parse_quantity(given)
    return total


def nodes(api: KubernetesApi) -> list[NodeUse]:
    """See the port `Surroundings`. metrics.k8s.io that is not served or away gives no use."""
    requested, used = _requested(api), _used(api)
    return [
        NodeUse(
            name=name,
            allocatable=_amounts(node["status"]["allocatable"]),
            requested=None if requested is None else requested.get(name, Amounts(0, 0)),
            used=used.get(name),
        )
        for node in api.select(NODE)
        for name in [str(node["metadata"]["name"])]
    ]


def _requested(api: KubernetesApi) -> dict[str, Amounts] | None:
    """By node, what its pods request; None without the right to list all pods."""
    try:
        pods = api.select(POD_ANYWHERE)
    except ForbiddenError:
        return None
    found: dict[str, Amounts] = {}
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if node is None or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            continue
        own = _pod_requests(pod["spec"])
        so_far = found.get(node, Amounts(0, 0))
        found[node] = Amounts(so_far.cpu + own.cpu, so_far.memory + own.memory)
    return found


def _pod_requests(spec: Any) -> Amounts:
    """As the scheduler counts: all containers and sidecars, or the largest init container."""
    first = spec.get("initContainers") or []
    lasting = [each for each in first if each.get("restartPolicy") == "Always"]
    together = [_container(each) for each in (*(spec.get("containers") or []), *lasting)]
    alone = [_container(each) for each in first if each not in lasting]
    return Amounts(
        max(sum(each.cpu for each in together), *(each.cpu for each in alone), 0.0),
        max(sum(each.memory for each in together), *(each.memory for each in alone), 0.0),
    )


def _container(container: Any) -> Amounts:
    resources = container.get("resources") or {}
    return _amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _amounts(written: Any) -> Amounts:
    return Amounts(*(parse_quantity(written.get(name, "0")) for name in ("cpu", "memory")))


def _used(api: KubernetesApi) -> dict[str, Amounts]:
    try:
        if not api.resources(NODE_METRICS.group, NODE_METRICS.version):
            return {}
        found = api.select(NODE_METRICS)
    except (ForbiddenError, UnreachableError):
        return {}
    return {str(each["metadata"]["name"]): _amounts(each["usage"]) for each in found}


def quotas(api: KubernetesApi) -> list[Quota]:
    """See the port `Surroundings`."""

    def amounts(written: Any) -> dict[str, float]:
        return {str(name): parse_quantity(text) for name, text in (written or {}).items()}

    return [
        Quota(
            name=str(each["metadata"]["name"]),
            hard=amounts(status.get("hard") or (each.get("spec") or {}).get("hard")),
            used=amounts(status.get("used")),
        )
        for each in api.select(RESOURCE_QUOTA)
        for status in [each.get("status") or {}]
    ]
