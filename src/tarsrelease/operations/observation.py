"""The observation of a stage: the verdict and the results that led to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from tarsrelease.gates.protection import Protection
from tarsrelease.gates.stats.alpha_budget import alpha_per_check
from tarsrelease.model.details import Point
from tarsrelease.model.journal import Cause
from tarsrelease.model.outcome import Check, Status, Verdict
from tarsrelease.model.release import Release
from tarsrelease.model.rollout import Stage
from tarsrelease.model.step_details import GateDetails
from tarsrelease.operations.traffic import timestamp
from tarsrelease.report.results import show_cause

METRICS = "canary.metrics"
"""The check that fails when the metrics server is down for longer than `limits.metrics_outage`."""

_HISTORY = 120


@dataclass(frozen=True, slots=True)
class Protected:
    """All traffic moved to stable to protect users: why, and how many seconds after the shift."""

    why: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Observation:
    """A verdict, the results that led to it, and when it was decided.

    `evaluations` counts the answers of the metrics server; `without_metrics` is the number of
    seconds since the last answer. `protection` says why all traffic must move to stable now;
    `protected` that it did in this stage, which may have been tried once more since.
    """

    verdict: Verdict
    checks: tuple[Check, ...]
    decided_at: datetime
    evaluations: int = 0
    history: tuple[Point, ...] = ()
    without_metrics: float = 0.0
    protection: Protection | None = None
    protected: Protected | None = None

    @classmethod
    def of(cls, check: Check, at: datetime) -> Self:
        """The observation from one result: rollback if it is `fail`, otherwise hold."""
        verdict = Verdict.ROLLBACK if check.status is Status.FAIL else Verdict.HOLD
        blind = (check.window or 0.0) if check.id == METRICS else 0.0
        return cls(verdict, (check,), at, without_metrics=blind)

    @property
    def why(self) -> str:
        """The most serious result, in one line."""
        cause = Cause.of(self.checks)
        if cause is None:
            passed = sum(check.status is Status.PASS for check in self.checks)
            return f"{passed} checks passed"
        return show_cause(cause)

    def details(self, release: Release, stage: Stage, since: datetime | None) -> GateDetails:
        """Facts for the evidence and for plots; times in seconds, counted from `since`."""
        every = max(1, len(self.history) // _HISTORY)
        details = GateDetails(
            weight=stage.weight,
            stage=stage.name,
            looks=self.evaluations,
            false_rollback_budget=release.rollout.statistics.false_rollback_budget,
            alpha_per_check=alpha_per_check(release.rollout),
            history=self.history[::-1][::every][::-1],
        )
        if self.protected is not None:
            details = GateDetails(
                **details.given(),
                outputs={"protected": self.protected.why},
                protected=self.protected.why,
                seconds_from_shift_to_protection=self.protected.seconds,
            )
        if since is None:
            return details
        seconds = (self.decided_at - since).total_seconds()
        return GateDetails(
            **details.given(),
            shifted_at=timestamp(since),
            seconds_from_shift_to_verdict=seconds,
            extended_seconds=max(0.0, seconds - stage.duration),
        )
