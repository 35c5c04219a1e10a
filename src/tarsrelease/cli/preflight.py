"""Run preflight for `check preflight`, and for `run` before its first change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome
    from tarsrelease.ports.cluster import Settled
    from tarsrelease.ports.surroundings import Surroundings


def checked(
    session: Session, running: str | None = None, around: Surroundings | None = None
) -> Outcome:
    """See `steps.preflight`; `running` is the version that must run now."""
    from tarsrelease.steps.check_preflight import preflight

    staging = _helm_of(session.environment.staging)
    return preflight(session.context, running=running, staging=staging, around=around)


def _helm_of(name: str | None) -> Settled | None:
    """Staging's Helm releases; None if the environment has no staging."""
    from tarsrelease.adapters.files.configuration import load_environment
    from tarsrelease.adapters.helm.releases import Helm

    if name is None:
        return None
    place = load_environment(name).kubernetes
    return Helm(place.context, place.namespace)
