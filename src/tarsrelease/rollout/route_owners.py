"""Who else may own a route: delivery controllers that would put the weights back."""

from __future__ import annotations

from collections.abc import Iterable

_CONTROLLERS = {
    "helm": (
        "Helm",
        "take the HTTPRoute out of the chart, with the annotation helm.sh/resource-policy: keep "
        "in one upgrade before it, so that Helm leaves it standing",
    ),
    "argocd": (
        "Argo CD",
        "take the HTTPRoute out of the Application's source, or list its /spec/rules under "
        "ignoreDifferences with RespectIgnoreDifferences=true",
    ),
    "flux": (
        "Flux",
        "take the HTTPRoute out of the Kustomization, or annotate it with "
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
    """The delivery controller among the field managers: its name, and the remedy; else None.

    People's tools (kubectl, a console) are none: what they wrote is adopted.
    """
    for manager in managers:
        key = _MANAGERS.get(manager.lower())
        if key is not None:
            return _CONTROLLERS[key]
    return None
