"""The images that rendered objects name, wherever they stand, against those that a bundle pins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tarsrelease.model.bundle import Image
from tarsrelease.rollout.canary_objects import is_test

_CONTAINERS = frozenset({"containers", "initContainers", "ephemeralContainers"})
_TEXTS = frozenset({"ConfigMap", "Secret", "CustomResourceDefinition"})
"""Kinds whose `image` is a key of somebody's text or schema."""


def image_references(found: Any) -> Iterator[str]:
    """Every image that an object names: of its containers, of volumes, and under a key `image` of
    any other kind, as an operator would start it."""
    kind = found.get("kind") if isinstance(found, Mapping) else None
    yield from _references(found, anywhere=kind not in _TEXTS)


def _references(found: Any, *, anywhere: bool) -> Iterator[str]:
    if isinstance(found, Mapping):
        for key, value in found.items():
            if key in _CONTAINERS and isinstance(value, list):
                for item in value:
                    if isinstance(item, Mapping):
                        if key == "containers" or "image" in item:
                            yield str(item.get("image", ""))
                        rest = {name: each for name, each in item.items() if name != "image"}
                        yield from _references(rest, anywhere=anywhere)
                continue
            if key == "image" and anywhere:
                yield from _named(value)
            yield from _references(value, anywhere=anywhere)
    elif isinstance(found, list):
        for item in found:
            yield from _references(item, anywhere=anywhere)


def _named(value: Any) -> Iterator[str]:
    """As text, as a volume's `reference`, or in the three parts that charts and operators use."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        if "reference" in value:
            yield str(value["reference"])
        elif "repository" in value:
            registry = f"{value['registry']}/" if value.get("registry") else ""
            tag = f":{value['tag']}" if value.get("tag") else ""
            digest = f"@{value['digest']}" if value.get("digest") else ""
            yield f"{registry}{value['repository']}{tag}{digest}"


def split_reference(reference: str) -> tuple[str, str, str]:
    """Name, tag and digest of an image reference; what is not there is empty."""
    rest, _, digest = reference.partition("@")
    folder, slash, last = rest.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{folder}{slash}{name}", tag, digest


def unverified_images(rendered: Sequence[Mapping[str, Any]], images: Sequence[Image]) -> list[str]:
    """``Kind/name: reference`` of each image that the bundle does not pin by digest."""
    pinned = {(image.name, image.digest) for image in images}
    wrong = []
    for found in rendered:
        if is_test(found):
            continue
        name = f"{found.get('kind')}/{(found.get('metadata') or {}).get('name')}"
        for reference in image_references(found):
            repository, _, digest = split_reference(reference)
            if (repository, digest) not in pinned:
                wrong.append(f"{name}: {reference}")
    return wrong
