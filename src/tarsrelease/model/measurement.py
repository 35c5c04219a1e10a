"""What was measured, as values: raw samples, counts, gauges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Track(StrEnum):
    """The two sides of a release; also the value of the pods' and metrics' track label."""

    CANARY = "canary"
    STABLE = "stable"


@dataclass(frozen=True, slots=True)
class Sample:
    """One scraped value. `time` is the scrape's Unix time in seconds."""

    time: float
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """One metric series: its labels and raw samples, oldest first."""

    labels: Mapping[str, str]
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests since the shift: how many, and how many of them were bad.

    `newest` is the Unix time of the newest sample they stand on, None where there is none.
    """

    bad: float
    total: float
    newest: float | None


@dataclass(frozen=True, slots=True)
class Gauges:
    """Readings of a gauge, one series a pod, oldest first; values in the SLI's unit."""

    by_pod: Mapping[str, tuple[Sample, ...]]


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """Why a measurement could not be made. Never a pass, never proof of a bad canary."""

    reason: str


Measured = Counts | Gauges | Unmeasured
Key = tuple[str, Track]
"""(service, track)."""
