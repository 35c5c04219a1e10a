"""What a chart's rendered objects say about a product. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tarsrelease.bundle.image_places import at
from tarsrelease.bundle.rendered_images import image_references, split_reference
from tarsrelease.model.versions import same_version
from tarsrelease.rollout.canary_objects import (
    crossed_selectors,
    is_test,
    must_exist_once,
    name_of,
    switched_off,
    switches,
)

_SCALERS = ("HorizontalPodAutoscaler", "ScaledObject", "VerticalPodAutoscaler")

Object = Mapping[str, Any]
Render = Callable[[str, Sequence[Mapping[str, Any]]], Sequence[Object]]
"""From a Helm release's name and layers of values to the objects."""


@dataclass(frozen=True, slots=True)
class RouteSeen:
    """A route of the chart that leads to a service."""

    kind: str
    name: str
    hostnames: tuple[str, ...]
    paths: tuple[str, ...]
    port: int
    gateway: tuple[str, str, str]
    """Namespace ("" for the application's), name and listener ("" for any) of its Gateway."""
    namespace: str = ""
    """"" for the application's."""


@dataclass(frozen=True, slots=True)
class ServiceSeen:
    """A Deployment with its Service, on both sides, its routes, and where it can be asked."""

    name: str
    port: int
    stable: tuple[str, str]
    """Deployment and Service."""
    canary: tuple[str, str]
    routes: tuple[RouteSeen, ...]
    probe: str
    metrics_port: int | None
    """None if the pods say it themselves."""


@dataclass(frozen=True, slots=True)
class ImageSeen:
    """An image; `values` is the key of the chart's values that holds it, or the keys of its parts
    (`registry`, `repository`, `tag`, `digest`), None for none."""

    service: str
    name: str
    tag: str
    values: str | dict[str, str] | None
    tag_is_version: bool


@dataclass
class Product:
    """A chart as it renders; `problems` are what nobody but the chart's author can change."""

    services: list[ServiceSeen] = field(default_factory=list)
    workers: list[tuple[str, str, str]] = field(default_factory=list)
    images: list[ImageSeen] = field(default_factory=list)
    canary_values: dict[str, Any] = field(default_factory=dict)
    kinds: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def look(
    application: str,
    render: Render,
    defaults: Mapping[str, Any],
    *,
    app_version: str,
    version: str,
    namespace: str,
) -> Product:
    """The product of a chart. `defaults` are its values with those of its subcharts.

    `namespace` is the application's. `app_version` is Chart.yaml's, `version` that of the
    release: an image whose tag is the first gets the second.
    """
    stable = [each for each in render(application, []) if not is_test(each)]
    product = Product()
    again = {name_of(each): each for each in render(application, [])}
    product.problems += [
        f"{name_of(each)} renders differently each time, and a release applies only what was "
        "checked: set the value that the random one stands in for in the environment's Helm values"
        for each in stable
        if again.get(name_of(each)) != each
    ]
    product.canary_values = _canary_values(application, render, stable, defaults, product.problems)
    canary = [
        each
        for each in render(f"{application}-canary", [product.canary_values])
        if not is_test(each)
    ]
    _services(application, stable, canary, namespace, product)
    product.problems += [
        f"the {route.kind} {route.name} is in the namespace {route.namespace}: give the "
        "ServiceAccount the rule of rbac/tarsrelease.yaml for routes there, too"
        for service in product.services
        for route in service.routes
        if route.namespace
    ]
    _images(stable, _places(defaults), app_version, version, product)
    _find_prefixes(application, render, defaults, product.images)
    product.kinds = sorted({(str(o.get("apiVersion")), str(o.get("kind"))) for o in stable})
    return product


def _canary_values(
    application: str,
    render: Render,
    stable: Sequence[Object],
    defaults: Mapping[str, Any],
    problems: list[str],
) -> dict[str, Any]:
    """Values that leave out what may exist only once, and start with one replica."""
    values: dict[str, Any] = {
        key: 1
        for key in ("replicaCount", "replicas")
        if isinstance(defaults.get(key), int) and not isinstance(defaults[key], bool)
    }

    def refused(more: Mapping[str, Any]) -> dict[str, str]:
        canary = render(f"{application}-canary", [values, more])
        found = must_exist_once(canary, stable)
        # tarsrelease scales the canary itself.
        scalers = {name_of(each) for each in canary if each.get("kind") in _SCALERS}
        found |= dict.fromkeys(scalers, "it scales")
        return found

    values = _merged(values, _own_names(defaults))
    left = refused({})
    for path in switches(defaults) if left else ():
        off = switched_off(path)
        if len(after := refused(off)) < len(left):
            values, left = _merged(values, off), after
        if not left:
            break
    problems += [
        f"{name} cannot be left out of the canary: {why}. Give the chart a value for it"
        for name, why in left.items()
        if name.partition("/")[0] not in _SCALERS
    ]
    problems += crossed_selectors(render(f"{application}-canary", [values]), stable)
    return values


