"""The services' routes: read, and written by server-side apply as ``tarsrelease``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tarsrelease.adapters.kubernetes import http_route, route_faults
from tarsrelease.adapters.kubernetes.client import (
    GRPC_ROUTE,
    HTTP_ROUTE,
    REFERENCE_GRANT,
    SERVICE,
    Conflict,
    Kind,
    KubernetesApi,
)
from tarsrelease.adapters.kubernetes.route_split import (
    Route,
    Rule,
    Target,
    canary_percentage,
    rules_of,
    targets,
)
from tarsrelease.adapters.kubernetes.shape import reads_answers
from tarsrelease.model.cluster import RouteFaults, RouteState
from tarsrelease.model.environment import Gateway
from tarsrelease.model.errors import ReleaseError, UnreachableError, UsageError
from tarsrelease.model.rollout import RouteRef, Service

ATTEMPTS = 5
KINDS: Mapping[str, Kind] = {"HTTPRoute": HTTP_ROUTE, "GRPCRoute": GRPC_ROUTE}


@reads_answers
class GatewayRoutes:
    """HTTPRoutes and GRPCRoutes of services in one namespace, written side by side."""

    def __init__(self, cluster: KubernetesApi, gateway: Gateway) -> None:
        self._cluster = cluster
        self._gateway = gateway

    def read(self, services: Sequence[Service]) -> list[RouteState]:
        """By service, what its routes say; a service without any route is left out."""
        home = self._cluster.namespace
        found = {target.ref.key: self._get(target.ref) for target in self._targets(services)}
        headers = {key: self._header_problem(key, route) for key, route in found.items()}
        states = []
        for service in services:
            refs = [ref for ref in service.route_refs if ref.key in found]
            there = [(ref, route) for ref in refs if (route := found[ref.key]) is not None]
            if not there:
                continue
            missing = [str(ref) for ref in refs if found[ref.key] is None]
            problems = [f"{', '.join(missing)} is gone" if missing else ""]
            problems += [headers[ref.key] for ref in refs]
            problems += [http_route.problem_of(self._gateway, route) or "" for _, route in there]
            weight = max(
                canary_percentage(service, ref, rules_of(route), home) for ref, route in there
            )
            routes = [route for _, route in there]
            states.append(http_route.state(service.name, weight, routes, problems))
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
                self._api(target.ref).apply(KINDS[target.ref.kind], wanted, force=True)

        each(write, self._targets(services))

    def retire(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Remove the canary; an adopted route is again what its owner wrote."""

        def write(target: Target) -> None:
            none = {service.name: None for service, _ in target.services}
            before, _ = self._write(target, none, annotations)
            if before is not None and (name := http_route.header_route_of(before)):
                self._api(target.ref).delete(KINDS[target.ref.kind], name)

        each(write, self._targets(services))

    def annotate(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Write annotations only; retries if a route changes meanwhile."""

        def write(target: Target) -> None:
            for _ in range(ATTEMPTS):
                standing = self._get(target.ref)
                if standing is None or not http_route.is_ours(standing):
                    return
                wanted = http_route.annotated(standing, annotations)
                try:
                    self._api(target.ref).apply(KINDS[target.ref.kind], wanted, force=True)
                except Conflict:
                    continue
                return

        each(write, self._targets(services))

    def faults(self, services: Sequence[Service]) -> list[RouteFaults]:
        """By service, what in its routes would make a release fail; changes nothing."""
        found: dict[str, list[str]] = {service.name: [] for service in services}
        listed = self._targets(services)
        ours = {name for each in listed for name in (each.ref.name, each.header_route)}
        for target in listed:
            faults = self._faults_of(target, ours)
            for service, _ in target.services:
                found[service.name] += faults
        return [RouteFaults(service=name, found=tuple(faults)) for name, faults in found.items()]

    def _faults_of(self, target: Target, ours: set[str]) -> list[str]:
        """`ours`: the names of the release's own routes."""
        ref, api = target.ref, self._api(target.ref)
        standing = self._get(ref)
        try:
            if standing is not None:
                refuse_split(target, standing, rules_of(standing))
            zero = {service.name: 0 for service, _ in target.services}
            wanted = http_route.desired(target, self._gateway, standing, zero, {})
        except UsageError as error:
            return [f"{error.detail.found}; {error.detail.next}"]
        whole = {**(standing or wanted), "kind": ref.kind}
        whole["metadata"] = {"namespace": api.namespace, **whole["metadata"]}
        spec = {**whole["spec"], "rules": wanted["spec"]["rules"]}
        by_header = http_route.by_header(target, self._gateway, {**whole, "spec": spec})
        faults = route_faults.over_limits(str(ref), spec)
        faults += route_faults.over_limits(target.header_route, by_header["spec"])
        header = self._gateway.canary_header
        faults += route_faults.used_header(str(ref), by_header["spec"], header)
        if ref.namespace not in (None, target.home):
            grants = self._cluster.select(REFERENCE_GRANT)
            faults += route_faults.missing_grants(target, whole, grants)
        others = [
            {**other, "kind": ref.kind}
            for other in api.select(KINDS[ref.kind])
            if other["metadata"]["name"] not in ours
        ]
        return faults + route_faults.older_rivals(str(ref), whole, others)

    def _targets(self, services: Sequence[Service]) -> list[Target]:
        found = targets(services, self._cluster.namespace)
        return [target for target in found if target.ref.kind in KINDS]

    def _api(self, ref: RouteRef) -> KubernetesApi:
        return self._cluster.elsewhere(ref.namespace)

    def _get(self, ref: RouteRef) -> Route | None:
        return self._api(ref).get(KINDS[ref.kind], ref.name)

    def _is_there(self, service: Service) -> bool:
        return self._cluster.get(SERVICE, service.canary.service) is not None

    def _header_missing(self, target: Target) -> bool:
        try:
            kind = KINDS[target.ref.kind]
            return self._api(target.ref).get(kind, target.header_route) is None
        except ReleaseError:
            return False

    def _header_problem(self, key: tuple[str, str | None, str], route: Route | None) -> str:
        """Why the header's route does not work yet; asked only before the canary has traffic."""
        header_route = http_route.header_route_of(route) if route is not None else None
        if route is None or header_route is None or http_route.annotated_weight(route) != 0:
            return ""
        kind, namespace, name = key
        found = self._cluster.elsewhere(namespace).get(KINDS[kind], header_route)
        if found is None:
            return f"{header_route}, which leads by header to the canary of {name}, is gone"
        problem = http_route.problem_of(self._gateway, found)
        return f"{header_route}: {problem}" if problem else ""

    def _write(
        self, target: Target, weights: Mapping[str, int | None], annotations: Mapping[str, str]
    ) -> tuple[Route | None, Route]:
        """The route before and after. One that changes at the same moment is read again."""
        kind = KINDS[target.ref.kind]
        for _ in range(ATTEMPTS):
            standing = self._get(target.ref)
            if standing is not None and not http_route.is_ours(standing):
                refuse_controlled(target.ref, standing)
                refuse_split(target, standing, rules_of(standing))
            wanted = http_route.desired(target, self._gateway, standing, weights, annotations)
            try:
                # Force: adopting takes the rules from their last writer, and a route of ours is
                # written even if somebody changed it by hand.
                return standing, self._api(target.ref).apply(kind, wanted, force=True)
            except Conflict:
                continue
        raise keeps_changing(target.ref)


def keeps_changing(ref: RouteRef) -> UnreachableError:
    """The error if others change the route as fast as it is written."""
    return UnreachableError(
        doing=f"writing {ref}",
        found=f"it changed {ATTEMPTS} times while it was written",
        expected="that nobody else writes it all the time",
        next_step=f"see who does: kubectl get {ref} --show-managed-fields -o yaml",
    )


def refuse_split(target: Target, standing: Route, rules: Sequence[Rule]) -> None:
    """Raise UsageError if another tool has the canary in the route's rules."""
    if canary := http_route.split_by_others(target, standing, rules):
        raise UsageError(
            doing=f"taking over {target.ref}",
            found=f"{target.ref} already leads to {canary}, which tarsrelease adds and removes",
            expected="a route that leads to stable",
            next_step=f"remove {canary} from the route; if Argo Rollouts or Flagger writes it, "
            "remove the route from their configuration first",
        )


def refuse_controlled(ref: RouteRef, standing: Route) -> None:
    """Raise UsageError if a delivery controller would overwrite the weights."""
    controller = http_route.controller(standing)
    if controller is not None and not http_route.released_by_owner(standing):
        name, remedy = controller
        raise UsageError(
            doing=f"taking over {ref}",
            found=f"{name} manages it and would overwrite the weights",
            expected="a route that only tarsrelease writes",
            next_step=remedy,
        )


def each(write: Callable[[Target], None], wanted: Sequence[Target]) -> None:
    """Write all routes in parallel and independently; then raise the first error."""
    if len(wanted) == 1:
        write(wanted[0])
        return
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="route") as pool:
        errors = [future.exception() for future in [pool.submit(write, each) for each in wanted]]
    failed = [error for error in errors if error is not None]
    for error in sorted(failed, key=lambda error: isinstance(error, ReleaseError)):
        raise error
