"""The day's own outcome: what the run decided, together with what the clients saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tarsrelease.model.outcome import (
    Check,
    Observed,
    Outcome,
    Status,
    Verdict,
    exit_code_of,
)


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


def day_outcome(
    run: Outcome,
    load: Mapping[str, Any],
    *,
    faults: Sequence[str],
    overrides: Sequence[str],
    ready_seconds: float,
    evidence: str,
    started_at: datetime,
    finished_at: datetime,
) -> Outcome:
    """The outcome of a rehearsed day.

    It ends as the run ended, but a day that was promoted while clients lost requests is a no.
    """
    clients = client_check(load)
    verdict, exit_code, summary = run.verdict, run.exit_code, run.summary
    if verdict is Verdict.PROCEED and clients.status is not Status.PASS:
        verdict, exit_code = Verdict.NO_GO, exit_code_of(Verdict.NO_GO)
        summary = f"promoted, but clients noticed: {clients.reason}"
    return Outcome(
        step="rehearse",
        release=run.release,
        environment=run.environment,
        verdict=verdict,
        exit_code=exit_code,
        summary=summary,
        checks=(*run.checks, clients),
        error=run.error,
        details={
            **run.details,
            "faults": list(faults),
            "overrides": list(overrides),
            "clients": dict(load),
            "cluster_ready_seconds": ready_seconds,
            "evidence": evidence,
        },
        started_at=started_at,
        finished_at=finished_at,
        next=run.next,
    )
