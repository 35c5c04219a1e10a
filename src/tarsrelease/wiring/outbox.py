"""Build the outbox of messages to people."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.notice import Outgoing
from tarsrelease.model.notifications import Notifications
from tarsrelease.model.release import Release
from tarsrelease.ports.people import ClosingOutbox, NoOutbox, Outbox

if TYPE_CHECKING:
    from tarsrelease.adapters.kubernetes.outgoing import ConfigMapOutgoing

_NONE = Notifications()


def outbox_of(environment: Environment, release: Release) -> Outbox:
    """The outbox stored with the release's journal; none if the environment names no channel."""
    if environment.notifications == _NONE:
        return NoOutbox()
    return closing_outbox(environment, release)


def closing_outbox(
    environment: Environment,
    release: Release,
    *,
    known: Outgoing | None = None,
    without: Sequence[str] = (),
) -> ClosingOutbox:
    """The outbox; without a usable kubeconfig it knows only `known`."""
    from tarsrelease.adapters.channels.outbox import Outbox as Box

    store = partial(outgoing_of, environment, release)
    return Box(environment.notifications, store, known=known, without=without)


def outgoing_of(environment: Environment, release: Release) -> ConfigMapOutgoing | None:
    """The stored outbox on the cluster; None without a usable kubeconfig."""
    from tarsrelease.adapters.kubernetes.client import KubernetesApi
    from tarsrelease.adapters.kubernetes.outgoing import ConfigMapOutgoing

    place = environment.kubernetes
    try:
        api = KubernetesApi.connect(place.context, place.namespace)
    except ReleaseError:
        return None
    return ConfigMapOutgoing(api, release.rollout.application)
