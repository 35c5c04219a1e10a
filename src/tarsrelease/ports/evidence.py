"""The port for recording outcomes."""

from __future__ import annotations

from typing import Protocol

from tarsrelease.model.evidence import Record
from tarsrelease.model.outcome import Outcome


class Evidence(Protocol):
    """Where outcomes are recorded."""

    def append(self, outcome: Outcome) -> Record:
        """Append the outcome to the chain."""
