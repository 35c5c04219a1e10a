"""Resources with a limit have room left: nodes, quotas, connection pools."""

from __future__ import annotations

from tarsrelease.gates.checks.inputs import Inputs, Patience, Subject
from tarsrelease.gates.measure.gauges import longest_above
from tarsrelease.model.checks import CapacityCheck
from tarsrelease.model.format import duration, names, percent
from tarsrelease.model.measurement import Unmeasured
from tarsrelease.model.outcome import Check, Observed, Status


def judge(rule: CapacityCheck, _subject: Subject, inputs: Inputs, patience: Patience) -> Check:
    """The fullest decides: it fails when it stays at or above the limit for `sustained`."""
    usage = inputs.used(rule.sli)

    def check(status: Status, reason: str, fullest: float | None = None) -> Check:
        return Check(
            id=rule.id,
            status=status,
            observed=None if fullest is None else Observed(value=fullest, unit="share"),
            expected=f"< {percent(rule.below)} of each limit in use",
            reason=reason,
            source=inputs.sources.get(rule.sli, ""),
            window=inputs.elapsed,
        )

    if isinstance(usage, Unmeasured):
        return check(Status.ERROR, f"not measured: {usage.reason}")
    without = f"; without a limit: {names(list(usage.unlimited))}" if usage.unlimited else ""
    if not usage.by_thing:
        return check(Status.ERROR, f"no use goes with a limit{without}")
    for thing, samples in usage.by_thing.items():
        lasted = longest_above(samples, rule.below)
        if lasted >= rule.sustained and lasted > 0:
            highest = max(sample.value for sample in samples)
            reason = (
                f"{thing} stayed at or above the limit for {duration(lasted)} ({percent(highest)})"
            )
            return check(Status.FAIL, reason, highest)
    old = {
        thing: inputs.now - samples[-1].time
        for thing, samples in usage.by_thing.items()
        if inputs.now - samples[-1].time > patience.stale_after
    }
    if old:
        thing = max(old, key=lambda each: old[each])
        return check(Status.ERROR, f"the newest reading of {thing} is {duration(old[thing])} old")
    thing = max(usage.by_thing, key=lambda each: usage.by_thing[each][-1].value)
    fullest = usage.by_thing[thing][-1].value
    said = f"the fullest of {len(usage.by_thing)} is {thing} with {percent(fullest)}{without}"
    if fullest >= rule.below:
        return check(
            Status.INCONCLUSIVE,
            f"{said}; it fails when it stays for {duration(rule.sustained)}",
            fullest,
        )
    return check(Status.PASS, said, fullest)
