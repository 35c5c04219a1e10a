"""A stage's checks: measurements in, results out. One small function per kind of check.

`fail` says that the side under judgement is bad; `error` that it could not be measured;
`inconclusive` that it cannot be told yet. Nothing passes because there was nothing to see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import exp

from tarsrelease.gates.gauges import longest_above
from tarsrelease.gates.statistics import (
    log_evidence_above,
    log_evidence_below,
    proof_needs,
    required_requests,
)
from tarsrelease.gates.words import amount, count, names, percent
from tarsrelease.model.cluster import DeploymentState, PodState
from tarsrelease.model.measurement import Counts, Gauges, Track, Unmeasured
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.model.rollout import (
    GaugeCheck,
    ProportionCheck,
    ReadyCheck,
    RestartsCheck,
    Rollout,
    Stage,
)

HOPELESS = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
    }
)
"""Reasons of waiting containers that time alone does not mend."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How sure and how patient the checks are. Times in seconds.

    `alpha` is the chance of a false alarm that one proportion check may have; readings older
    than `stale_after` are no readings.
    """

    alpha: float
    confidence: float
    stale_after: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """What was read of the pods: the Deployments and pods as they are, and what was remembered.

    `restarts` is by Deployment and ``pod/container``, since the stage began; `incomplete_for`
    gives the seconds that a Deployment has lacked pods.
    """

    deployments: Mapping[str, DeploymentState]
    pods: Sequence[PodState]
    restarts: Mapping[str, Mapping[str, int]]
    incomplete_for: Mapping[str, float]

    def pods_of(self, deployment: str) -> list[PodState]:
        """The Deployment's pods that are not on their way out."""
        return [pod for pod in self.pods if pod.owner == deployment and not pod.terminating]


@dataclass(frozen=True, slots=True)
class Sight:
    """All that one look saw of the judged side.

    `counts` is by SLI and service, `gauges` by SLI and Deployment; `sources` gives each SLI's
    selector. `now` is the metrics server's present (Unix time), `elapsed` seconds since the shift.
    """

    counts: Mapping[str, Mapping[str, Counts | Unmeasured]]
    gauges: Mapping[str, Mapping[str, Gauges | Unmeasured]]
    cluster: Cluster | Unmeasured
    sources: Mapping[str, str]
    now: float
    elapsed: float


_NOT_ASKED = Unmeasured("it was not asked for")


def evaluate(
    stage: Stage, rollout: Rollout, track: Track, sight: Sight, patience: Patience
) -> tuple[Check, ...]:
    """Every check of the stage, for each service and, where it has pods, for each worker."""
    results: list[Check] = []
    workloads = judged(rollout, track)
    for rule in stage.checks:
        if isinstance(rule, ProportionCheck):
            for service in rollout.services:
                measured = sight.counts.get(rule.sli, {}).get(service.name, _NOT_ASKED)
                results.append(proportion(rule, service.name, measured, sight, patience))
            continue
        for name, deployment in workloads.items():
            if isinstance(rule, GaugeCheck):
                readings = sight.gauges.get(rule.sli, {}).get(deployment, _NOT_ASKED)
                unit = getattr(rollout.slis[rule.sli], "unit", "count")
                results.append(gauge(rule, name, deployment, readings, sight, patience, unit=unit))
            elif isinstance(rule, ReadyCheck):
                results.append(ready(rule, name, deployment, sight.cluster))
            else:
                results.append(restarts(rule, name, deployment, sight.cluster, sight.elapsed))
    return tuple(results)


def judged(rollout: Rollout, track: Track) -> dict[str, str]:
    """Names of services and workers to the Deployments of one side, in the rollout's order."""
    on_canary = track is Track.CANARY
    services = {
        each.name: (each.canary if on_canary else each.stable).deployment
        for each in rollout.services
    }
    workers = {each.name: each.canary if on_canary else each.stable for each in rollout.workers}
    return services | workers


