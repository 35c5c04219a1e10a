"""The services' HTTPRoutes: read, and written by server-side apply as ``tarsrelease``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tarsrelease.adapters.kubernetes import http_route
from tarsrelease.adapters.kubernetes.client import HTTP_ROUTE, SERVICE, Conflict, KubernetesApi
from tarsrelease.adapters.kubernetes.http_route import Route
from tarsrelease.model.cluster import RouteState
from tarsrelease.model.environment import Gateway
from tarsrelease.model.errors import ReleaseError, UsageError
from tarsrelease.model.rollout import Service
from tarsrelease.rollout.route_owners import controller_of

_ATTEMPTS = 5


class HttpRoutes:
    """The routes of one namespace. The routes of several services are written side by side."""

    def __init__(self, cluster: KubernetesApi, gateway: Gateway) -> None:
        self._cluster = cluster
        self._gateway = gateway

    def read(self, services: Sequence[Service]) -> list[RouteState]:
        """The routes as they are; a route that does not exist is left out."""
        found = [self._cluster.get(HTTP_ROUTE, service.route) for service in services]
        return [
            http_route.state(service, self._gateway, route)
            for service, route in zip(services, found, strict=True)
            if route is not None
        ]

    def shift(
        self, services: Sequence[Service], weight: int, annotations: Mapping[str, str]
    ) -> None:
        """Write weights and annotations, with one write per route.

        At weight 0 a canary whose Service does not exist is left out of the route, because a
        route that names it would not be ResolvedRefs.
        """

        def write(service: Service) -> None:
            canary = weight > 0 or self._cluster.get(SERVICE, service.canary.service) is not None
            self._write(service, weight, annotations, canary=canary)

        _each(write, services)

    def retire(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Remove the canary from the routes."""
        _each(lambda service: self._write(service, 0, annotations, canary=False), services)

    def annotate(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Write annotations only; retries if a route changes meanwhile."""

        def write(service: Service) -> None:
            for _ in range(_ATTEMPTS):
                standing = self._cluster.get(HTTP_ROUTE, service.route)
                if standing is None or not http_route.is_ours(standing):
                    return
                try:
                    self._cluster.apply(
                        HTTP_ROUTE, http_route.annotated(standing, annotations), force=True
                    )
                except Conflict:
                    continue
                return

        _each(write, services)

    def _write(
        self, service: Service, weight: int, annotations: Mapping[str, str], *, canary: bool
    ) -> None:
        standing = self._cluster.get(HTTP_ROUTE, service.route)
        if standing is not None and not http_route.is_ours(standing):
            _refuse_controlled(service, standing)
        wanted = http_route.desired(
            service, self._gateway, standing, weight, annotations, canary=canary
        )
        # Force: adopting takes the rules over from whoever wrote them, and a route that is ours
        # is written as it must be even where somebody has changed it by hand in between.
        self._cluster.apply(HTTP_ROUTE, wanted, force=True)


def _refuse_controlled(service: Service, standing: Route) -> None:
    controller = controller_of(http_route.managers(standing))
    if controller is not None:
        name, remedy = controller
        raise UsageError(
            doing=f"taking over httproute/{service.route}",
            found=f"{name} manages it and would overwrite the weights",
            expected="a route that only tarsrelease writes",
            next_step=remedy,
        )


def _each(write: Callable[[Service], None], services: Sequence[Service]) -> None:
    """Write all routes in parallel and independently; then raise the first error."""
    if len(services) == 1:
        write(services[0])
        return
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="route") as pool:
        errors = [future.exception() for future in [pool.submit(write, s) for s in services]]
    failed = [error for error in errors if error is not None]
    for error in sorted(failed, key=lambda error: isinstance(error, ReleaseError)):
        raise error
