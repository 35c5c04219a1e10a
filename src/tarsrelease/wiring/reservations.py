"""Read what an environment's pods reserve."""

from __future__ import annotations

from tarsrelease.adapters.kubernetes.client import KubernetesApi
from tarsrelease.adapters.kubernetes.reservations import reserved
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import ReleaseError
from tarsrelease.steps.report_slo import Reservations


def reservations(environment: Environment) -> Reservations:
    """Requests and limits by Deployment; without the cluster, why they are not known."""
    place = environment.kubernetes
    try:
        return Reservations(reserved(KubernetesApi.connect(place.context, place.namespace)))
    except ReleaseError as problem:
        return Reservations({}, f"requests and limits are not known: {problem}")