def proportion(
    rule: ProportionCheck,
    service: str,
    measured: Counts | Unmeasured,
    sight: Sight,
    patience: Patience,
) -> Check:
    """The share of bad requests against its limit.

    Proof comes first: what is proven bad stays so, however old the newest sample is.
    """
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
            service=service,
            observed=observed,
            expected=expected,
            reason=reason,
            source=sight.sources.get(rule.sli, ""),
            window=sight.elapsed,
            samples=None if counts is None else round(counts.total),
            needed=needed,
        )

    if isinstance(measured, Unmeasured):
        return check(Status.ERROR, f"not measured: {measured.reason}")
    if measured.total <= 0:
        since = "no requests yet" if measured.newest is not None else "no series yet"
        return check(Status.INCONCLUSIVE, f"{since}; {needed} are needed to tell")
    bad, total = measured.bad, measured.total
    evidence = log_evidence_above(bad, total, limit)
    said = f"{bad:.0f} of {count(total, 'request')} bad ({percent(bad / total)})"
    if evidence >= proof_needs(patience.alpha):
        odds = f"10^{evidence / 2.302585:.0f}" if evidence > 20 else f"{exp(evidence):.0f}"
        return check(
            Status.FAIL,
            f"{said}: proof beyond the limit (evidence {odds} to 1, "
            f"needed {1 / patience.alpha:.0f} to 1)",
        )
    age = sight.now - (measured.newest if measured.newest is not None else sight.now)
    if age > patience.stale_after:
        return check(Status.ERROR, f"{said}, but the newest sample of a pod is {age:.0f} s old")
    if total < needed:
        return check(Status.INCONCLUSIVE, f"{said}; {needed} requests are needed to tell")
    share = bad / total
    beyond = share > limit if good_is_shown else share >= limit
    if beyond:
        return check(Status.INCONCLUSIVE, f"{said}: beyond the limit, but not proven")
    if rule.proof == "strict":
        sure = log_evidence_below(bad, total, limit) >= proof_needs(1 - patience.confidence)
        if not sure:
            return check(Status.INCONCLUSIVE, f"{said}: within the limit, but not proven")
        return check(Status.PASS, f"{said}: proven within the limit")
    return check(Status.PASS, f"{said}; {needed} were needed to tell")


def gauge(
    rule: GaugeCheck,
    name: str,
    deployment: str,
    measured: Gauges | Unmeasured,
    sight: Sight,
    patience: Patience,
    *,
    unit: str,
) -> Check:
    """Every pod's reading against a limit; it fails when one stays beyond it for `sustained`."""
    latest: dict[str, float] = {}

    def check(status: Status, reason: str, observed: float | None = None) -> Check:
        return Check(
            id=rule.id,
            status=status,
            service=name,
            observed=None if observed is None else Observed(value=observed, unit=unit),
            expected=f"< {amount(rule.below, unit)} in every pod",
            reason=reason,
            source=sight.sources.get(rule.sli, ""),
            window=sight.elapsed,
            samples=sum(map(len, measured.by_pod.values()))
            if isinstance(measured, Gauges)
            else None,
        )

    if isinstance(measured, Unmeasured):
        return check(Status.ERROR, f"not measured: {measured.reason}")
    for pod, samples in measured.by_pod.items():
        lasted = longest_above(samples, rule.below)
        if lasted >= rule.sustained and lasted > 0:
            highest = max(sample.value for sample in samples)
            return check(
                Status.FAIL,
                f"pod {pod} stayed at or above the limit for {lasted:.0f} s "
                f"(up to {amount(highest, unit)})",
                highest,
            )
    if isinstance(sight.cluster, Unmeasured):
        return check(Status.ERROR, f"which pods to expect is not known: {sight.cluster.reason}")
    running = [pod for pod in sight.cluster.pods_of(deployment) if pod.phase == "Running"]
    if not running:
        return check(Status.INCONCLUSIVE, f"{deployment} has no running pod")
    missing, young = [], []
    for state in running:
        samples = measured.by_pod.get(state.name, ())
        if samples and sight.now - samples[-1].time <= patience.stale_after:
            latest[state.name] = samples[-1].value
        elif _age(state.started_at, sight.now) <= patience.stale_after or (
            sight.elapsed <= patience.stale_after
        ):
            young.append(state.name)
        else:
            missing.append(state.name)
    if missing:
        return check(Status.ERROR, f"no reading of {names(missing)}")
    observed = max(latest.values()) if latest else None
    if young:
        return check(Status.INCONCLUSIVE, f"no reading yet of {names(young)}", observed)
    worst_pod = max(latest, key=lambda pod: latest[pod])
    said = f"the highest of {count(len(latest), 'pod')} is {amount(latest[worst_pod], unit)}"
    if latest[worst_pod] >= rule.below:
        return check(
            Status.INCONCLUSIVE,
            f"{said} ({worst_pod}); it fails when it stays for {rule.sustained:g} s",
            observed,
        )
    return check(Status.PASS, said, observed)


