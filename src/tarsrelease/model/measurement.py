"""What was measured, as values: raw samples, counts, gauges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from tarsrelease.model.suite import SuiteResult


class Track(StrEnum):
    """Stable or canary; also the value of the track label of pods and metrics."""

    CANARY = "canary"
    STABLE = "stable"

    @property
    def other(self) -> Track:
        """The other track."""
        return Track.STABLE if self is Track.CANARY else Track.CANARY


class Sample(NamedTuple):
    """One scraped value. `time` is the scrape's Unix time in seconds.

    A tuple, because an evaluation may read half a million of them.
    """

    time: float
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """One metric series: its labels and raw samples, oldest first."""

    labels: Mapping[str, str]
    samples: tuple[Sample, ...]


def cut(found: Iterable[Series], start: float, end: float) -> list[Series]:
    """The samples after `start` and up to `end`; series without such a sample are left out."""
    parts = (
        Series(each.labels, tuple(s for s in each.samples if start < s.time <= end))
        for each in found
    )
    return [each for each in parts if each.samples]


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests since the shift: how many, and how many of them were bad.

    `newest` is the Unix time of the newest sample they stand on, None if there is none.
    """

    bad: float
    total: float
    newest: float | None


@dataclass(frozen=True, slots=True)
class Gauges:
    """Readings of a gauge, one series a pod, oldest first; values in the SLI's unit.

    A reading of a whole side has the Deployment's name instead of a pod's.
    `by_pod` are those since the shift, `before` the ones of the minutes before it.
    """

    by_pod: Mapping[str, tuple[Sample, ...]]
    before: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """What is used of each thing that has an end, oldest first, as shares of its limit.

    `unlimited` names those without a limit.
    """

    by_thing: Mapping[str, tuple[Sample, ...]]
    unlimited: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Number:
    """A number that was asked for elsewhere, and when it was answered (Unix time, our clock).

    `in_a_row`: how many answers in a row, this one included, were on the same side of the limits.
    """

    value: float
    time: float
    in_a_row: int = 1


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """Why a measurement could not be made. Never a pass, never proof of a bad canary."""

    reason: str


@dataclass(frozen=True, slots=True)
class Requests:
    """Another environment's requests by service; None if there is no such environment."""

    by_service: Mapping[str, Counts | Unmeasured] | None


ExternalAnswer = Number | Requests | SuiteResult | bool | Unmeasured
"""What was asked for elsewhere: a number, another environment's requests, a run of tests, a
person's yes or no."""

Measured = Counts | Gauges | Usage | Unmeasured
Key = tuple[str, Track]
"""(service, track)."""
Question = tuple[str, str]
"""The id of a check, and the service that it judges."""
Ratios = tuple[float, ...]
"""The natural log of the likelihood ratio of each alternative of a check, in a fixed order."""
