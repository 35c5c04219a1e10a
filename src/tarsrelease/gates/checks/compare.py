"""The canary's share of bad requests against stable's: counts, judged at every evaluation.

Of all bad requests, those on the canary are as many as its share of the requests where both sides
are alike, and R N1 / (R N1 + N0) of them where the canary is R times as bad. That turns two
samples with an unknown rate into one proportion with a known limit (conditional test; Lindon and
Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022), on which the same
e-process judges as on limits: its alternatives, multiples of the odds, are multiples of R. The
exposure is the share of *requests*, not the weight: so it stays right while the two sides were
scraped at different moments, and where a gateway rounds.

A practical margin: it fails only when the canary is proven worse than R = 1 + `worse_by` times
stable AND proven worse than `tolerated`. The smaller of two e-processes is one for "either holds".
"""

from __future__ import annotations

from tarsrelease.gates.checks.comparison import Sides, share, sides, undecidable
from tarsrelease.gates.checks.inputs import Inputs, Patience, Subject
from tarsrelease.gates.stats.bursts import Spread, binomial, widest
from tarsrelease.gates.stats.growth import AT_ONCE
from tarsrelease.gates.stats.pass_comparison import (
    allows_worse_by,
    requests_to_allow,
    scaled,
)
from tarsrelease.gates.stats.pass_side import tail
from tarsrelease.gates.stats.sequential_test import (
    ODDS_ABOVE,
    log_evidence_above,
    log_ratios_above,
    proof_needs,
    required_requests,
)
from tarsrelease.model.checks import CompareCheck
from tarsrelease.model.format import count, odds, percent
from tarsrelease.model.measurement import Counts, Unmeasured
from tarsrelease.model.outcome import Check, Status


def _exposed(ours: Counts, theirs: Counts, rule: CompareCheck) -> float:
    """The share of all bad requests that is ours where we are just 1 + `worse_by` times as bad."""
    weighed = (1.0 + rule.worse_by) * ours.total
    return weighed / (weighed + theirs.total)


def log_evidence_worse(
    ours: Counts, theirs: Counts, rule: CompareCheck, spread: Spread = binomial
) -> float:
    """Natural log of the evidence that ours are worse than the rule's margins.

    Both sides must have requests. Proof at chance `alpha`: log(1/alpha) or more.
    """
    exposed = _exposed(ours, theirs, rule)
    either = widest(spread, ODDS_ABOVE)
    worse = log_evidence_above(ours.bad, ours.bad + theirs.bad, exposed, either)
    return min(worse, log_evidence_above(ours.bad, ours.total, rule.tolerated, spread))


def log_ratios_worse(
    ours: Counts, theirs: Counts, rule: CompareCheck, spread: Spread = binomial
) -> tuple[float, ...]:
    """Per alternative, the log likelihood ratio against "within one of the margins".

    The smaller of two ratios whose expectation is at most 1 under either margin.
    """
    exposed = _exposed(ours, theirs, rule)
    either = widest(spread, ODDS_ABOVE)
    worse = log_ratios_above(ours.bad, ours.bad + theirs.bad, exposed, either)
    return tuple(map(min, worse, log_ratios_above(ours.bad, ours.total, rule.tolerated, spread)))


def chance_by_luck(
    ours: Counts, theirs: Counts, rule: CompareCheck, inputs: Inputs, subject: Subject
) -> float:
    """The chance of so many bad requests on a canary that is just within the rule's margins.

    1 where the estimate is within them. Counts are divided by how bursty errors are.
    """
    exposed = _exposed(ours, theirs, rule)
    bad, all_bad = ours.bad, ours.bad + theirs.bad
    if bad <= exposed * all_bad or bad <= rule.tolerated * ours.total:
        return 1.0
    packs = inputs.spread(rule.sli, subject, ours)(2.0)
    worse = tail(bad / packs, all_bad / packs, exposed)
    return max(worse, tail(bad / packs, ours.total / packs, rule.tolerated))


def judge(rule: CompareCheck, subject: Subject, inputs: Inputs, patience: Patience) -> Check:
    """Fails on proof; suspicion (at `confidence`) without proof is inconclusive."""
    theirs = inputs.counted(rule.sli, subject, subject.other)
    return judge_against(theirs, subject.other, rule, subject, inputs, patience)


def judge_against(
    theirs: Counts | Unmeasured,
    other: str,
    rule: CompareCheck,
    subject: Subject,
    inputs: Inputs,
    patience: Patience,
) -> Check:
    """As `judge`, against the requests `theirs` of the side or environment named `other`."""
    ours = inputs.counted(rule.sli, subject, subject.track)
    needed = required_requests(rule.tolerated, patience.confidence)

    def check(status: Status, reason: str) -> Check:
        return Check(
            id=rule.id,
            status=status,
            service=subject.name,
            observed=share(ours),
            expected=f"≤ {percent(1 + rule.worse_by)} of {other}'s share, "
            f"or < {percent(rule.tolerated)}",
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
    said = (
        f"{ours.bad:.0f} of {count(ours.total, 'request')} bad ({percent(ours.bad / ours.total)}), "
        f"{other} {percent(theirs.bad / theirs.total)}"
    )
    suspicion = proof_needs(1 - patience.confidence)
    evidence = log_evidence_worse(ours, theirs, rule)
    if evidence >= suspicion:
        evidence = log_evidence_worse(ours, theirs, rule, inputs.spread(rule.sli, subject, ours))
    if evidence >= proof_needs(patience.alpha):
        if inputs.at_once(rule.sli, subject):
            return check(Status.INCONCLUSIVE, f"{said}, {AT_ONCE}")
        return check(
            Status.FAIL, f"{said}: proof that it is worse (evidence {odds(evidence)} to 1)"
        )
    undecided = undecidable(found, said, needed, inputs, patience)
    if undecided is not None:
        return check(*undecided)
    if evidence >= suspicion:
        return check(
            Status.INCONCLUSIVE,
            f"{said}: it seems worse (evidence {odds(evidence)} to 1), but that is not proven",
        )
    if chance_by_luck(ours, theirs, rule, inputs, subject) < 1 - patience.confidence:
        return check(
            Status.INCONCLUSIVE, f"{said}: beyond the margin, and hardly by chance; not proven"
        )

    def allowed(times: float = 1.0) -> bool:
        return allows_worse_by(
            scaled(ours, times),
            scaled(theirs, times),
            rule.worse_by,
            rule.tolerated,
            patience.false_pass,
        )

    if not allowed():
        needed = requests_to_allow(ours, allowed) or needed
        return check(
            Status.INCONCLUSIVE,
            f"{said}: no sign that it is worse, but with so many bad it takes {needed}",
        )
    return check(Status.PASS, f"{said}; no sign that it is worse")
