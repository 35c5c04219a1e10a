"""May this be installed beside stable? Pure questions to a rendered chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tarsrelease.model.bundle import Image

_ONCE = {
    "CronJob": "its jobs would run twice",
    "StatefulSet": "it owns storage that must exist once",
    "PersistentVolumeClaim": "it is storage that must exist once",
    "HTTPRoute": "the routes are written by tarsrelease alone",
}
_HOOK = "helm.sh/hook"

Object = Mapping[str, Any]


def name_of(found: Object) -> str:
    """``Kind/name``, as people and kubectl write it."""
    return f"{found.get('kind')}/{(found.get('metadata') or {}).get('name')}"


def must_exist_once(canary: Sequence[Object], stable: Sequence[Object]) -> dict[str, str]:
    """What the canary's render may not contain, by ``Kind/name``, with the reason.

    Anything that stable's render has under the same kind and name is stable's; CronJobs, hooks,
    storage and autoscalers of stable's Deployments exist once.
    """
    of_stable = {name_of(found) for found in stable}
    refused: dict[str, str] = {}
    for found in canary:
        name, kind = name_of(found), found.get("kind")
        notes = (found.get("metadata") or {}).get("annotations") or {}
        target = ((found.get("spec") or {}).get("scaleTargetRef") or {}) if found else {}
        if kind in _ONCE:
            refused[name] = _ONCE[kind]
        elif _HOOK in notes and "test" not in str(notes[_HOOK]):
            refused[name] = f"a {notes[_HOOK]} hook would run again, beside stable"
        elif f"{target.get('kind')}/{target.get('name')}" in of_stable:
            refused[name] = f"it would scale stable's {target.get('name')}"
        elif name in of_stable:
            refused[name] = "stable has an object of this kind and name"
    return refused


def switches(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where a chart's values can switch something off: paths of ``true``, outermost first."""
    found = [(*path, key) for key, value in values.items() if value is True]
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += switches(value, (*path, key))
    return found


def switched_off(path: Sequence[str]) -> dict[str, Any]:
    """Values that set the switch at `path` to false."""
    head, *rest = path
    return {head: switched_off(rest) if rest else False}


def unverified_images(rendered: Sequence[Object], images: Sequence[Image]) -> list[str]:
    """Images of the application that would not run with the digest that the bundle pins."""
    pinned = {image.name: image.digest for image in images}
    wrong = []
    for found in rendered:
        template = ((found.get("spec") or {}).get("template") or {}).get("spec") or {}
        for container in [
            *(template.get("initContainers") or []),
            *(template.get("containers") or []),
        ]:
            reference = str(container.get("image", ""))
            name, _, digest = reference.partition("@")
            repository = name if "/" not in name else _without_tag(name)
            if repository in pinned and digest != pinned[repository]:
                wrong.append(f"{name_of(found)}: {reference}")
    return wrong


def _without_tag(name: str) -> str:
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition(':')[0]}"
