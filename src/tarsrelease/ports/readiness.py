"""The ports of readiness: pages that must answer, alert rules, a test alert, the status page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tarsrelease.model.people import ActiveIncident, AlertRule


class Pages(Protocol):
    """Web pages. Raises UnreachableError if nobody answers."""

    def status(self, url: str) -> int:
        """The status of a GET; a redirect is not followed."""


class AlertRules(Protocol):
    """The alert rules of the metrics server. Raises UnreachableError or UsageError."""

    def alert_rules(self) -> Sequence[AlertRule]:
        """All alert rules."""


class StatusPage(Protocol):
    """The status page. Raises UnreachableError or UsageError."""

    def maintenance(self) -> ActiveIncident | None:
        """The release's own maintenance that has not ended; None if there is none."""
