"""What nodes have, quotas allow and pods reserve: CPU in cores, memory in bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tarsrelease.model.base import Value


class Amounts(NamedTuple):
    """CPU in cores, memory in bytes."""

    cpu: float
    memory: float


class NodeUse(NamedTuple):
    """One node. None: the cluster does not say, or this user may not ask."""

    name: str
    allocatable: Amounts
    requested: Amounts | None
    used: Amounts | None


class Quota(NamedTuple):
    """A ResourceQuota: amounts by the names that it uses, such as ``requests.cpu``."""

    name: str
    hard: Mapping[str, float]
    used: Mapping[str, float]


class Reserved(Value):
    """CPU (cores) and memory (bytes) that one pod of a Deployment requests and may use at most.

    None: at least one container does not say.
    """

    deployment: str
    cpu_request: float | None
    cpu_limit: float | None
    memory_request: float | None
    memory_limit: float | None
