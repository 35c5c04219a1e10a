"""Routes that Helm, Argo CD or Flux write: who does, and how each leaves the weights alone.

Helm deletes an object that a new revision lacks unless the object has `helm.sh/resource-policy:
keep`, and resets the weights if the chart renders the route; so the route leaves Helm's record, and
a value keeps it out of later renders. Argo CD keeps fields that the Application's
`ignoreDifferences` names, if it respects them when it syncs. Flux's kustomize-controller does not
apply or prune an object whose `reconcile` annotation is disabled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tarsrelease.adapters.kubernetes import helm_record, http_route, virtual_service
from tarsrelease.adapters.kubernetes.client import (
    FIELD_MANAGER,
    GRPC_ROUTE,
    HTTP_ROUTE,
    VIRTUAL_SERVICE,
    Kind,
    KubernetesApi,
    Object,
)
from tarsrelease.adapters.kubernetes.route_split import Route, Target, targets
from tarsrelease.adapters.kubernetes.shape import reads_answers
from tarsrelease.model.errors import ForbiddenError, UsageError
from tarsrelease.model.rollout import RouteRef, Service
from tarsrelease.model.route_ownership import OwnedRoute, OwnerTool, RouteOwner, Switch
from tarsrelease.rollout.route_handover import rules_path

KINDS = {
    "HTTPRoute": HTTP_ROUTE,
    "GRPCRoute": GRPC_ROUTE,
    "VirtualService": VIRTUAL_SERVICE,
}
_APPLICATION = Kind("argoproj.io", "v1alpha1", "Application", "applications")
_RETURNS = f"{http_route.PREFIX}returns"
"""What giving the route back needs, as JSON."""
_KEEP = "helm.sh/resource-policy"
_HELM_NAME, _HELM_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_RESPECT = "RespectIgnoreDifferences=true"


@reads_answers
class RouteHandover:
    """The routes of one namespace, and the records and Applications that write them."""

    def __init__(self, cluster: KubernetesApi, elsewhere: Callable[[str], KubernetesApi]) -> None:
        """`elsewhere` gives the API of another namespace of the same cluster."""
        self._cluster = cluster
        self._elsewhere = elsewhere

    def routes(self, services: Sequence[Service]) -> list[OwnedRoute]:
        """Each route of the services, once."""
        found = []
        for target in targets(services, self._cluster.namespace):
            route = self._of(target.ref).get(KINDS[target.ref.kind], target.ref.name)
            if route is None:
                found.append(OwnedRoute(ref=target.ref, exists=False))
                continue
            known = OwnedRoute(
                ref=target.ref,
                exists=True,
                owner=owner_of(route, self._cluster.namespace),
                adopted=http_route.ADOPTED_FROM in _annotations(route),
                has_canary=_has_canary(target, route),
            )
            found.append(known.model_copy(update=self._settings(known, route)))
        return found

    def adopt(self, route: OwnedRoute, switch: Switch) -> None:
        """Make the owner leave the route alone."""
        owner = route.owner
        if owner is None:
            return
        marks = {
            http_route.ADOPTED_FROM: owner.mark,
            http_route.ADOPTED: "true",
        }
        if route.released:
            self._annotate(route.ref, marks)
        elif owner.tool is OwnerTool.ARGO_CD:
            added = self._ignore(route.ref, owner)
            self._annotate(route.ref, marks | {_RETURNS: json.dumps({"added": added})})
        elif owner.tool is OwnerTool.FLUX:
            self._annotate(route.ref, marks | {http_route.FLUX_RECONCILE: "disabled"})
        else:
            self._adopt_from_helm(route.ref, owner, switch, marks)

    def give_back(self, route: OwnedRoute) -> None:
        """Restore the owner's settings and remove all that tarsrelease wrote into the route."""
        owner, kind = route.owner, KINDS[route.ref.kind]
        standing = self._of(route.ref).get(kind, route.ref.name)
        if owner is None or standing is None:
            return
        kept = json.loads(_annotations(standing).get(_RETURNS, "{}"))
        notes: dict[str, str | None] = {
            key: None for key in _annotations(standing) if key.startswith(http_route.PREFIX)
        }
        labels: dict[str, str] = {}
        if owner.tool is OwnerTool.ARGO_CD:
            self._heed(route.ref, owner, kept.get("added") or [])
        elif owner.tool is OwnerTool.FLUX:
            notes[http_route.FLUX_RECONCILE] = None
        elif "document" in kept:
            labels = {_MANAGED_BY: "Helm"}
            notes |= {_HELM_NAME: owner.name, _HELM_NAMESPACE: owner.namespace}
            if not kept["kept"]:
                notes[_KEEP] = None
            self._return_to_helm(route.ref, owner, kept)
        fields = standing["metadata"].get("managedFields") or []
        others = [entry for entry in fields if entry.get("manager") != FIELD_MANAGER]
        # Without our entries nobody's apply conflicts with the fields, and they keep their values.
        metadata = {"labels": labels, "annotations": notes, "managedFields": others}
        metadata["resourceVersion"] = standing["metadata"]["resourceVersion"]
        self._of(route.ref).merge(kind, route.ref.name, {"metadata": metadata})

    def _of(self, ref: RouteRef) -> KubernetesApi:
        return self._cluster.elsewhere(ref.namespace)

    def _annotate(self, ref: RouteRef, notes: dict[str, str | None] | dict[str, str]) -> None:
        # A merge patch: an apply would own these alone, and the next write of weights, which does
        # not contain them, would remove them.
        self._of(ref).merge(KINDS[ref.kind], ref.name, {"metadata": {"annotations": notes}})

    def _settings(self, known: OwnedRoute, route: Route) -> dict[str, Any]:
        """`released` and `obstacle`, from the owner's own settings."""
        owner = known.owner
        if owner is None:
            return {}
        if owner.tool is OwnerTool.FLUX:
            return {"released": _annotations(route).get(http_route.FLUX_RECONCILE) == "disabled"}
        if owner.tool is OwnerTool.ARGO_CD:
            return self._application_settings(known, owner)
        record = helm_record.newest(self._cluster, owner.name)
        if record is None:
            obstacle = f"its record is not in the Secrets of {self._cluster.namespace}"
            return {"released": known.adopted, "obstacle": obstacle, "readable": False}
        there = record.document(known.ref.kind, known.ref.name) is not None
        owned = _HELM_NAME in _annotations(route)
        # Flux's Helm sets the ownership again; of plain Helm it is removed with the adoption.
        return {"released": not there and (owner.tool is OwnerTool.FLUX_HELM or not owned)}

    # Helm

    def _adopt_from_helm(
        self, ref: RouteRef, owner: RouteOwner, switch: Switch, marks: dict[str, str]
    ) -> None:
        record = helm_record.newest(self._cluster, owner.name)
        document = record.document(ref.kind, ref.name) if record is not None else None
        if record is not None and document is not None:
            standing = self._of(ref).get(KINDS[ref.kind], ref.name)
            kept = {
                "document": document,
                "kept": _annotations(standing).get(_KEEP) == "keep",
                "switch": list(switch),
                "was": _at(record.values, switch),
            }
            # What an interrupted adoption has noted is what the owner wrote.
            noted = _annotations(standing).get(_RETURNS, json.dumps(kept))
            # Keep first: from here on nothing that Helm does deletes the route.
            self._annotate(ref, {_KEEP: "keep", **marks, _RETURNS: noted})
            helm_record.add_revision(
                self._cluster,
                record,
                record.without(ref.kind, ref.name),
                _set(record.values, switch, False),
                f"{ref} adopted by tarsrelease",
            )
        # An upgrade that renders the route again ends with Helm's error about its ownership.
        notes: dict[str, str | None] = {**marks, _HELM_NAME: None, _HELM_NAMESPACE: None}
        metadata = {"annotations": notes, "labels": {_MANAGED_BY: None}}
        self._of(ref).merge(KINDS[ref.kind], ref.name, {"metadata": metadata})

    def _return_to_helm(self, ref: RouteRef, owner: RouteOwner, kept: dict[str, Any]) -> None:
        record = helm_record.newest(self._cluster, owner.name)
        if record is None or record.document(ref.kind, ref.name) is not None:
            return
        helm_record.add_revision(
            self._cluster,
            record,
            record.with_document(kept["document"]),
            _set(record.values, kept["switch"], kept["was"]),
            f"{ref} returned by tarsrelease",
        )

    # Argo CD

    def _application(self, owner: RouteOwner) -> Object:
        found = self._elsewhere(owner.namespace).get(_APPLICATION, owner.name)
        if found is None:
            raise UsageError(
                doing=f"reading {owner}",
                found="there is none",
                expected="the Application that the route's tracking id names",
                next_step="give Argo CD's namespace in the route's annotation "
                "argocd.argoproj.io/tracking-id, or ignore /spec/rules by hand",
            )
        return found

    def _application_settings(self, known: OwnedRoute, owner: RouteOwner) -> dict[str, Any]:
        try:
            application = self._application(owner)
        except (ForbiddenError, UsageError) as error:
            obstacle = f"the Application cannot be read ({error.detail.found})"
            return {"released": known.adopted, "obstacle": obstacle, "readable": False}
        spec = application.get("spec") or {}
        ignored = any(
            _covers(entry, known.ref, self._cluster.namespace)
            for entry in spec.get("ignoreDifferences") or []
        )
        options = (spec.get("syncPolicy") or {}).get("syncOptions") or []
        metadata = application["metadata"]
        above = [found["kind"] for found in metadata.get("ownerReferences") or []]
        if "argocd.argoproj.io/tracking-id" in (metadata.get("annotations") or {}):
            above.append("another Application")
        obstacle = f"{above[0]} writes the Application" if above else ""
        return {"released": ignored and _RESPECT in options, "obstacle": obstacle}

    def _ignore(self, ref: RouteRef, owner: RouteOwner) -> list[str]:
        """Add to the Application what is missing; returns what was added."""
        application = self._application(owner)
        spec = application.get("spec") or {}
        differences = spec.get("ignoreDifferences") or []
        options = (spec.get("syncPolicy") or {}).get("syncOptions") or []
        added = []
        if not any(_covers(entry, ref, self._cluster.namespace) for entry in differences):
            differences = [*differences, _difference(ref, self._cluster.namespace)]
            added.append("ignoreDifferences")
        if _RESPECT not in options:
            options = [*options, _RESPECT]
            added.append(_RESPECT)
        self._write(application, owner, differences, options)
        return added

    def _heed(self, ref: RouteRef, owner: RouteOwner, added: list[str]) -> None:
        """Remove from the Application what was added."""
        application = self._application(owner)
        spec = application.get("spec") or {}
        own = _difference(ref, self._cluster.namespace)
        differences = spec.get("ignoreDifferences") or []
        if "ignoreDifferences" in added:
            differences = [entry for entry in differences if entry != own]
        options = (spec.get("syncPolicy") or {}).get("syncOptions") or []
        if _RESPECT in added and not differences:
            options = [option for option in options if option != _RESPECT]
        self._write(application, owner, differences, options)

    def _write(
        self,
        application: Object,
        owner: RouteOwner,
        differences: list[dict[str, Any]],
        options: list[str],
    ) -> None:
        spec = {"ignoreDifferences": differences or None}
        policy = {"syncPolicy": {"syncOptions": options or None}}
        version = {"resourceVersion": application["metadata"]["resourceVersion"]}
        self._elsewhere(owner.namespace).merge(
            _APPLICATION, owner.name, {"metadata": version, "spec": {**spec, **policy}}
        )


