"""The services' routes: read, and written by server-side apply as ``tarsrelease``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tarsrelease.adapters.kubernetes import http_route
from tarsrelease.adapters.kubernetes.client import (
    GRPC_ROUTE,
    HTTP_ROUTE,
    SERVICE,
    Conflict,
    Kind,
    KubernetesApi,
)
from tarsrelease.adapters.kubernetes.route_split import Route, Target, targets
from tarsrelease.model.cluster import RouteState
from tarsrelease.model.environment import Gateway
from tarsrelease.model.errors import ReleaseError, UnreachableError, UsageError
from tarsrelease.model.rollout import RouteRef, Service

_ATTEMPTS = 5
_KINDS: Mapping[str, Kind] = {"HTTPRoute": HTTP_ROUTE, "GRPCRoute": GRPC_ROUTE}


class GatewayRoutes:
    """The routes of one namespace. Several routes are written side by side."""

    def __init__(self, cluster: KubernetesApi, gateway: Gateway) -> None:
        self._cluster = cluster
        self._gateway = gateway

    def read(self, services: Sequence[Service]) -> list[RouteState]:
        """By service, what its routes say; a service without any route is left out."""
        found = {(t.ref.kind, t.ref.name): self._get(t.ref) for t in targets(services)}
        headers = {key: self._header_problem(*key, route) for key, route in found.items()}
        states = []
        for service in services:
            keys = [(ref.kind, ref.name) for ref in service.route_refs]
            there = [
                (ref, route)
                for ref, key in zip(service.route_refs, keys, strict=True)
                if (route := found[key]) is not None
            ]
            if not there:
                continue
            missing = [str(ref) for ref in service.route_refs if ref not in [r for r, _ in there]]
            problem = f"{', '.join(missing)} is gone" if missing else ""
            problem = problem or next((headers[key] for key in keys if headers[key]), "")
            states.append(http_route.state(service, self._gateway, there, problem))
        return states

    def shift(
        self, services: Sequence[Service], weight: int, annotations: Mapping[str, str]
    ) -> None:
        """Write weights and annotations, with one write per route.

        At weight 0 a canary whose Service does not exist is left out of the route, because a
        route that names it would not be ResolvedRefs.
        """

        def write(target: Target) -> None:
            weights = {
                service.name: weight if weight > 0 or self._is_there(service) else None
                for service, _ in target.services
            }
            before, after = self._write(target, weights, annotations)
            joins = not http_route.names_canary(target, before)
            with_canary = any(part is not None for part in weights.values())
            # Moving traffic away must not depend on a second write: the header's route is written
            # when the canary joins, and at weight 0 where it is missing.
            if with_canary and (joins or (weight == 0 and self._header_missing(target))):
                wanted = http_route.by_header(target, self._gateway, after)
                self._cluster.apply(_KINDS[target.ref.kind], wanted, force=True)

        _each(write, targets(services))

    def retire(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Remove the canary; an adopted route is again what its owner wrote."""

        def write(target: Target) -> None:
            none = {service.name: None for service, _ in target.services}
            before, _ = self._write(target, none, annotations)
            if before is not None and (name := http_route.header_route_of(before)):
                self._cluster.delete(_KINDS[target.ref.kind], name)

        _each(write, targets(services))

    def annotate(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Write annotations only; retries if a route changes meanwhile."""

        def write(target: Target) -> None:
            for _ in range(_ATTEMPTS):
                standing = self._get(target.ref)
                if standing is None or not http_route.is_ours(standing):
                    return
                wanted = http_route.annotated(standing, annotations)
                try:
                    self._cluster.apply(_KINDS[target.ref.kind], wanted, force=True)
                except Conflict:
                    continue
                return

        _each(write, targets(services))

    def _get(self, ref: RouteRef) -> Route | None:
        return self._cluster.get(_KINDS[ref.kind], ref.name)

    def _is_there(self, service: Service) -> bool:
        return self._cluster.get(SERVICE, service.canary.service) is not None

    def _header_missing(self, target: Target) -> bool:
        try:
            return self._cluster.get(_KINDS[target.ref.kind], target.header_route) is None
        except ReleaseError:
            return False

    def _header_problem(self, kind: str, name: str, route: Route | None) -> str:
        """Why the header's route does not work yet; asked only before the canary has traffic."""
        header_route = http_route.header_route_of(route) if route is not None else None
        if route is None or header_route is None or http_route.annotated_weight(route) != 0:
            return ""
        found = self._cluster.get(_KINDS[kind], header_route)
        if found is None:
            return f"{header_route}, which leads by header to the canary of {name}, is gone"
        problem = http_route.problem_of(self._gateway, found)
        return f"{header_route}: {problem}" if problem else ""

    def _write(
        self, target: Target, weights: Mapping[str, int | None], annotations: Mapping[str, str]
    ) -> tuple[Route | None, Route]:
        """The route before and after. One that changes at the same moment is read again."""
        kind = _KINDS[target.ref.kind]
        for _ in range(_ATTEMPTS):
            standing = self._get(target.ref)
            if standing is not None and not http_route.is_ours(standing):
                _refuse_controlled(target.ref, standing)
            wanted = http_route.desired(target, self._gateway, standing, weights, annotations)
            try:
                # Force: adopting takes the rules from their last writer, and a route of ours is
                # written even if somebody changed it by hand.
                return standing, self._cluster.apply(kind, wanted, force=True)
            except Conflict:
                continue
        raise UnreachableError(
            doing=f"writing {target.ref}",
            found=f"it changed {_ATTEMPTS} times while it was written",
            expected="that nobody else writes it all the time",
            next_step=f"see who does: kubectl get {target.ref} --show-managed-fields -o yaml",
        )


def _refuse_controlled(ref: RouteRef, standing: Route) -> None:
    controller = http_route.controller(standing)
    if controller is not None and not http_route.released_by_owner(standing):
        name, remedy = controller
        raise UsageError(
            doing=f"taking over {ref}",
            found=f"{name} manages it and would overwrite the weights",
            expected="a route that only tarsrelease writes",
            next_step=remedy,
        )


def _each(write: Callable[[Target], None], wanted: Sequence[Target]) -> None:
    """Write all routes in parallel and independently; then raise the first error."""
    if len(wanted) == 1:
        write(wanted[0])
        return
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="route") as pool:
        errors = [future.exception() for future in [pool.submit(write, each) for each in wanted]]
    failed = [error for error in errors if error is not None]
    for error in sorted(failed, key=lambda error: isinstance(error, ReleaseError)):
        raise error
