"""Delivery controllers that own a route and would reset its weights."""

from __future__ import annotations

from collections.abc import Iterable

_CONTROLLERS = {
    "helm": (
        "Helm",
        "annotate the HTTPRoute with helm.sh/resource-policy: keep in one upgrade, then remove it "
        "from the chart in the next, so that Helm does not delete it",
    ),
    "argocd": (
        "Argo CD",
        "remove the HTTPRoute from the Application's source, or list its /spec/rules under "
        "ignoreDifferences with RespectIgnoreDifferences=true",
    ),
    "flux": (
        "Flux",
        "remove the HTTPRoute from the Kustomization, or annotate it with "
        "kustomize.toolkit.fluxcd.io/reconcile: disabled",
    ),
}
_MANAGERS = {
    "helm": "helm",
    "argocd-controller": "argocd",
    "argocd-application-controller": "argocd",
    "kustomize-controller": "flux",
    "helm-controller": "flux",
}


def controller_of(managers: Iterable[str]) -> tuple[str, str] | None:
    """The delivery controller among the field managers: its name and the fix; None without one.

    Tools that people use (kubectl, a console) do not count: their fields are adopted.
    """
    for manager in managers:
        key = _MANAGERS.get(manager.lower())
        if key is not None:
            return _CONTROLLERS[key]
    return None
