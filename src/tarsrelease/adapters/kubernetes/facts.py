"""Facts for preflight: nodes, the namespace, and this user's rights in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tarsrelease.adapters.kubernetes.client import ACCESS_REVIEW, NAMESPACE, NODE, KubernetesApi
from tarsrelease.adapters.kubernetes.shape import reads_answers
from tarsrelease.model.cluster import NodeState
from tarsrelease.model.rights import Right


@reads_answers
class KubernetesFacts:
    """The port `ClusterFacts`. It writes nothing: an access review is a question in a POST."""

    def __init__(self, cluster: KubernetesApi) -> None:
        self._cluster = cluster

    def nodes(self) -> list[NodeState]:
        """All nodes. Raises `ForbiddenError` without the right to list them."""
        return [_node(found) for found in self._cluster.select(NODE)]

    def namespace(self) -> str | None:
        """The namespace's phase; None if it does not exist."""
        found = self._cluster.get(NAMESPACE, self._cluster.namespace)
        return None if found is None else (found.get("status") or {}).get("phase", "Unknown")

    def served(self, group: str, version: str) -> list[str]:
        """The kinds of an API group's version; empty if the cluster does not have it."""
        found = self._cluster.resources(group, version)
        return sorted({str(each.get("kind")) for each in found})

    def server_time(self) -> float:
        """The API server's present, to the second (Unix time)."""
        return self._cluster.server_time()

    def lacking(self, rights: Sequence[Right]) -> list[Right]:
        """The rights that the API server refuses; one access review per right."""
        return [right for right in rights if not self._allowed(right)]

    def _allowed(self, right: Right) -> bool:
        resource, _, subresource = right.resource.partition("/")
        asked = {
            "namespace": self._cluster.namespace,
            "group": right.group,
            "resource": resource,
            "verb": right.verb,
        }
        if subresource:
            asked["subresource"] = subresource
        body = {"spec": {"resourceAttributes": asked}}
        answer = self._cluster.create(ACCESS_REVIEW, body)
        return bool((answer.get("status") or {}).get("allowed"))


def _node(found: dict[str, Any]) -> NodeState:
    conditions = {
        each["type"]: each["status"] for each in (found.get("status") or {}).get("conditions") or []
    }
    return NodeState(
        name=found["metadata"]["name"],
        ready=conditions.get("Ready") == "True",
        schedulable=not (found.get("spec") or {}).get("unschedulable", False),
        pressures=tuple(
            sorted(
                kind for kind, status in conditions.items() if kind != "Ready" and status == "True"
            )
        ),
    )
