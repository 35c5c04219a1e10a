"""Measure stable against rollout.yaml's criteria: sums over sums of recorded requests."""

from __future__ import annotations

from collections.abc import Mapping

from tarsrelease.context import Context
from tarsrelease.gates.measure.selectors import render
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.format import duration, percent
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.model.readiness import Criterion
from tarsrelease.model.rollout import ProportionSli, Rollout
from tarsrelease.operations.past_requests import RecordedTraffic, Selectors
from tarsrelease.readiness.decision import CRITERION

_SLOTS = 1440
"""Points of a period: one a minute in 24 hours."""


def criteria_checks(context: Context) -> list[Check]:
    """One result per criterion; the service that is worst decides.

    A service without requests is inconclusive: no traffic is no answer.
    """
    rollout = context.rollout
    found: dict[str, Check] = {}
    for over in dict.fromkeys(each.over for each in rollout.criteria.values()):
        same = {name: each for name, each in rollout.criteria.items() if each.over == over}
        try:
            requests = _read(context, same, over)
        except ReleaseError as error:
            reason = f"{error}; {error.detail.next}"
            found |= {name: _result(rollout, name, Status.ERROR, reason) for name in same}
            continue
        for name in same:
            services = {service: sums for (of, service), sums in requests.items() if of == name}
            found[name] = judged(rollout, name, services)
    return [found[name] for name in rollout.criteria]


def _read(
    context: Context, criteria: Mapping[str, Criterion], over: float
) -> dict[tuple[str, str], tuple[float, float]]:
    """By criterion and service: bad requests and all requests."""
    environment, history = context.environment, context.metrics.samples
    namespace, interval = environment.kubernetes.namespace, environment.prometheus.scrape_interval
    slot = max(interval, over / _SLOTS)
    end = history.server_time()
    asked = {
        name: _selectors(context.rollout, each, namespace, interval)
        for name, each in criteria.items()
    }
    traffic = RecordedTraffic(
        history, context.rollout, namespace, end - over, end, slot, context.people.progress
    )
    return {
        key: (sum(bad for bad, _ in slots), sum(total for _, total in slots))
        for key, slots in traffic.read(asked).items()
    }


def _selectors(
    rollout: Rollout, criterion: Criterion, namespace: str, interval: float
) -> Selectors:
    sli = rollout.slis[criterion.sli]
    assert isinstance(sli, ProportionSli)  # noqa: S101 - the model's rule
    part = sli.bad or sli.good
    assert part is not None  # noqa: S101 - the model's rule
    of, part = (render(each, rollout, namespace, [""], interval) for each in (sli.of, part))
    return of, part, sli.good is not None


def judged(rollout: Rollout, name: str, services: Mapping[str, tuple[float, float]]) -> Check:
    """The result of a criterion from (bad, all) requests by service."""
    criterion = rollout.criteria[name]
    silent = [service for service, (_, total) in services.items() if total <= 0]
    at_most = criterion.below is not None
    shares = {
        service: bad / total if at_most else 1 - bad / total
        for service, (bad, total) in services.items()
        if total > 0
    }
    if not shares:
        return _result(rollout, name, Status.INCONCLUSIVE, "no requests were recorded")
    value = max(shares.values()) if at_most else min(shares.values())
    wrong = [service for service, share in shares.items() if not within(criterion, share)]
    status = Status.FAIL if wrong else Status.INCONCLUSIVE if silent else Status.PASS
    reason = ", ".join(f"{service} {percent(share)}" for service, share in shares.items())
    reason += f"; no requests: {', '.join(silent)}" if silent else ""
    total = round(sum(each for _, each in services.values()))
    observed = Observed(value=value, unit="share")
    return _result(rollout, name, status, reason, observed, samples=total)


def within(criterion: Criterion, share: float) -> bool:
    """Whether the share of bad requests (`below`) or of good ones (`at_least`) is in the limit."""
    if criterion.below is not None:
        return share < criterion.below
    return share >= (criterion.at_least or 0.0)


def _result(
    rollout: Rollout,
    name: str,
    status: Status,
    reason: str,
    observed: Observed | None = None,
    *,
    samples: int | None = None,
) -> Check:
    criterion = rollout.criteria[name]
    limit = (
        f"< {percent(criterion.below)} bad"
        if criterion.below is not None
        else f"≥ {percent(criterion.at_least or 0.0)} good"
    )
    sli = rollout.slis[criterion.sli]
    return Check(
        id=CRITERION,
        status=status,
        service=name,
        observed=observed,
        expected=f"{limit} over {duration(criterion.over)}",
        reason=reason,
        source=sli.of if isinstance(sli, ProportionSli) else "",
        window=criterion.over,
        samples=samples,
    )
