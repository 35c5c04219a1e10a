"""The outcome of a rehearsal: what the run decided, and what the clients saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tarsrelease.model.format import duration
from tarsrelease.model.outcome import (
    Check,
    Observed,
    Outcome,
    Status,
    Verdict,
    exit_code_of,
)
from tarsrelease.model.step_details import FaultRow, RehearseDetails


def client_check(load: Mapping[str, Any]) -> Check:
    """No client request was lost or answered 5xx, by the load generator's own count.

    `load` is the load generator's report: sent, answered, lost, by_status.
    """
    sent, lost = int(load["sent"]), int(load["lost"])
    errors = sum(
        int(count) for status, count in load["by_status"].items() if str(status).startswith("5")
    )
    bad = lost + errors
    if sent == 0:
        status, reason = Status.ERROR, "the load generator sent nothing"
    elif bad:
        status, reason = Status.FAIL, f"{lost} lost and {errors} answered 5xx of {sent} requests"
    else:
        status, reason = Status.PASS, f"0 lost and 0 answered 5xx of {sent} requests"
    return Check(
        id="rehearsal.client_requests",
        status=status,
        observed=Observed(value=bad, unit="count"),
        expected="0 lost or answered 5xx",
        reason=reason,
        source="load generator",
        samples=sent,
    )


@dataclass(frozen=True, slots=True)
class FaultReport:
    """A fault of the day, what it was expected to lead to, and the seconds that it took: from its
    beginning to no traffic on the canary; None where the traffic was not taken off."""

    name: str
    expected: Verdict
    seconds: float | None


def expectation_check(run: Outcome, faults: Sequence[FaultReport], expected: Verdict) -> Check:
    """Check that the run ended as its faults should lead to. It judges the gates."""
    got = run.verdict
    named = " and ".join(fault.name for fault in faults) or "no fault"
    took = [fault.seconds for fault in faults if fault.seconds is not None]
    after = f" after {duration(max(took))}" if took and got is not Verdict.PROCEED else ""
    return Check(
        id="rehearsal.expected_verdict",
        status=Status.PASS if got is expected else Status.FAIL,
        observed=Observed(value=str(got) if got is not None else "none", unit="verdict"),
        expected=str(expected),
        reason=f"{named}: {got or 'no verdict'}{after}",
        source="the faults of the rehearsal",
        window=max(took) if took else None,
    )


@dataclass(frozen=True, slots=True)
class DayFacts:
    """The results of a rehearsal, without those of its run.

    `clients` is the load generator's report, `expected` the verdict that the faults lead to.
    """

    clients: Mapping[str, Any]
    faults: Sequence[FaultReport]
    expected: Verdict
    overrides: Sequence[str]
    ready_seconds: float
    evidence: str


def day_outcome(
    run: Outcome,
    day: DayFacts,
    *,
    next_step: str,
    started_at: datetime,
    finished_at: datetime,
) -> Outcome:
    """The outcome of a rehearsal.

    It ends as the run ended, but a promotion during which clients lost requests is a no-go.
    """
    faults, clients = day.faults, client_check(day.clients)
    verdict, exit_code, summary = run.verdict, run.exit_code, run.summary
    if verdict is Verdict.PROCEED and clients.status is not Status.PASS:
        verdict, exit_code = Verdict.NO_GO, exit_code_of(Verdict.NO_GO)
        summary = f"promoted, but clients noticed: {clients.reason}"
    elif faults and verdict is day.expected:
        names = " and ".join(fault.name for fault in faults)
        summary = f"as --fault {names} should end: {summary}"
    return Outcome(
        step="rehearse",
        release=run.release,
        environment=run.environment,
        verdict=verdict,
        exit_code=exit_code,
        summary=summary,
        checks=(*run.checks, clients, expectation_check(run, faults, day.expected)),
        error=run.error,
        details=RehearseDetails(
            **{key: value for key, value in run.details.given().items() if key != "overrides"},
            faults=tuple(fault.name for fault in faults),
            expectations=tuple(
                FaultRow(
                    fault=fault.name,
                    expected=fault.expected,
                    got=run.verdict,
                    seconds=None if run.verdict is Verdict.PROCEED else fault.seconds,
                )
                for fault in faults
            ),
            overrides=tuple(day.overrides),
            clients=dict(day.clients),
            cluster_ready_seconds=day.ready_seconds,
            evidence=day.evidence,
        ),
        started_at=started_at,
        finished_at=finished_at,
        next=next_step,
    )
