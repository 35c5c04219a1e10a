"""What adopting a route and giving it back change, as text, and what refuses it. Pure."""

from __future__ import annotations

from tarsrelease.model.errors import RefusedError, UsageError
from tarsrelease.model.rollout import RouteRef
from tarsrelease.model.route_ownership import OwnedRoute, OwnerTool, Switch

_ADOPTED_FROM = "tarsrelease.dev/adopted-from"
KEEP = "helm.sh/resource-policy: keep"
FLUX_OFF = "kustomize.toolkit.fluxcd.io/reconcile: disabled"


def adoption(route: OwnedRoute, switch: Switch) -> tuple[str, ...]:
    """The changes that adopting the route makes; none if nothing is left to do.

    Raises UsageError if its owner's settings cannot be changed from here.
    """
    owner, name = route.owner, str(route.ref)
    if not route.exists or owner is None or (route.adopted and route.released):
        return ()
    if not route.released and (owner.tool is OwnerTool.FLUX_HELM or route.obstacle):
        raise UsageError(
            doing=f"adopting {name}",
            found=f"{owner} writes it" + (f", and {route.obstacle}" if route.obstacle else ""),
            expected="settings that tarsrelease can change, or that leave the weights alone",
            next_step=by_hand(route, switch)
            + (
                "; then run this command again"
                if route.readable
                else f"; then kubectl annotate {name} {_ADOPTED_FROM}={owner.mark}"
            ),
        )
    mark = f"{name}: annotate {_ADOPTED_FROM}: {owner.mark}"
    if route.released:
        return (mark,)
    if owner.tool is OwnerTool.ARGO_CD:
        return (
            mark,
            f"{owner}: add ignoreDifferences for {rules_path(route.ref)} of {name}, and the "
            "sync option RespectIgnoreDifferences=true",
        )
    if owner.tool is OwnerTool.FLUX:
        return (mark, f"{name}: annotate {FLUX_OFF}")
    return (
        f"{mark}, {KEEP}",
        f"{owner}: record a new revision without {name}"
        + (f" and with {value_line(switch)}" if switch else "")
        + "; no other object changes",
        f"{name}: remove Helm's label and annotations",
    )


def giving_back(route: OwnedRoute) -> tuple[str, ...]:
    """The changes that giving the route back makes; none if it was not adopted.

    Raises RefusedError while a release is in progress.
    """
    owner, name = route.owner, str(route.ref)
    if not route.exists or not route.adopted or owner is None:
        return ()
    if route.has_canary:
        raise RefusedError(
            doing=f"giving {name} back to {owner}",
            found="the route leads to a canary",
            expected="no release in progress",
            next_step="finish the release, or run `tarsrelease rollback`; see `tarsrelease status`",
        )
    clean = f"{name}: remove tarsrelease's annotations and field ownership"
    if owner.tool is OwnerTool.ARGO_CD:
        return (f"{owner}: remove what `route adopt` added for {name}", clean)
    if owner.tool is OwnerTool.FLUX:
        return (f"{clean}, and {FLUX_OFF}",)
    if owner.tool is OwnerTool.FLUX_HELM:
        return (clean,)
    return (
        f"{name}: restore Helm's label and annotations",
        f"{owner}: record a new revision with {name}, as before the adoption",
        f"{clean}, and {KEEP}",
    )


def by_hand(route: OwnedRoute, switch: Switch) -> str:
    """What the owner's team changes so that its tool leaves the weights alone."""
    owner, ref = route.owner, route.ref
    if owner is None:
        return ""
    if owner.tool is OwnerTool.ARGO_CD:
        return (
            f"add to the spec of the Application {owner.name}: ignoreDifferences: [{{group: "
            f"{_group(ref)}, kind: {ref.kind}, name: {ref.name}, jsonPointers: "
            f"[{rules_path(ref)}]}}], syncPolicy: "
            "{syncOptions: [RespectIgnoreDifferences=true]}"
        )
    if owner.tool is OwnerTool.FLUX:
        return f"kubectl annotate {ref} {FLUX_OFF.replace(': ', '=')}"
    where = "spec.values of the HelmRelease" if owner.tool is OwnerTool.FLUX_HELM else "the values"
    value = value_line(switch) if switch else "the value that leaves the route out"
    return f"kubectl annotate {ref} {KEEP.replace(': ', '=')}, then set {value} in {where}"


def rules_path(ref: RouteRef) -> str:
    """Where the route's weights are, as a JSON pointer."""
    return "/spec/http" if ref.kind == "VirtualService" else "/spec/rules"


def _group(ref: RouteRef) -> str:
    istio = ref.kind == "VirtualService"
    return "networking.istio.io" if istio else "gateway.networking.k8s.io"


def value_line(switch: Switch) -> str:
    """The value as `helm --set` and values.yaml's documentation name it."""
    return f"{'.'.join(switch)}: false"
