"""The port for WebSocket connections."""

from __future__ import annotations

from typing import Protocol

from tarsrelease.model.sockets import SocketPlan, SocketReport


class Sockets(Protocol):
    """Connections to the release's WebSocket service."""

    def measure(self, plan: SocketPlan) -> SocketReport:
        """Open connections, cut them as planned, and measure how they come back."""
