"""The share of bad requests against a limit: proceed on measurement, fail on proof."""

from __future__ import annotations

from tarsrelease.gates.checks.comparison import age, stale
from tarsrelease.gates.checks.inputs import Inputs, Patience, Subject
from tarsrelease.gates.stats import late_change
from tarsrelease.gates.stats.growth import AT_ONCE
from tarsrelease.gates.stats.pass_side import allows, requests_to_pass
from tarsrelease.gates.stats.sequential_test import (
    log_evidence_below,
    proof_needs,
    required_requests,
)
from tarsrelease.model.checks import ProportionCheck
from tarsrelease.model.format import count, odds, percent
from tarsrelease.model.measurement import Counts, Unmeasured
from tarsrelease.model.outcome import Check, Observed, Status

LATE = 30.0
"""Seconds from which on the age of the newest sample explains that there are no requests."""


def judge(rule: ProportionCheck, subject: Subject, inputs: Inputs, patience: Patience) -> Check:
    """The share of bad requests against its limit.

    Proof comes first: what is proven bad stays so, however old the newest sample is.
    """
    measured = inputs.counted(rule.sli, subject, subject.track)
    limit = rule.bad_limit
    needed = required_requests(limit, patience.confidence)
    good_is_shown = rule.at_least is not None
    expected = f"≥ {percent(rule.at_least)}" if rule.at_least is not None else f"< {percent(limit)}"

    def check(status: Status, reason: str) -> Check:
        counts = measured if isinstance(measured, Counts) else None
        observed = None
        if counts is not None and counts.total > 0:
            share = counts.bad / counts.total
            observed = Observed(value=1 - share if good_is_shown else share, unit="share")
        return Check(
            id=rule.id,
            status=status,
            service=subject.name,
            observed=observed,
            expected=expected,
            reason=reason,
            source=inputs.sources.get(rule.sli, ""),
            window=inputs.elapsed,
            samples=None if counts is None else round(counts.total),
            needed=needed,
        )

    if isinstance(measured, Unmeasured):
        return check(Status.ERROR, f"not measured: {measured.reason}")
    if measured.total <= 0:
        since = "no series yet"
        if measured.newest is not None:
            seconds = age(measured, inputs)
            late = f"; the newest sample is {seconds:.0f} s old" if seconds > LATE else ""
            since = f"no requests yet{late}"
        return check(Status.INCONCLUSIVE, f"{since}; {needed} are needed to tell")
    bad, total = measured.bad, measured.total
    said = f"{bad:.0f} of {count(total, 'request')} bad ({percent(bad / total)})"
    starts = inputs.starts.get((rule.sli, subject.name or "", subject.track), ())
    evidence = late_change.log_evidence(starts, bad, total, limit)
    if evidence >= proof_needs(patience.alpha):
        naive, spread = evidence, inputs.spread(rule.sli, subject, measured)
        evidence = late_change.log_evidence(starts, bad, total, limit, spread)
        if evidence >= proof_needs(patience.alpha):
            if inputs.at_once(rule.sli, subject):
                return check(Status.INCONCLUSIVE, f"{said}, {AT_ONCE}")
            return check(
                Status.FAIL,
                f"{said}: proof beyond the limit (evidence {odds(evidence)} to 1, "
                f"needed {1 / patience.alpha:.0f} to 1)",
            )
        return check(
            Status.INCONCLUSIVE,
            f"{said}: beyond the limit, but errors come in bursts on {subject.other}, too: "
            f"evidence {odds(evidence)} to 1 (not {odds(naive)}), "
            f"needed {1 / patience.alpha:.0f} to 1",
        )
    if old := stale(measured, inputs, patience):
        return check(Status.ERROR, f"{said}, but {old}")
    if total < needed:
        return check(Status.INCONCLUSIVE, f"{said}; {needed} requests are needed to tell")
    share = bad / total
    beyond = share > limit if good_is_shown else share >= limit
    if beyond:
        return check(Status.INCONCLUSIVE, f"{said}: beyond the limit, but not proven")
    if not allows(bad, total, limit, patience.false_pass):
        needed = requests_to_pass(bad, limit, patience.false_pass)
        return check(
            Status.INCONCLUSIVE, f"{said}: within the limit, but with so many it takes {needed}"
        )
    if rule.proof == "strict":
        sure = log_evidence_below(bad, total, limit) >= proof_needs(1 - patience.confidence)
        if not sure:
            return check(Status.INCONCLUSIVE, f"{said}: within the limit, but not proven")
        return check(Status.PASS, f"{said}: proven within the limit")
    return check(Status.PASS, f"{said}; {needed} were needed to tell")
