"""Every pod's reading against a limit."""

from __future__ import annotations

from datetime import UTC, datetime

from tarsrelease.gates.checks.inputs import Inputs, Patience, Subject
from tarsrelease.gates.measure.gauges import at_least, longest_run
from tarsrelease.model.checks import GaugeCheck
from tarsrelease.model.format import amount, count, duration, names
from tarsrelease.model.measurement import Gauges, Unmeasured
from tarsrelease.model.outcome import Check, Observed, Status


def judge(rule: GaugeCheck, subject: Subject, inputs: Inputs, patience: Patience) -> Check:
    """Every pod's reading against a limit; it fails when one stays beyond it for `sustained`."""
    measured, deployment = inputs.read(rule.sli, subject.deployment), subject.deployment
    limit, unit, from_above = rule.limit.value, rule.limit.unit, rule.below is not None
    whole = isinstance(measured, Gauges) and deployment in measured.by_pod
    everywhere = deployment if whole else "every pod"
    latest: dict[str, float] = {}

    def check(status: Status, reason: str, observed: float | None = None) -> Check:
        return Check(
            id=rule.id,
            status=status,
            service=subject.name,
            observed=None if observed is None else Observed(value=observed, unit=unit),
            expected=f"{'<' if from_above else '≥'} {amount(limit, unit)} in {everywhere}",
            reason=reason,
            source=inputs.sources.get(rule.sli, ""),
            window=inputs.elapsed,
            samples=sum(map(len, measured.by_pod.values()))
            if isinstance(measured, Gauges)
            else None,
        )

    if isinstance(measured, Unmeasured):
        return check(Status.ERROR, f"not measured: {measured.reason}")

    def beyond(value: float) -> bool:
        return at_least(value, limit) if from_above else not at_least(value, limit)

    worst_of, side = (max, "at or above") if from_above else (min, "below")
    for pod, samples in measured.by_pod.items():
        lasted = longest_run(samples, beyond)
        if lasted >= rule.sustained and lasted > 0:
            worst = worst_of(sample.value for sample in samples)
            return check(
                Status.FAIL,
                f"{'' if whole else 'pod '}{pod} stayed {side} the limit for {duration(lasted)} "
                f"({'up' if from_above else 'down'} to {amount(worst, unit)})",
                worst,
            )
    if isinstance(inputs.cluster, Unmeasured):
        return check(Status.ERROR, f"which pods to expect is not known: {inputs.cluster.reason}")
    running = [pod for pod in inputs.cluster.pods_of(deployment) if pod.phase == "Running"]
    if not running:
        return check(Status.INCONCLUSIVE, f"{deployment} has no running pod")
    started = {pod.name: pod.started_at for pod in running}
    if whole:
        started = {deployment: min((at for at in started.values() if at), default=None)}
    missing, young = [], []
    for name, at in started.items():
        samples = measured.by_pod.get(name, ())
        if samples and inputs.now - samples[-1].time <= patience.stale_after:
            latest[name] = samples[-1].value
        elif _age(at, inputs.now) <= patience.stale_after or inputs.elapsed <= patience.stale_after:
            young.append(name)
        else:
            missing.append(name)
    if missing:
        return check(Status.ERROR, f"no reading of {names(missing)}")
    observed = worst_of(latest.values()) if latest else None
    if young:
        return check(Status.INCONCLUSIVE, f"no reading yet of {names(young)}", observed)
    worst_pod = worst_of(latest, key=lambda pod: latest[pod])
    which = "highest" if from_above else "lowest"
    of = deployment if whole else count(len(latest), "pod")
    said = f"the {which} of {of} is {amount(latest[worst_pod], unit)}"
    if beyond(latest[worst_pod]):
        return check(
            Status.INCONCLUSIVE,
            f"{said} ({worst_pod}); it fails when it stays for {duration(rule.sustained)}",
            observed,
        )
    return check(Status.PASS, said, observed)


def _age(started_at: datetime | None, now: float) -> float:
    if started_at is None:
        return 0.0
    return (datetime.fromtimestamp(now, UTC) - started_at).total_seconds()
