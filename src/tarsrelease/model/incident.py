"""Incidents: what is known of one, how severe it is, and what the team does about it."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from tarsrelease.model.base import Percentage, Seconds, Share, Value


class Severity(StrEnum):
    """P0 is the most severe. The order is that of the letters."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


class Report(StrEnum):
    """What a person can report; no metric shows it."""

    DATA_CORRUPTION = "data-corruption"
    EXPLOITED_VULNERABILITY = "exploited-vulnerability"
    CRITICAL_FEATURE = "critical-feature"
    FEATURE = "feature"
    MINOR = "minor"


SEVERITY_OF_REPORT = {
    Report.DATA_CORRUPTION: Severity.P0,
    Report.EXPLOITED_VULNERABILITY: Severity.P0,
    Report.CRITICAL_FEATURE: Severity.P1,
    Report.FEATURE: Severity.P2,
    Report.MINOR: Severity.P3,
}


class Symptoms(Value):
    """What is known; None for a number that nobody has.

    `degradation` is how much slower requests are than the baseline: 0.5 for 150 ms instead of
    100 ms.
    """

    availability: Share | None = None
    error_rate: Share | None = None
    degradation: Percentage | None = None
    reported: frozenset[Report] = frozenset()


class Below(Value):
    """Availability: each severity begins below its value."""

    p0: Share = 0.99
    p1: Share = 0.995
    p2: Share = 0.999

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.p0 < self.p1 < self.p2:
            raise ValueError("availability: p0 must be below p1, and p1 below p2")
        return self


class Above(Value):
    """Error rate: P0 begins above `p0`, the others at their value."""

    p0: Share = 0.05
    p1: Share = 0.02
    p2: Share = 0.01

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if not self.p0 > self.p1 > self.p2:
            raise ValueError("error_rate: p0 must be above p1, and p1 above p2")
        return self


class Slower(Value):
    """Degradation: P1 begins above `p1`, P2 at `p2`; anything less is P3."""

    p1: Percentage = 0.5
    p2: Percentage = 0.2

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if not self.p1 > self.p2 > 0:
            raise ValueError("degradation: p1 must be above p2, and p2 above 0%")
        return self


class EscalationLevel(Value):
    """Who is asked next, for what, and how to reach them (a number, a channel, a schedule)."""

    role: str = Field(min_length=1)
    name: str = ""
    reach: str = ""
    decides: str = ""


class IncidentRules(Value):
    """rollout.yaml's `incidents`. The defaults are those of a typical production runbook.

    `investigate` is the deadline of a P1; `investigate_degradation` that of one that is slow.
    `escalation` lists the levels from L1 on.
    """

    availability: Below = Below()
    error_rate: Above = Above()
    degradation: Slower = Slower()
    investigate: Seconds = 1800.0
    investigate_degradation: Seconds = 900.0
    escalation: tuple[EscalationLevel, ...] = ()


class Action(StrEnum):
    """What the decision tree answers."""

    ROLL_BACK = "roll back at once"
    PREPARE = "prepare the rollback and investigate"
    INVESTIGATE = "unknown: investigate"
    HOTFIX = "monitor, and fix in a hotfix"
    NEXT_RELEASE = "track, and fix in the next release"
    NOTHING = "no incident"


class Finding(Value):
    """One symptom, and the severity that it proves."""

    severity: Severity
    symptom: str
    reason: str


class Classification(Value):
    """The answer: `severity` is None if nothing is proven. `deadline` is in seconds.

    `missing` names the numbers without which the incident may be more severe than it says.
    """

    severity: Severity | None
    action: Action
    deadline: float | None = None
    findings: tuple[Finding, ...] = ()
    missing: tuple[str, ...] = ()
