"""Whether stable's series have what the SLIs' selectors ask for, before a release depends on it."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.gates.measure import attribution, presence, queries
from tarsrelease.gates.study import recorded_requests
from tarsrelease.model.environment import Environment
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Check, Status
from tarsrelease.model.rollout import ProportionSli, Rollout
from tarsrelease.ports.metrics import History

WINDOW = 600.0
"""Seconds of stable's past that are read."""


def check_selectors(
    rollout: Rollout, environment: Environment, history: History, check_id: str
) -> tuple[Check, ...]:
    """One result for each service: what could not be measured, and what is left out or merged.

    Raises what the port raises. Without any series of stable nothing can be told: skipped.
    """
    asked = queries.Queries(
        recorded_requests.selectors_of(rollout, environment.kubernetes.namespace),
        {},
        None,
        may_be_absent=frozenset(
            name
            for name, sli in rollout.slis.items()
            if isinstance(sli, ProportionSli) and sli.absent == "zero"
        ),
    )
    interval, end = environment.prometheus.scrape_interval, history.server_time()
    begin = end - WINDOW
    read = queries.open_measurements(asked, rollout.labels, {}, begin, interval)
    known = attribution.known(rollout, environment.kubernetes.namespace)
    read = queries.attribute(read, known, dict.fromkeys(Track, None))
    read = queries.enter(read, history.recorded(asked.asked, begin, end, interval), end, {})
    found = presence.findings(
        asked.proportions,
        asked.may_be_absent,
        read.counters,
        [(service.name, Track.STABLE) for service in rollout.services],
    )
    return tuple(_of_service(service.name, found, read, check_id) for service in rollout.services)


def _of_service(
    name: str, found: Sequence[presence.Finding], read: queries.Measurements, check_id: str
) -> Check:
    own = [each for each in found if each.service in (name, "")]
    serious = [each for each in own if each.serious]
    said = "; ".join(dict.fromkeys(f"{each.sli}: {each.text}" for each in serious or own))
    status = Status.FAIL if serious else Status.PASS
    if not any((name, Track.STABLE) in counter.labels for counter in read.counters.values()):
        status, said = Status.SKIPPED, "stable has no series yet"
    return Check(
        id=check_id,
        status=status,
        service=name,
        expected="series that have the labels, metrics and bounds of the SLIs' selectors",
        reason=said or "the selectors fit the series",
        window=WINDOW,
    )
