"""Delivery controllers that own a route and would reset its weights."""

from __future__ import annotations

from collections.abc import Iterable

_ADOPT = (
    "run `tarsrelease route adopt` (--plan shows what it changes; `tarsrelease route return` "
    "gives the route back)"
)
_NAMES = {
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
    "helm": "Helm",
}


def controller_of(managers: Iterable[str]) -> tuple[str, str] | None:
    """The delivery controller among the field managers: its name and the fix; None without one.

    Tools that people use (kubectl, a console) do not count: their fields are adopted.
    """
    for manager in managers:
        name = _NAMES.get(manager.lower())
        if name is not None:
            return name, _ADOPT
    return None