def _own_names(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Each `fullnameOverride` with the canary's suffix: both sides would have the same names."""
    found: dict[str, Any] = {}
    for key, value in defaults.items():
        if key == "fullnameOverride" and isinstance(value, str) and value:
            found[key] = f"{value}-canary"
        elif isinstance(value, Mapping) and (below := _own_names(value)):
            found[key] = below
    return found


def _merged(values: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in more.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(below or {}, value) if both else value
    return merged


def _services(
    application: str,
    stable: Sequence[Object],
    canary: Sequence[Object],
    namespace: str,
    product: Product,
) -> None:
    routes = [each for each in stable if each.get("kind") in ("HTTPRoute", "GRPCRoute")]
    ours, theirs = (
        {
            kind: [_name(each) for each in side if each.get("kind") == kind]
            for kind in ("Deployment", "Service")
        }
        for side in (stable, canary)
    )
    for deployment in (each for each in stable if each.get("kind") == "Deployment"):
        name = _name(deployment)
        other = _counterpart(name, application, ours["Deployment"], theirs["Deployment"])
        if other is None:
            product.problems.append(f"the canary has no counterpart of the Deployment {name}")
            continue
        selecting = [s for s in stable if _selects(s, deployment)]
        service = next(
            (s for s in selecting if any(_routes(routes, _name(s), namespace))),
            next((s for s in selecting if not _headless(s)), None),
        )
        seen = tuple(_routes(routes, _name(service), namespace)) if service is not None else ()
        if service is None or (routes and not seen):
            product.workers.append((_short(name, application), name, other))
            continue
        beside = _counterpart(_name(service), application, ours["Service"], theirs["Service"])
        if beside is None:
            product.problems.append(
                f"the canary has no counterpart of the Service {_name(service)}"
            )
            continue
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        probe = ((container.get("readinessProbe") or {}).get("httpGet") or {}).get("path") or "/"
        product.services.append(
            ServiceSeen(
                name=_short(name, application),
                port=seen[0].port if seen else _port(service),
                stable=(name, _name(service)),
                canary=(other, beside),
                routes=seen,
                probe=str(probe),
                metrics_port=_metrics_port(deployment),
            )
        )


def _headless(service: Object) -> bool:
    return (service.get("spec") or {}).get("clusterIP") == "None"


def _port(service: Object) -> int:
    """The port for HTTP by its usual names, else the first."""
    ports = service["spec"]["ports"]
    named = [port for port in ports if str(port.get("name", "")) in ("http", "web", "http-web")]
    return int((named or ports)[0]["port"])


def _name(found: Object) -> str:
    return str((found.get("metadata") or {}).get("name"))


def _short(name: str, application: str) -> str:
    """A name for rollout.yaml, which may be shorter than that of an object, and without dots."""
    short = name.removeprefix(f"{application}-") or name
    return short.replace(".", "-")[:53].rstrip("-")


def _counterpart(
    name: str, application: str, ours: Sequence[str], theirs: Sequence[str]
) -> str | None:
    """The name of the same object in the release ``APPLICATION-canary``.

    By its name, else by its place: the same templates render as many objects in the same order.
    """
    wanted = name.replace(application, f"{application}-canary", 1)
    if wanted in theirs:
        return wanted
    return theirs[ours.index(name)] if len(theirs) == len(ours) else None


def _selects(service: Object, deployment: Object) -> bool:
    if service.get("kind") != "Service":
        return False
    selector = (service.get("spec") or {}).get("selector") or {}
    labels = deployment["spec"]["template"].get("metadata", {}).get("labels") or {}
    return bool(selector) and selector.items() <= labels.items()


def _routes(routes: Sequence[Object], service: str, namespace: str) -> Iterator[RouteSeen]:
    """Those that lead to the Service of this namespace."""
    for route in routes:
        spec = route.get("spec") or {}
        own = str(route["metadata"].get("namespace") or namespace)
        leading = [
            (rule, ref)
            for rule in spec.get("rules") or []
            for ref in rule.get("backendRefs") or []
            if (ref.get("name"), ref.get("namespace") or own) == (service, namespace)
        ]
        rules = [rule for rule, _ in leading]
        ports = [int(ref["port"]) for _, ref in leading if ref.get("port")]
        if not rules:
            continue
        paths = [
            str((match.get("path") or {}).get("value") or "/")
            for rule in rules
            for match in rule.get("matches") or [{}]
        ]
        elsewhere = "" if own == namespace else own
        parent: Mapping[str, Any] = next(
            (p for p in spec.get("parentRefs") or [] if p.get("kind", "Gateway") == "Gateway"), {}
        )
        yield RouteSeen(
            kind=str(route["kind"]),
            name=_name(route),
            hostnames=tuple(map(str, spec.get("hostnames") or [])),
            paths=tuple(dict.fromkeys(paths)),
            port=ports[0] if ports else 80,
            gateway=(
                str(parent.get("namespace") or elsewhere),
                str(parent.get("name") or ""),
                str(parent.get("sectionName") or ""),
            ),
            namespace=elsewhere,
        )


def _metrics_port(deployment: Object) -> int | None:
    template = deployment["spec"]["template"]
    notes = template.get("metadata", {}).get("annotations") or {}
    ports = [
        port
        for container in template["spec"]["containers"]
        for port in container.get("ports") or []
    ]
    if "prometheus.io/port" in notes or any(port.get("name") == "metrics" for port in ports):
        return None
    return int(ports[0]["containerPort"]) if ports else None


def _images(
    stable: Sequence[Object],
    places: Sequence[_Place],
    app_version: str,
    version: str,
    product: Product,
) -> None:
    taken: set[str] = set()
    references = [reference for each in stable for reference in image_references(each)]
    for reference in dict.fromkeys(references):
        name, tag, _ = split_reference(reference)
        found = [place.values for place in places if place.holds(reference)]
        own = bool(app_version) and same_version(tag, app_version)
        prefix = "v" if tag.startswith("v") else ""
        for values in found or (None,):
            short = re.sub(r"[^a-z0-9-]+", "-", name.rpartition("/")[2]).strip("-")
            product.images.append(
                ImageSeen(
                    service=_free(short, taken),
                    name=name if "/" in name else f"docker.io/library/{name}",
                    tag=prefix + version.replace("+", "_") if own else tag or "latest",
                    values=values,
                    tag_is_version=own,
                )
            )
        if not found:
            product.problems.append(
                f"no value of the chart holds the image {reference}, so that it cannot be pinned; "
                "give the chart a value with repository and tag"
            )


class _Place(NamedTuple):
    """The key that holds an image or the keys of its parts, and the image's name and tag there.

    `tag` is "" if the values have none. The name of an image that is one text includes its tag.
    """

    values: str | dict[str, str]
    name: str
    tag: str = ""

    def holds(self, reference: str) -> bool:
        """Whether an image that the chart renders may come from here."""
        name, tag, _ = split_reference(reference)
        tags = ("", tag, tag.removeprefix("v"))
        return self.name == reference or (self.name == name and self.tag in tags)


def _places(defaults: Mapping[str, Any]) -> list[_Place]:
    """The places of images. The registry may have its key elsewhere, such as
    ``global.imageRegistry``."""
    blocks = list(_blocks(defaults))
    registries = [
        (f"{path}.{key}" if path else key, value)
        for path, block in blocks
        for key, value in block.items()
        if key.lower().endswith("registry") and isinstance(value, str) and value
    ]
    found = []
    for path, block in blocks:
        found += [
            _Place(f"{path}.{key}" if path else key, value)
            for key, value in block.items()
            if isinstance(value, str) and split_reference(value)[1]
        ]
        tag = str(block.get("tag") or "")
        repository, registry = block.get("repository"), block.get("registry")
        if isinstance(repository, str) and repository and path:
            name = f"{registry}/{repository}" if registry else repository
            found.append(_Place(path, name, tag))
        key = next((key for key in ("repository", "name") if isinstance(block.get(key), str)), "")
        if not (path and key and "tag" in block):
            continue
        places = {"repository": f"{path}.{key}", "tag": f"{path}.tag"}
        if "digest" in block:
            places["digest"] = f"{path}.digest"
        if key == "name":
            found.append(_Place(places, block[key], tag))
        found += [
            _Place({"registry": place, **places}, f"{value}/{block[key]}", tag)
            for place, value in registries
            if place != f"{path}.registry"
        ]
    return found


def _blocks(values: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping and list of the values, by its path; lists by the places of their items."""
    if isinstance(values, list):
        values = {str(number): value for number, value in enumerate(values)}
    if isinstance(values, Mapping):
        yield path, values
        for key, value in values.items():
            yield from _blocks(value, f"{path}.{key}" if path else str(key))


def _find_prefixes(
    application: str, render: Render, defaults: Mapping[str, Any], images: list[ImageSeen]
) -> None:
    """Name the v that a template writes before the tag's value: only a rendering shows it."""
    for number, image in enumerate(images):
        places = image.values
        if not image.tag.startswith("v") or places is None:
            continue
        if isinstance(places, str):
            block = at(defaults, places.split("."))
            if not isinstance(block, Mapping):
                continue
            keys = ["repository", "tag", *(k for k in ("registry", "digest") if k in block)]
            places = {key: f"{places}.{key}" for key in keys}
        if any(key.isdecimal() for key in places["tag"].split(".")):
            continue  # Helm would replace the whole list
        values: Any = "probe"
        for key in reversed(places["tag"].split(".")):
            values = {key: values}
        tags = [
            split_reference(reference)[1]
            for each in render(application, [values])
            for reference in image_references(each)
        ]
        if "vprobe" in tags:
            images[number] = replace(image, values={**places, "tag_prefix": "v"})


def _free(name: str, taken: set[str]) -> str:
    found, number = name, 2
    while found in taken:
        found, number = f"{name}-{number}", number + 1
    taken.add(found)
    return found
