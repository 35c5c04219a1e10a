"""The services' VirtualServices: read, and written by server-side apply as ``tarsrelease``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tarsrelease.adapters.kubernetes import http_route, virtual_service
from tarsrelease.adapters.kubernetes.client import (
    SERVICE,
    VIRTUAL_SERVICE,
    Conflict,
    KubernetesApi,
)
from tarsrelease.adapters.kubernetes.route_split import Route, Target, canary_percentage, targets
from tarsrelease.adapters.kubernetes.routes import (
    ATTEMPTS,
    each,
    keeps_changing,
    refuse_controlled,
    refuse_split,
)
from tarsrelease.adapters.kubernetes.shape import reads_answers
from tarsrelease.model.cluster import RouteFaults, RouteState
from tarsrelease.model.environment import Gateway
from tarsrelease.model.errors import UsageError
from tarsrelease.model.rollout import RouteRef, Service


@reads_answers
class VirtualServices:
    """The port `Routes` for the VirtualServices of services in one namespace."""

    def __init__(self, cluster: KubernetesApi, gateway: Gateway) -> None:
        self._cluster = cluster
        self._header = gateway.canary_header

    def read(self, services: Sequence[Service]) -> list[RouteState]:
        """By service, what its VirtualServices say; a service without any is left out."""
        found = {target.ref.key: self._get(target.ref) for target in self._targets(services)}
        states = []
        for service in services:
            refs = [ref for ref in service.route_refs if ref.key in found]
            there = [(ref, route) for ref in refs if (route := found[ref.key]) is not None]
            if not there:
                continue
            weight = max(
                canary_percentage(
                    service, ref, virtual_service.rules_of(route), self._cluster.namespace
                )
                for ref, route in there
            )
            missing = [str(ref) for ref in refs if found[ref.key] is None]
            problems = [f"{', '.join(missing)} is gone" if missing else ""]
            problems += [virtual_service.problem_of(route) or "" for _, route in there]
            routes = [route for _, route in there]
            states.append(http_route.state(service.name, weight, routes, problems))
        return states

    def shift(
        self, services: Sequence[Service], weight: int, annotations: Mapping[str, str]
    ) -> None:
        """Write weights, header rules and annotations, with one write per VirtualService.

        At weight 0 a canary whose Service does not exist is left out.
        """

        def write(target: Target) -> None:
            weights = {
                service.name: weight if weight > 0 or self._is_there(service) else None
                for service, _ in target.services
            }
            self._write(target, weights, annotations)

        each(write, self._targets(services))

    def retire(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Remove the canary and the header rules."""

        def write(target: Target) -> None:
            self._write(target, {service.name: None for service, _ in target.services}, annotations)

        each(write, self._targets(services))

    def annotate(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Write annotations only; retries if a VirtualService changes meanwhile."""

        def write(target: Target) -> None:
            for _ in range(ATTEMPTS):
                standing = self._get(target.ref)
                if standing is None or not http_route.is_ours(standing):
                    return
                wanted = virtual_service.annotated(standing, annotations)
                try:
                    self._api(target.ref).apply(VIRTUAL_SERVICE, wanted, force=True)
                except Conflict:
                    continue
                return

        each(write, self._targets(services))

    def faults(self, services: Sequence[Service]) -> list[RouteFaults]:
        """By service, what in its VirtualServices would make a release fail; changes nothing."""
        found: dict[str, list[str]] = {service.name: [] for service in services}
        for target in self._targets(services):
            try:
                standing = self._standing(target.ref)
                refuse_split(target, standing, virtual_service.rules_of(standing))
                zero = {service.name: 0 for service, _ in target.services}
                virtual_service.desired(target, self._header, standing, zero, {})
            except UsageError as error:
                for service, _ in target.services:
                    found[service.name].append(f"{error.detail.found}; {error.detail.next}")
        return [RouteFaults(service=name, found=tuple(each)) for name, each in found.items()]

    def _standing(self, ref: RouteRef) -> Route:
        standing = self._get(ref)
        if standing is None:
            raise UsageError(
                doing=f"reading {ref}",
                found=f"there is no {ref}",
                expected="a VirtualService that exists and leads to stable",
                next_step=f"create {ref} with an HTTP route to stable's Service",
            )
        return standing

    def _write(
        self, target: Target, weights: Mapping[str, int | None], annotations: Mapping[str, str]
    ) -> None:
        for _ in range(ATTEMPTS):
            standing = self._standing(target.ref)
            if not http_route.is_ours(standing):
                refuse_controlled(target.ref, standing)
                refuse_split(target, standing, virtual_service.rules_of(standing))
            wanted = virtual_service.desired(target, self._header, standing, weights, annotations)
            try:
                self._api(target.ref).apply(VIRTUAL_SERVICE, wanted, force=True)
            except Conflict:
                continue
            return
        raise keeps_changing(target.ref)

    def _targets(self, services: Sequence[Service]) -> list[Target]:
        found = targets(services, self._cluster.namespace)
        return [target for target in found if target.ref.kind == VIRTUAL_SERVICE.kind]

    def _api(self, ref: RouteRef) -> KubernetesApi:
        return self._cluster.elsewhere(ref.namespace)

    def _get(self, ref: RouteRef) -> Route | None:
        return self._api(ref).get(VIRTUAL_SERVICE, ref.name)

    def _is_there(self, service: Service) -> bool:
        return self._cluster.get(SERVICE, service.canary.service) is not None