def _age(started_at: datetime | None, now: float) -> float:
    if started_at is None:
        return 0.0
    return (datetime.fromtimestamp(now, UTC) - started_at).total_seconds()


def ready(rule: ReadyCheck, name: str, deployment: str, cluster: Cluster | Unmeasured) -> Check:
    """All wanted pods are ready; those that cannot become so fail at once."""

    def check(status: Status, reason: str, observed: float | None = None) -> Check:
        return Check(
            id=rule.id,
            status=status,
            service=name,
            observed=None if observed is None else Observed(value=observed, unit="count"),
            expected=f"every wanted pod ready, within {rule.within:g} s",
            reason=reason,
            source=f"deployment/{deployment}",
        )

    if isinstance(cluster, Unmeasured):
        return check(Status.ERROR, f"not read: {cluster.reason}")
    state = cluster.deployments.get(deployment)
    if state is None:
        return check(Status.FAIL, "there is no such Deployment")
    pods = cluster.pods_of(deployment)
    for pod in pods:
        for container in pod.containers:
            if container.waiting in HOPELESS:
                return check(Status.FAIL, f"{pod.name}/{container.name}: {container.waiting}")
    if state.replicas == 0:
        return check(Status.FAIL, "no pod is wanted: it is scaled to zero", 0)
    able = sum(pod.ready for pod in pods)
    said = f"{able} of {state.replicas} pods ready"
    if state.complete and able == len(pods) == state.replicas:
        return check(Status.PASS, said, able)
    waited = cluster.incomplete_for.get(deployment, 0.0)
    if waited > rule.within:
        return check(Status.FAIL, f"{said}, for {waited:.0f} s", able)
    return check(Status.INCONCLUSIVE, f"{said}, for {waited:.0f} s", able)


def restarts(
    rule: RestartsCheck,
    name: str,
    deployment: str,
    cluster: Cluster | Unmeasured,
    elapsed: float,
) -> Check:
    """Containers, init containers too, that restarted since the stage began."""

    def check(status: Status, reason: str, observed: int | None = None) -> Check:
        return Check(
            id=rule.id,
            status=status,
            service=name,
            observed=None if observed is None else Observed(value=observed, unit="count"),
            expected=f"≤ {rule.at_most} since the stage began",
            reason=reason,
            source=f"deployment/{deployment}",
            window=elapsed,
        )

    if isinstance(cluster, Unmeasured):
        return check(Status.ERROR, f"not read: {cluster.reason}")
    counted = cluster.restarts.get(deployment, {})
    total = sum(counted.values())
    if total > rule.at_most:
        who = names([f"{container} {times} times" for container, times in sorted(counted.items())])
        return check(Status.FAIL, f"restarted: {who}", total)
    if not cluster.pods_of(deployment):
        return check(Status.INCONCLUSIVE, f"{deployment} has no pod to look at")
    return check(Status.PASS, count(total, "restart"), total)
