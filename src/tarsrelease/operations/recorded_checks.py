"""One evaluation of recorded metrics: a stage's checks over a window in the past."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tarsrelease.context import Context
from tarsrelease.gates.checks import ClusterState, Inputs, Patience, evaluate, judged
from tarsrelease.gates.measure import attribution, queries
from tarsrelease.gates.measure import pods as pod_memory
from tarsrelease.gates.stats.alpha_budget import alpha_per_check
from tarsrelease.model.errors import UsageError
from tarsrelease.model.format import duration
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Check
from tarsrelease.model.release import Release
from tarsrelease.model.rollout import Stage

ALONE = frozenset({"proportion", "gauge", "ready", "restarts", "absent"})
"""Kinds of check that need only one track; the others compare, or query another system."""
LONGEST = 3600.0
"""Seconds of raw samples that one evaluation reads at most."""


def stage_of(release: Release, window: float, kinds: frozenset[str] = ALONE) -> Stage:
    """The last stage with the checks of these kinds, over `window` seconds.

    Raises UsageError if the stage has no such check, or the window is longer than LONGEST.
    """
    last = release.rollout.stages[-1]
    checks = tuple(rule for rule in last.checks if rule.kind in kinds)
    if not checks or not 0 < window <= LONGEST:
        raise UsageError(
            doing="choosing the checks for stable",
            found=f"a window of {duration(window)}"
            if checks
            else f"the last stage has no check of kind {', '.join(sorted(kinds))}",
            expected=f"at least one such check, and a window of at most {duration(LONGEST)}",
            next_step="use --window 10m, and see the last stage in rollout.yaml",
        )
    return last.model_copy(update={"checks": checks, "duration": window})


def recorded_checks(context: Context, stage: Stage, *, version: str | None) -> tuple[Check, ...]:
    """Results of stable over the last `stage.duration` seconds; `version` None accepts any.

    Counts restarts over the pods' lifetime. Raises what the ports raise.
    """
    rollout, environment = context.rollout, context.environment
    metrics, workloads = context.metrics.samples, context.cluster.workloads
    interval = environment.prometheus.scrape_interval
    now = context.clock.now()
    since = now - timedelta(seconds=stage.duration)
    server = metrics.server_time()
    skew = server - now.timestamp()
    asked = queries.queries_of(
        stage, rollout, environment.kubernetes.namespace, [version] if version else [""]
    )
    measurements = queries.open_measurements(
        asked,
        rollout.labels,
        {Track.STABLE: version, Track.CANARY: version},
        since.timestamp() + skew,
        interval,
        Track.CANARY,
    )
    deployments, pods = workloads.deployments(), workloads.pods()
    known = attribution.known(rollout, environment.kubernetes.namespace)
    known = replace(known, pods=known.pods.seen(pods, deployments))
    measurements = queries.attribute(measurements, known, dict.fromkeys(Track, version))
    births = {pod.name: pod.started_at.timestamp() + skew for pod in pods if pod.started_at}
    answers = metrics.series(asked.asked, measurements.seconds(server))
    measurements = queries.enter(measurements, answers, server, births)
    memory = pod_memory.remember(
        pod_memory.PodMemory(baseline={}), deployments, pods, since=since, now=now.timestamp()
    )
    workers = judged(rollout, Track.STABLE)
    ready = frozenset(pod.name for pod in pods if pod.ready and not pod.terminating)
    inputs = Inputs(
        counts=queries.counts(measurements, [each.name for each in rollout.services], ready),
        gauges=queries.readings(measurements, memory.owners or {}, workers.values()),
        cluster=ClusterState(
            deployments={each.name: each for each in deployments},
            pods=pods,
            restarts={name: memory.restarts(name) for name in workers.values()},
            incomplete_for=dict.fromkeys(workers.values(), 0.0),
        ),
        sources=asked.sources,
        now=server,
        elapsed=stage.duration,
    )
    patience = Patience(
        alpha=alpha_per_check(rollout),
        confidence=rollout.statistics.confidence,
        stale_after=max(3 * interval, 15.0),
        false_pass=rollout.statistics.false_pass,
    )
    return evaluate(stage, rollout, Track.STABLE, inputs, patience)
