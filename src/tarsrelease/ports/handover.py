"""Taking a route over from the delivery tool that owns it, and giving it back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tarsrelease.model.rollout import Service
from tarsrelease.model.route_ownership import OwnedRoute, Switch


class Handover(Protocol):
    """The routes' owners and their settings. Both changes can be repeated after a crash."""

    def routes(self, services: Sequence[Service]) -> list[OwnedRoute]:
        """Each route of the services, once."""

    def adopt(self, route: OwnedRoute, switch: Switch) -> None:
        """Make the owner leave the route alone; `switch` is () for an owner other than Helm."""

    def give_back(self, route: OwnedRoute) -> None:
        """Restore the owner's settings and remove all that tarsrelease wrote into the route."""
