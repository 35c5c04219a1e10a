"""Staging's answers to the same requests: production's baseline when stable has no traffic."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tarsrelease.gates.measure import attribution, queries
from tarsrelease.model.checks import StagingDriftCheck
from tarsrelease.model.environment import Environment
from tarsrelease.model.measurement import Counts, Requests, Track, Unmeasured
from tarsrelease.model.release import Release
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.metrics import Metrics

_LEAST_STALE = 15.0


def requests_in_staging(
    release: Release,
    staging: Environment,
    rule: StagingDriftCheck,
    since: datetime,
    *,
    metrics: Metrics,
    clock: Clock,
) -> Requests:
    """The rule's requests to stable in staging since `since`, at the release's version.

    A service whose newest sample is older than three scrapes is Unmeasured. `metrics` are
    staging's. Raises what the port raises.
    """
    rollout, interval = release.rollout, staging.prometheus.scrape_interval
    server = metrics.server_time()
    shift = server - (clock.now() - since).total_seconds()
    asked = queries.queries_of(
        rollout.stages[-1].model_copy(update={"checks": (rule,)}),
        rollout,
        staging.kubernetes.namespace,
        [release.version],
    )
    measurements = queries.open_measurements(
        asked, rollout.labels, dict.fromkeys(Track, release.version), shift, interval
    )
    known = attribution.known(rollout, staging.kubernetes.namespace)
    measurements = queries.attribute(measurements, known, dict.fromkeys(Track, release.version))
    answers = metrics.series(asked.asked, measurements.seconds(server))
    measurements = queries.enter(measurements, answers, server, births={})
    services = [each.name for each in rollout.services]
    found = queries.counts(measurements, services, alive=None)[rule.sli]
    oldest = server - max(3 * interval, _LEAST_STALE)
    return Requests({name: _fresh(found[name, Track.STABLE], oldest) for name in services})


def _fresh(counts: Counts | Unmeasured, oldest: float) -> Counts | Unmeasured:
    """Counts without the newest sample's time, which comes from staging's clock."""
    if isinstance(counts, Unmeasured) or counts.newest is None:
        return counts
    if counts.newest < oldest:
        return Unmeasured("its newest sample is too old")
    return replace(counts, newest=None)
