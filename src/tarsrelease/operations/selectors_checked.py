"""Whether stable's series have what the SLIs' selectors ask for, before a release depends on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median

from tarsrelease.gates.measure import attribution, presence, queries, vocabulary
from tarsrelease.gates.study import recorded_requests
from tarsrelease.model.checks import ReconnectsCheck, Scope
from tarsrelease.model.cluster import DeploymentState
from tarsrelease.model.environment import Environment
from tarsrelease.model.format import duration, names
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Check, Status
from tarsrelease.model.rollout import ProportionSli, Rollout
from tarsrelease.ports.metrics import History

FITS = "the selectors fit the series"
WINDOW = 600.0
"""Seconds of stable's past that are read."""
_DAY, _STEP = 86400.0, 300.0
"""How far back samples are looked for that have stopped, and at which moments."""
_FEW = 10
"""The newest samples of a series, which tell how often it is scraped."""


def check_selectors(
    rollout: Rollout,
    environment: Environment,
    history: History,
    check_id: str,
    deployments: Sequence[DeploymentState] = (),
) -> tuple[Check, ...]:
    """One result for each service: what could not be measured, and what is left out or merged.

    `deployments` say how often the kubelet probes. Pods' own pages have no past, so what comes too
    often, too seldom or from probes is not found there. Raises what the port raises. Without any
    series of stable nothing can be told: skipped.
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
    begin, of_pods_alone = end - WINDOW, environment.metrics == "pods"
    if of_pods_alone:  # their pages of this moment, of which nothing has been counted yet
        begin, deployments = end + WINDOW, ()
        answers = history.between(asked.asked, end - WINDOW, begin)
    else:
        answers = history.recorded(asked.asked, begin, end, interval)
    read = queries.open_measurements(asked, rollout.labels, {}, begin, interval)
    known = attribution.known(rollout, environment.kubernetes.namespace)
    read = queries.attribute(read, known, dict.fromkeys(Track, None))
    read = queries.enter(read, answers, end, {})
    decides = _deciding_slis(rollout)
    keys = [(service.name, Track.STABLE) for service in rollout.services]
    found = presence.findings(asked.proportions, asked.may_be_absent, read.counters, keys)
    counted = {sli: of for sli, (of, _, _) in asked.proportions.items()}
    expected = {sli: of for sli, of in counted.items() if sli in _expected_slis(rollout)}
    found += presence.unseen(expected, read.counters, keys, rollout.labels, known)
    of_pods = {sli: of for sli, of in expected.items() if not _from_a_gateway(rollout, sli)}
    probes = _probes(rollout, deployments, interval)
    found += presence.untold_probes(of_pods, read.counters, keys, probes, WINDOW)
    asked_for = _probe_paths(rollout, deployments)
    found += presence.other_probes(of_pods, read.counters, keys, asked_for, WINDOW)
    if not of_pods_alone:
        found += _as_scraped(rollout, expected, history, end, interval)
    found = [
        each._replace(serious=each.serious and decides.get((each.sli, each.service), False))
        for each in found
        if not each.service or (each.sli, each.service) in decides
    ]
    return tuple(_of_service(service.name, found, read, check_id) for service in rollout.services)


def _as_scraped(
    rollout: Rollout, counted: Mapping[str, str], history: History, end: float, interval: float
) -> list[presence.Finding]:
    """SLIs whose samples stopped, or come more seldom than the environment file says."""
    selectors = list(dict.fromkeys(counted.values()))
    sent = [vocabulary.as_sent(each) for each in selectors]
    raw = dict(zip(selectors, history.between(sent, end - WINDOW, end), strict=True))
    old = [each for each in selectors if not raw[each]]
    sent = [vocabulary.as_sent(each) for each in old]
    earlier = history.recorded(sent, end - _DAY, end, _STEP) if old else []
    newest = {
        each: max((line.samples[-1].time for line in series if line.samples), default=None)
        for each, series in zip(old, earlier, strict=True)
    }
    texts = {
        of: f"the newest sample is {duration(end - last)} old; is the target still scraped?"
        for of, last in newest.items()
        if last is not None
    }
    for of in selectors:
        gaps = [
            after.time - before.time
            for line in raw[of]
            if line.samples and line.samples[-1].time > end - WINDOW / 2  # of a pod that is there
            for before, after in pairwise(line.samples[-_FEW:])
        ]
        if len(gaps) >= _FEW / 2 and median(gaps) > 2 * interval:
            texts[of] = (
                f"samples come every {duration(median(gaps))}, and prometheus.scrape_interval of "
                f"the environment file is {duration(interval)}"
            )
    return [
        presence.Finding(sli, service.name, f"{vocabulary.metric_of(of)}: {texts[of]}", True)
        for sli, of in counted.items()
        if of in texts
        for service in rollout.services
    ]


def _deciding_slis(rollout: Rollout) -> dict[tuple[str, str], bool]:
    """By SLI and service that some check judges, whether one of these checks decides."""
    found: dict[tuple[str, str], bool] = {}
    for rule in (rule for stage in rollout.stages for rule in stage.checks):
        for sli in rule.named_slis() if rule.scope is Scope.SERVICES else ():
            for service in rollout.services:
                if not rule.services or service.name in rule.services:
                    key = (sli, service.name)
                    found[key] = found.get(key, False) or not rule.advisory
    return found


def _expected_slis(rollout: Rollout) -> set[str]:
    """SLIs that stable has all the time; reconnects are rare."""
    return {
        sli
        for stage in rollout.stages
        for rule in stage.checks
        for sli in rule.named_slis()
        if not isinstance(rule, ReconnectsCheck)
    }


def _from_a_gateway(rollout: Rollout, name: str) -> bool:
    """Metrics of a mesh or gateway, which the kubelet and scrapes do not pass."""
    sli = rollout.slis[name]
    return rollout.sides is not None or (isinstance(sli, ProportionSli) and sli.sides is not None)


def _probes(
    rollout: Rollout, deployments: Sequence[DeploymentState], scrape_interval: float
) -> Mapping[str, float]:
    """Probes and scrapes a second of each service's stable side; only if the kubelet probes it."""
    by_name = {each.name: each for each in deployments if each.probes > 0}
    return {
        service.name: state.replicas * (state.probes + 1 / scrape_interval)
        for service in rollout.services
        if (state := by_name.get(service.stable.deployment)) is not None
    }


def _probe_paths(
    rollout: Rollout, deployments: Sequence[DeploymentState]
) -> Mapping[str, presence.Probed]:
    """What the kubelet asks of each service's stable side."""
    by_name = {each.name: each for each in deployments}
    return {
        service.name: presence.Probed(state.replicas * state.probes, state.probe_paths)
        for service in rollout.services
        if (state := by_name.get(service.stable.deployment)) is not None
    }


def _of_service(
    name: str, found: Sequence[presence.Finding], read: queries.Measurements, check_id: str
) -> Check:
    own = [each for each in found if each.service in (name, "")]
    serious = [each for each in own if each.serious]
    said = "; ".join(dict.fromkeys(f"{each.sli}: {each.text}" for each in serious or own))
    status = Status.FAIL if serious else Status.PASS
    seen = any((name, Track.STABLE) in counter.labels for counter in read.counters.values())
    if not seen and not serious:
        asked = {vocabulary.metric_of(selector) for selector in read.counters}
        status, said = Status.SKIPPED, f"stable has no series yet of {names(sorted(asked))}"
    return Check(
        id=check_id,
        status=status,
        service=name,
        expected="series that have the labels, metrics and bounds of the SLIs' selectors",
        reason=said or FITS,
        window=WINDOW,
    )
