"""WebSocket clients that lost their connection get their session back.

A changed weight does not move open connections. The check judges the attempts to reconnect; the
number of open connections shows how many clients could. The proof is that of
proportions, so that one refused client of a dropped thousand is no failure, and three of three are.
"""

from __future__ import annotations

from tarsrelease.gates.checks.comparison import stale
from tarsrelease.gates.checks.inputs import Inputs, Patience, Subject
from tarsrelease.gates.stats.sequential_test import log_evidence_above, proof_needs
from tarsrelease.model.checks import ReconnectsCheck
from tarsrelease.model.format import count, odds, percent
from tarsrelease.model.measurement import Counts, Unmeasured
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.model.quantities import complement


def judge(rule: ReconnectsCheck, subject: Subject, inputs: Inputs, patience: Patience) -> Check:
    """Fails on proof; an attempt that failed without proof is inconclusive beyond the limit."""
    counts = inputs.counted(rule.sli, subject, subject.track)

    def check(status: Status, reason: str) -> Check:
        good = None
        if isinstance(counts, Counts) and counts.total > 0:
            good = Observed(value=1 - counts.bad / counts.total, unit="share")
        return Check(
            id=rule.id,
            status=status,
            service=subject.name,
            observed=good,
            expected=f"≥ {percent(rule.at_least)} of the reconnects succeed",
            reason=reason,
            source=inputs.sources.get(rule.sli, ""),
            window=inputs.elapsed,
        )

    if isinstance(counts, Unmeasured):
        return check(Status.ERROR, f"not measured: {counts.reason}")
    connected = None
    if rule.open is not None:
        reading = inputs.read(rule.open, subject.deployment)
        if isinstance(reading, Unmeasured):
            return check(Status.ERROR, f"open connections not measured: {reading.reason}")
        connected = sum(samples[-1].value for samples in reading.by_pod.values() if samples)
    also = "" if connected is None else f"; {count(connected, 'connection')} open"
    bad, total = counts.bad, counts.total
    said = f"{bad:.0f} of {count(total, 'reconnect')} failed{also}"
    limit = complement(rule.at_least)
    evidence = log_evidence_above(bad, total, limit)
    if evidence >= proof_needs(patience.alpha):
        return check(
            Status.FAIL, f"{said}: proof beyond the limit (evidence {odds(evidence)} to 1)"
        )
    if total == 0 and rule.needed == 0:
        return check(Status.SKIPPED, f"no client came back to this side{also}: nothing to tell")
    if old := stale(counts, inputs, patience):
        return check(Status.ERROR, f"{said}, but {old}")
    if total < rule.needed:
        return check(Status.INCONCLUSIVE, f"{said}; {rule.needed} are needed to tell")
    if total > 0 and bad / total > limit:
        return check(Status.INCONCLUSIVE, f"{said}: beyond the limit, but not proven")
    return check(Status.PASS, said)
