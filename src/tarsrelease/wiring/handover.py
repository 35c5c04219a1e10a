"""The adapters of `route adopt` and `route return`."""

from __future__ import annotations

from functools import partial

from tarsrelease.model.environment import Environment
from tarsrelease.ports.cluster import Settled
from tarsrelease.ports.handover import Handover


def handover(environment: Environment) -> Handover:
    """The routes' owners in this environment. Reads the kubeconfig, but sends no request."""
    from tarsrelease.adapters.kubernetes.client import KubernetesApi
    from tarsrelease.adapters.kubernetes.route_handover import RouteHandover

    place = environment.kubernetes
    elsewhere = partial(KubernetesApi.connect, place.context)
    return RouteHandover(elsewhere(place.namespace), elsewhere)


def settled(environment: Environment) -> Settled:
    """The values of the Helm releases in this environment."""
    from tarsrelease.adapters.helm.releases import Helm

    return Helm(environment.kubernetes.context, environment.kubernetes.namespace)
