"""Who writes a route besides tarsrelease, and how far it has been adopted."""

from __future__ import annotations

from enum import StrEnum

from tarsrelease.model.base import Value
from tarsrelease.model.rollout import RouteRef


class OwnerTool(StrEnum):
    """A delivery tool that keeps routes as their source says."""

    HELM = "helm"
    ARGO_CD = "argocd"
    FLUX = "flux"
    """Flux's kustomize-controller."""
    FLUX_HELM = "flux-helm"
    """Flux's helm-controller, which runs Helm by a HelmRelease."""


class RouteOwner(Value):
    """The owner of a route: the name and namespace of the object that says what it writes.

    That is the Helm release, the Application, the Kustomization or the HelmRelease.
    """

    tool: OwnerTool
    name: str
    namespace: str

    @property
    def mark(self) -> str:
        """As the route's annotation names it."""
        return f"{self.tool}/{self.namespace}/{self.name}"

    def __str__(self) -> str:
        return f"{_KINDS[self.tool]} {self.namespace}/{self.name}"


_KINDS = {
    OwnerTool.HELM: "the Helm release",
    OwnerTool.ARGO_CD: "Argo CD's Application",
    OwnerTool.FLUX: "Flux's Kustomization",
    OwnerTool.FLUX_HELM: "Flux's HelmRelease",
}


class OwnedRoute(Value):
    """One route of the release.

    `owner` is None if no delivery tool writes it. `adopted`: tarsrelease owns the weights.
    `released`: the owner's own settings leave the weights alone. `obstacle` says why those settings
    cannot be changed from here; empty if they can. `readable`: they can be read. `has_canary`: a
    release is in progress.
    """

    ref: RouteRef
    exists: bool
    owner: RouteOwner | None = None
    adopted: bool = False
    released: bool = False
    obstacle: str = ""
    readable: bool = True
    has_canary: bool = False


Switch = tuple[str, ...]
"""The path of a value in a chart's values that leaves a route out if it is false."""
