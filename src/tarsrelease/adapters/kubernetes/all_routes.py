"""The services' routes of every kind behind one port."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tarsrelease.adapters.kubernetes.client import KubernetesApi
from tarsrelease.adapters.kubernetes.routes import GatewayRoutes
from tarsrelease.adapters.kubernetes.virtual_services import VirtualServices
from tarsrelease.model.cluster import RouteFaults, RouteState
from tarsrelease.model.environment import Gateway
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.rollout import Service
from tarsrelease.ports.cluster import Routes

_ISTIO = "VirtualService"


class AllRoutes:
    """The port `Routes`: the Gateway API's routes and Istio's VirtualServices.

    A service may have both. Each kind is written even if another cannot be.
    """

    def __init__(self, cluster: KubernetesApi, gateway: Gateway) -> None:
        self._gateway = GatewayRoutes(cluster, gateway)
        self._istio = VirtualServices(cluster, gateway)

    def read(self, services: Sequence[Service]) -> list[RouteState]:
        """By service, what its routes of all kinds say; a service without any is left out."""
        found: dict[str, list[RouteState]] = {}
        for back_end, its in self._used(services):
            for state in back_end.read(its):
                found.setdefault(state.service, []).append(state)
        return [_merged(found[each.name]) for each in services if each.name in found]

    def shift(
        self, services: Sequence[Service], weight: int, annotations: Mapping[str, str]
    ) -> None:
        """Write weights and annotations, with one write per route."""
        self._each(services, lambda back_end, its: back_end.shift(its, weight, annotations))

    def annotate(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Write annotations only."""
        self._each(services, lambda back_end, its: back_end.annotate(its, annotations))

    def retire(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Remove the canary; the routes are again what their owners wrote."""
        self._each(services, lambda back_end, its: back_end.retire(its, annotations))

    def faults(self, services: Sequence[Service]) -> list[RouteFaults]:
        """By service, what in its routes would make a release fail; changes nothing."""
        found = [fault for back_end, its in self._used(services) for fault in back_end.faults(its)]
        merged = []
        for service in services:
            its = [each for each in found if each.service == service.name]
            faults = tuple(text for each in its for text in each.found)
            merged.append(RouteFaults(service=service.name, found=faults))
        return merged

    def _used(self, services: Sequence[Service]) -> list[tuple[Routes, list[Service]]]:
        kinds: list[tuple[Routes, list[Service]]] = []
        for back_end, istio in ((self._gateway, False), (self._istio, True)):
            its = [
                service
                for service in services
                if any((ref.kind == _ISTIO) == istio for ref in service.route_refs)
            ]
            if its:
                kinds.append((back_end, its))
        return kinds

    def _each(
        self, services: Sequence[Service], write: Callable[[Routes, list[Service]], None]
    ) -> None:
        errors = []
        for back_end, its in self._used(services):
            try:
                write(back_end, its)
            except ReleaseError as error:
                errors.append(error)
        if errors:
            raise errors[0]


def _merged(states: list[RouteState]) -> RouteState:
    first = states[0]
    problem = next((state.problem for state in states if state.problem), None)
    return first.model_copy(
        update={
            "weight": max(state.weight for state in states),
            "accepted": problem is None,
            "problem": problem,
            "managers": tuple(dict.fromkeys(name for each in states for name in each.managers)),
            "adopted": all(state.adopted for state in states),
        }
    )
