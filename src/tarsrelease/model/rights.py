"""The rights that a release needs in its namespace: those of rbac/role.yaml, and no others.

A test holds both against each other, so that a preflight asks for exactly what is shipped.
"""

from __future__ import annotations

from tarsrelease.model.base import Value


class Right(Value):
    """One verb on one resource of one API group; `resource` with its subresource, if any."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        group = f".{self.group}" if self.group else ""
        return f"{self.verb} {self.resource}{group}"


_ROLE = {
    ("", "configmaps"): "get list create update patch delete",
    ("", "pods"): "list",
    ("", "secrets"): "get list create update delete",
    ("", "serviceaccounts"): "get create patch delete",
    ("", "services"): "get list create patch delete",
    ("apps", "deployments"): "get list create patch delete",
    ("apps", "deployments/scale"): "patch",
    ("autoscaling", "horizontalpodautoscalers"): "get list create patch delete",
    ("batch", "cronjobs"): "get create patch delete",
    ("coordination.k8s.io", "leases"): "get create update",
    ("discovery.k8s.io", "endpointslices"): "list",
    ("gateway.networking.k8s.io", "httproutes"): "get list create patch delete",
    ("policy", "poddisruptionbudgets"): "get create patch delete",
}

ROLE = tuple(
    Right(group=group, resource=resource, verb=verb)
    for (group, resource), verbs in _ROLE.items()
    for verb in verbs.split()
)

HELM_HISTORY = Right(group="", resource="secrets", verb="list")
"""Helm stores its history in Secrets; rbac/read-only.yaml has no right to read them."""
