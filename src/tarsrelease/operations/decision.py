"""A gate's decision: the verdict with the results that led to it, as outcomes tell it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from tarsrelease.gates.stats.alpha_budget import alpha_per_check
from tarsrelease.model.journal import Cause
from tarsrelease.model.outcome import Check, Status, Verdict
from tarsrelease.model.release import Release
from tarsrelease.model.rollout import Stage
from tarsrelease.operations import traffic
from tarsrelease.operations.evaluation import Observation
from tarsrelease.report.words import show_cause

METRICS = "canary.metrics"
"""The check that only says that the metrics server was away for too long."""

_HISTORY = 120


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, the checks it stands on, and when it was made.

    `without_metrics`: seconds since the metrics server's last answer. `history` is thinned.
    """

    verdict: Verdict
    checks: tuple[Check, ...]
    at: datetime
    looks: int = 0
    without_metrics: float = 0.0
    history: tuple[dict[str, object], ...] = ()

    @classmethod
    def of(cls, seen: Observation) -> Decision:
        """What the looking came to."""
        every = max(1, len(seen.history) // _HISTORY)
        kept = tuple(asdict(look) for look in seen.history[::-1][::every][::-1])
        return cls(
            seen.verdict, seen.checks, seen.decided_at, seen.looks, seen.without_metrics, kept
        )

    @classmethod
    def on(cls, check: Check, at: datetime) -> Decision:
        """What one check alone decides: rollback where it failed, else hold."""
        verdict = Verdict.ROLLBACK if check.status is Status.FAIL else Verdict.HOLD
        blind = (check.window or 0.0) if check.id == METRICS else 0.0
        return cls(verdict, (check,), at, without_metrics=blind)

    @property
    def why(self) -> str:
        """The gravest result, in one line."""
        cause = Cause.of(self.checks)
        if cause is None:
            passed = sum(check.status is Status.PASS for check in self.checks)
            return f"{passed} checks passed"
        return show_cause(cause)

    def details(self, release: Release, stage: Stage, since: datetime | None) -> dict[str, object]:
        """Facts for the evidence and for plots; times in seconds, counted from `since`."""
        facts: dict[str, object] = {
            "weight": stage.weight,
            "stage": stage.name,
            "looks": self.looks,
            "false_rollback_budget": release.rollout.statistics.false_rollback_budget,
            "alpha_per_check": alpha_per_check(release.rollout),
            "history": list(self.history),
        }
        if since is not None:
            seconds = (self.at - since).total_seconds()
            facts |= {
                "shifted_at": traffic.timestamp(since),
                "seconds_from_shift_to_verdict": seconds,
                "extended_seconds": max(0.0, seconds - stage.duration),
            }
        return facts
