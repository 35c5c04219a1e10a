"""Reading stable's past in pieces, so that a day of it never lies in memory as samples."""

from __future__ import annotations

from collections.abc import Mapping

from tarsrelease.gates import recording
from tarsrelease.gates.recording import Recording
from tarsrelease.model.errors import UsageError
from tarsrelease.model.rollout import MetricLabels
from tarsrelease.ports import History, Progress

_MOMENTS = 240
"""Moments a query: with a few hundred series, some ten thousand values."""


def read_past(
    asked: Mapping[str, tuple[str, str, bool]],
    labels: MetricLabels,
    *,
    start: float,
    end: float,
    slot: float,
    history: History,
    progress: Progress,
) -> Recording:
    """What stable counted from `start` to `end` (Unix times), in slots of `slot` seconds.

    `asked`: see `recording.selectors_of`. Raises UsageError where nothing was recorded.
    """
    pairs = [(of, part) for of, part, _ in asked.values()]
    found = recording.start(dict.fromkeys(name for pair in pairs for name in pair), slot)
    at = start // slot * slot
    while at < end:
        until = min(at + _MOMENTS * slot, end)
        answers = history.recorded(found.selectors, at, until, slot)
        found = recording.more(found, answers, labels)
        progress.say(f"read the traffic of {(until - start) / 3600:.1f} h")
        at = until // slot * slot if until < end else end
    if not any(rises.slots for rises in found.rises.values()):
        raise UsageError(
            doing="reading the recorded traffic of stable",
            found="no series of stable in that time",
            expected=f"series with {labels.track}=stable of the services in rollout.yaml",
            next_step="ask for a time that the metrics server remembers, and compare the slis' "
            "selectors with what it has",
        )
    return found