def owner_of(route: Route, namespace: str) -> RouteOwner | None:
    """The delivery tool that writes the route, or wrote it before it was adopted."""
    notes = _annotations(route)
    labels = route["metadata"].get("labels") or {}
    managers = {name.lower() for name in http_route.managers(route)}
    adopted = notes.get(http_route.ADOPTED_FROM, "").split("/")
    if len(adopted) == 3 and adopted[0] in set(OwnerTool):
        tool, place, name = adopted
        return RouteOwner(tool=OwnerTool(tool), name=name, namespace=place)
    for tool, prefix in (
        (OwnerTool.FLUX_HELM, "helm.toolkit.fluxcd.io"),
        (OwnerTool.FLUX, "kustomize.toolkit.fluxcd.io"),
    ):
        if f"{prefix}/name" in labels:
            place = labels.get(f"{prefix}/namespace", namespace)
            return RouteOwner(tool=tool, name=labels[f"{prefix}/name"], namespace=place)
    tracked = notes.get("argocd.argoproj.io/tracking-id")
    if tracked or managers & {"argocd-controller", "argocd-application-controller"}:
        instance = labels.get("argocd.argoproj.io/instance") or labels.get(
            "app.kubernetes.io/instance", ""
        )
        # "NAME:GROUP/KIND:NAMESPACE/NAME"; NAME is "NAMESPACE_NAME" outside Argo CD's own.
        place, _, name = (tracked or instance).partition(":")[0].rpartition("_")
        return RouteOwner(tool=OwnerTool.ARGO_CD, name=name, namespace=place or "argocd")
    if _HELM_NAME in notes:
        place = notes.get(_HELM_NAMESPACE, namespace)
        return RouteOwner(tool=OwnerTool.HELM, name=notes[_HELM_NAME], namespace=place)
    return None


