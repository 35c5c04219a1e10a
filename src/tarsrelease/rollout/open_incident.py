"""The release's open incident, in a line. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tarsrelease.model.journal import Entry, IncidentFacts
from tarsrelease.rollout import release_journal


def open_incident(entries: Sequence[Entry], release: str, now: datetime) -> tuple[str, ...]:
    """Severity, what to do, and until when; empty if no incident of the release is open."""
    entry = release_journal.incident(entries, release)
    facts = IncidentFacts.of(entry.facts) if entry is not None else None
    if entry is None or facts is None:
        return ()
    said = f"incident since {entry.at:%Y-%m-%d %H:%M} UTC: {facts.severity or 'severity unknown'}"
    said += f", {facts.must} ({facts.by}: {facts.reason})"
    if facts.until is None:
        return (said,)
    late = "the deadline has passed: roll back" if now >= facts.until else "deadline"
    return (f"{said}; {late} ({facts.until:%H:%M} UTC)",)
