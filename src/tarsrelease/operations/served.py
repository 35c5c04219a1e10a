"""Query which track and version served requests since traffic was moved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from tarsrelease.context import Context
from tarsrelease.gates.checks.traffic_share import FOLLOW
from tarsrelease.gates.measure import attribution
from tarsrelease.gates.measure.selectors import render
from tarsrelease.gates.measure.served import Served, served
from tarsrelease.model.checks import ProportionCheck
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.release import Release
from tarsrelease.model.rollout import ProportionSli
from tarsrelease.operations.readings import Source, first_source, second_source


@dataclass(frozen=True, slots=True)
class Judged:
    """All requests, and the bad (or good) requests of the check that judges a service."""

    requests: Served
    other: Served
    other_is_good: bool
    check: ProportionCheck
    source: str

    def bad(self, service: str, version: str) -> tuple[float, float]:
        """(bad, all) requests to a service that `version` served."""
        total = self.requests.total(service, version=version)
        other = self.other.total(service, version=version)
        return (max(0.0, total - other) if self.other_is_good else other), total


def judging_check(release: Release) -> tuple[ProportionCheck, ProportionSli]:
    """The last stage's first proportion check, and its SLI."""
    rollout = release.rollout
    for check in rollout.stages[-1].checks:
        if isinstance(check, ProportionCheck) and not check.advisory:
            sli = rollout.slis[check.sli]
            if isinstance(sli, ProportionSli):
                return check, sli
    for name, sli in rollout.slis.items():
        if isinstance(sli, ProportionSli):
            return ProportionCheck(
                kind="proportion", id="canary.requests", sli=name, below=0.5
            ), sli
    raise ValueError("no SLI counts requests")


def ask(context: Context, since: datetime) -> Judged:
    """Requests served since the gateway applied a write made at `since`.

    From the pods' own pages if the environment reads them, because they have no scrape interval;
    from Prometheus if these cannot be read. Raises UnreachableError.
    """
    direct = second_source(context)
    if direct is not None:
        try:
            return _ask(context, direct, since)
        except ReleaseError as error:
            context.say(f"the pods' metrics cannot be read ({error}); asking Prometheus")
    return _ask(context, first_source(context), since)


def _ask(context: Context, source: Source, since: datetime) -> Judged:
    release, namespace = context.release, context.environment.kubernetes.namespace
    check, sli = judging_check(release)
    other = sli.bad or sli.good
    metrics, interval = source.samples, source.interval
    selectors = [
        render(template, release.rollout, namespace, [""], interval)
        for template in (sli.of, other)
        if template is not None
    ]
    workloads = context.cluster.workloads
    known = attribution.known(release.rollout, namespace)
    known = replace(known, pods=known.pods.seen(workloads.pods(), workloads.deployments()))
    server = metrics.server_time()
    from_then = server - (context.clock.now() - since).total_seconds() + FOLLOW
    reach = max(1.0, server - from_then + interval)
    answers = metrics.series(selectors, reach)
    labels = release.rollout.labels
    return Judged(
        requests=served(answers[0], labels, from_then, interval, known),
        other=served(answers[1], labels, from_then, interval, known),
        other_is_good=sli.good is not None,
        check=check,
        source=selectors[0],
    )