def _has_canary(target: Target, route: Route) -> bool:
    if target.ref.kind != VIRTUAL_SERVICE.kind:
        return http_route.names_canary(target, route)
    rules = virtual_service.rules_of(route)
    return http_route.names_canary(target, {"spec": {"rules": rules}})


def _annotations(route: Route | None) -> dict[str, str]:
    return ((route or {}).get("metadata") or {}).get("annotations") or {}


def _difference(ref: RouteRef, namespace: str) -> dict[str, Any]:
    return {
        "group": KINDS[ref.kind].group,
        "kind": ref.kind,
        "name": ref.name,
        "namespace": ref.namespace or namespace,
        "jsonPointers": [rules_path(ref)],
    }


def _covers(entry: dict[str, Any], ref: RouteRef, namespace: str) -> bool:
    """Whether an entry of ignoreDifferences keeps the route's weights."""
    return (
        entry.get("kind") in (ref.kind, "*")
        and entry.get("group", "") in (KINDS[ref.kind].group, "*")
        and entry.get("name", ref.name) == ref.name
        and entry.get("namespace", namespace) == (ref.namespace or namespace)
        and (
            rules_path(ref) in (entry.get("jsonPointers") or [])
            or FIELD_MANAGER in (entry.get("managedFieldsManagers") or [])
        )
    )


def _at(values: dict[str, Any], path: Sequence[str]) -> Any:
    found: Any = values
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _set(values: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy with the value at `path`; without it if the value is None."""
    if not path:
        return values
    head, *rest = path
    inner = values.get(head)
    changed = _set(inner if isinstance(inner, dict) else {}, rest, value) if rest else value
    if changed is None or changed == {}:
        return {key: kept for key, kept in values.items() if key != head}
    return {**values, head: changed}
