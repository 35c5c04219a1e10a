"""The port for load tests."""

from __future__ import annotations

from typing import Protocol

from tarsrelease.model.load import LoadPlan, LoadReport


class LoadGenerator(Protocol):
    """Users that request a product."""

    def run(self, plan: LoadPlan) -> LoadReport:
        """Let the users request for the plan's time. Raises ReleaseError if it cannot start."""
