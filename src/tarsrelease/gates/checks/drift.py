"""The share of good requests against another's: how far it has drifted for the worse.

The other is stable, or staging. With its share of good requests g, the canary may fall to
(1 - within) g: a limit on its bad share, b + within (1 - b) with b = 1 - g. The estimate is
compared with the limit from the other's estimate; the proof takes for b the highest share that the
other's counts still allow, at half of the chance of a false alarm, and judges the canary against it
with the other half (union bound).
"""

from __future__ import annotations

from tarsrelease.gates.checks.comparison import Sides, not_told, sides, undecidable
from tarsrelease.gates.checks.inputs import Inputs, Patience, Subject
from tarsrelease.gates.stats.bursts import Spread, binomial
from tarsrelease.gates.stats.growth import AT_ONCE
from tarsrelease.gates.stats.pass_comparison import allows_drift, requests_to_allow, scaled
from tarsrelease.gates.stats.sequential_test import (
    highest_share,
    log_evidence_above,
    proof_needs,
    required_requests,
)
from tarsrelease.model.checks import DriftCheck, StagingDriftCheck
from tarsrelease.model.format import count, odds, percent
from tarsrelease.model.measurement import Counts, Requests, Unmeasured
from tarsrelease.model.outcome import Check, Observed, Status


def drifted(ours: Counts, theirs: Counts) -> float:
    """How much smaller our share of good requests is, relative to theirs; below 0 it is larger.

    Both have requests; where theirs has no good ones, nothing is smaller: 0.
    """
    good = 1.0 - theirs.bad / theirs.total
    return 1.0 - (1.0 - ours.bad / ours.total) / good if good > 0 else 0.0


def log_evidence_drifted(
    ours: Counts, theirs: Counts, within: float, alpha: float, spread: Spread = binomial
) -> float:
    """Log of the evidence that ours drifted by more than `within`; proof: log(2/alpha)."""
    highest = highest_share(theirs.bad, theirs.total, alpha / 2)
    limit = min(highest + within * (1.0 - highest), 1.0 - 1e-9)
    return log_evidence_above(ours.bad, ours.total, limit, spread)


def judge(rule: DriftCheck, subject: Subject, inputs: Inputs, patience: Patience) -> Check:
    """Against the other side. Passes on the estimate, fails on proof; without enough requests it
    cannot be told."""
    theirs = inputs.counted(rule.sli, subject, subject.other)
    return judge_against(theirs, subject.other, rule, subject, inputs, patience)


def judge_staging(
    rule: StagingDriftCheck, subject: Subject, inputs: Inputs, patience: Patience
) -> Check:
    """Compare with staging over the same time, by the same method."""
    told = inputs.external.get(rule.id)
    if isinstance(told, Requests) and told.by_service is not None:
        theirs = told.by_service.get(subject.name or "", Unmeasured("it has no such service"))
        return judge_against(theirs, "staging", rule, subject, inputs, patience)
    if told is None:
        status, reason = Status.INCONCLUSIVE, "staging has not answered yet"
    elif isinstance(told, Requests):
        status, reason = Status.SKIPPED, "the environment file has no staging"
    else:
        status, reason = Status.ERROR, f"staging is not measured: {not_told(told)}"
    return Check(
        id=rule.id,
        status=status,
        service=subject.name,
        expected=f"good requests within {percent(rule.within)} of staging's",
        reason=reason,
        source=inputs.sources.get(rule.sli, ""),
        window=inputs.elapsed,
    )


def judge_against(
    theirs: Counts | Unmeasured,
    other: str,
    rule: DriftCheck | StagingDriftCheck,
    subject: Subject,
    inputs: Inputs,
    patience: Patience,
) -> Check:
    """As `judge`, against the requests `theirs` of the side or environment named `other`."""
    ours = inputs.counted(rule.sli, subject, subject.track)
    needed = required_requests(rule.within, patience.confidence)

    def check(status: Status, reason: str, drift: float | None = None) -> Check:
        return Check(
            id=rule.id,
            status=status,
            service=subject.name,
            observed=None if drift is None else Observed(value=drift, unit="share"),
            expected=f"good requests within {percent(rule.within)} of {other}'s",
            reason=reason,
            source=inputs.sources.get(rule.sli, ""),
            window=inputs.elapsed,
            samples=round(ours.total) if isinstance(ours, Counts) else None,
            needed=needed,
        )

    found = sides(ours, theirs, subject.track, other)
    if not isinstance(found, Sides):
        return check(*found)
    ours, theirs = found
    drift = drifted(ours, theirs)
    said = (
        f"{percent(1 - ours.bad / ours.total)} of {count(ours.total, 'request')} good, "
        f"{other} {percent(1 - theirs.bad / theirs.total)}"
    )
    needs = proof_needs(patience.alpha / 2)
    evidence = log_evidence_drifted(ours, theirs, rule.within, patience.alpha)
    if evidence >= needs:
        spread = inputs.spread(rule.sli, subject, ours)
        evidence = log_evidence_drifted(ours, theirs, rule.within, patience.alpha, spread)
    if evidence >= needs:
        if inputs.at_once(rule.sli, subject):
            return check(Status.INCONCLUSIVE, f"{said}, {AT_ONCE}", drift)
        return check(
            Status.FAIL, f"{said}: proof of the drift (evidence {odds(evidence)} to 1)", drift
        )
    undecided = undecidable(found, said, needed, inputs, patience)
    if undecided is not None:
        return check(*undecided, drift)
    if drift > rule.within:
        return check(Status.INCONCLUSIVE, f"{said}: too far apart, but not proven", drift)

    def allowed(times: float = 1.0) -> bool:
        return allows_drift(
            scaled(ours, times), scaled(theirs, times), rule.within, patience.false_pass
        )

    if not allowed():
        needed = requests_to_allow(ours, allowed) or needed
        return check(
            Status.INCONCLUSIVE,
            f"{said}: within the distance, but with so many bad it takes {needed}",
            drift,
        )
    return check(Status.PASS, said, drift)
