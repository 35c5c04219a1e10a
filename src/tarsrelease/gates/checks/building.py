"""The parts that the results of every kind share."""

from __future__ import annotations

from tarsrelease.gates.checks.seeing import Patience, Sight
from tarsrelease.model.measurement import Counts, Told, Unmeasured
from tarsrelease.model.outcome import Observed


def age(counts: Counts, sight: Sight) -> float:
    """Seconds since the newest sample that the counts stand on; 0 where there is none."""
    return 0.0 if counts.newest is None else sight.now - counts.newest


def stale(counts: Counts, sight: Sight, patience: Patience) -> str | None:
    """Why the counts are too old to decide on; None where they are not."""
    old = age(counts, sight)
    return f"the newest sample of a pod is {old:.0f} s old" if old > patience.stale_after else None


def share(counts: Counts | object) -> Observed | None:
    """The share of bad requests as an observed value; None without requests."""
    if not isinstance(counts, Counts) or counts.total <= 0:
        return None
    return Observed(value=counts.bad / counts.total, unit="share")


def not_told(answer: Told) -> str:
    """Why there is no answer, where something else came than what was asked for."""
    return answer.reason if isinstance(answer, Unmeasured) else f"the answer was {answer!r}"
