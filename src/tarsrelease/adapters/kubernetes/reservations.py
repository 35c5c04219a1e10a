"""What pods reserve: requests and limits of containers, and Kubernetes' way to write amounts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tarsrelease.adapters.kubernetes.client import DEPLOYMENT, KubernetesApi
from tarsrelease.model.slo_report import Reserved

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
