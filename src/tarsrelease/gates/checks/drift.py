"""The share of good requests against the other side's: how far it has drifted for the worse.

With stable's share of good requests g, the canary may fall to (1 - within) g: a limit on its bad
share, b + within (1 - b) with b = 1 - g. The estimate is compared with the limit from stable's
estimate; the proof takes for b the highest share that stable's counts still allow, at half of the
chance of a false alarm, and judges the canary against it with the other half (union bound).
"""

from __future__ import annotations

from tarsrelease.gates.checks.building import Sides, sides, undecidable
from tarsrelease.gates.checks.seeing import Patience, Sight, Subject
from tarsrelease.gates.dispersion import Spread, binomial
from tarsrelease.gates.statistics import (
    highest_share,
    log_evidence_above,
    proof_needs,
    required_requests,
)
from tarsrelease.gates.words import count, odds, percent
from tarsrelease.model.checks import DriftCheck
from tarsrelease.model.measurement import Counts
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


def judge(rule: DriftCheck, subject: Subject, sight: Sight, patience: Patience) -> Check:
    """Passes on the estimate, fails on proof; without enough requests it cannot be told."""
    ours = sight.counted(rule.sli, subject, subject.track)
    theirs = sight.counted(rule.sli, subject, subject.other)
    needed = required_requests(rule.within, patience.confidence)

    def check(status: Status, reason: str, drift: float | None = None) -> Check:
        return Check(
            id=rule.id,
            status=status,
            service=subject.name,
            observed=None if drift is None else Observed(value=drift, unit="share"),
            expected=f"good requests within {percent(rule.within)} of {subject.other}'s",
            reason=reason,
            source=sight.sources.get(rule.sli, ""),
            window=sight.elapsed,
            samples=round(ours.total) if isinstance(ours, Counts) else None,
            needed=needed,
        )

    found = sides(ours, theirs, subject)
    if not isinstance(found, Sides):
        return check(*found)
    ours, theirs = found
    drift = drifted(ours, theirs)
    said = (
        f"{percent(1 - ours.bad / ours.total)} of {count(ours.total, 'request')} good, "
        f"{subject.other} {percent(1 - theirs.bad / theirs.total)}"
    )
    needs = proof_needs(patience.alpha / 2)
    evidence = log_evidence_drifted(ours, theirs, rule.within, patience.alpha)
    if evidence >= needs:
        spread = sight.spread(rule.sli, subject, ours)
        evidence = log_evidence_drifted(ours, theirs, rule.within, patience.alpha, spread)
    if evidence >= needs:
        return check(
            Status.FAIL, f"{said}: proof of the drift (evidence {odds(evidence)} to 1)", drift
        )
    undecided = undecidable(found, said, needed, sight, patience)
    if undecided is not None:
        return check(*undecided, drift)
    if drift > rule.within:
        return check(Status.INCONCLUSIVE, f"{said}: too far apart, but not proven", drift)
    return check(Status.PASS, said, drift)
