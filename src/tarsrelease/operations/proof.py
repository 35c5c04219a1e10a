"""The proof at the end of a rollback: the previous version serves all requests within limits."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from functools import partial

from tarsrelease.context import Context
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.format import count, names, percent
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.model.release import Release
from tarsrelease.model.versions import same_version
from tarsrelease.operations.served import Judged, ask
from tarsrelease.operations.smoke import health
from tarsrelease.rollout.rollback_plan import stable_names

SHARE_ID = "rollback.traffic_share"
ERRORS_ID = "rollback.error_rate"
PODS_ID = "rollback.pods"
ROUTES_ID = "rollback.routes"
_POLL = 1.0


def prove(context: Context, version: str, since: datetime, deadline: float) -> tuple[Check, ...]:
    """The results of the proof; `since` is the last write of the routes.

    Repeats the measurement until it passes, for `deadline` seconds at most, because right after
    the write there are too few scrapes and requests in flight.
    """
    context.say(f"proof: checking that {version} serves all requests")
    return (
        *_measured(context, version, since, deadline),
        _pods(context, version, deadline),
        *health(context),
        _routes(context, deadline),
    )


def _measured(
    context: Context, version: str, since: datetime, deadline: float
) -> tuple[Check, ...]:
    clock, release = context.clock, context.release
    began = clock.now()
    while True:
        at = clock.now()
        try:
            found = ask(context, since)
        except ReleaseError as error:
            checks = _not_measured(release, error)
        else:
            checks = _judge(release, version, found)
        if all(check.status is Status.PASS for check in checks):
            return checks
        if (at - began).total_seconds() >= deadline:
            return checks
        if any(check.status is Status.FAIL for check in checks):
            since = at  # do not count requests from before the gateway applied the routes
        clock.sleep(_POLL)


def _not_measured(release: Release, error: ReleaseError) -> tuple[Check, ...]:
    return tuple(
        Check(
            id=check_id,
            status=Status.ERROR,
            service=service.name,
            expected=expected,
            reason=f"NOT MEASURED: {error}",
        )
        for service in release.rollout.services
        for check_id, expected in ((SHARE_ID, "100 %"), (ERRORS_ID, "within the last stage's"))
    )


def _judge(release: Release, version: str, found: Judged) -> tuple[Check, ...]:
    checks = []
    for service in release.rollout.services:
        name = service.name
        total = found.requests.total(name)
        mine = found.requests.total(name, track=Track.STABLE, version=version)
        scrapes = [
            number for server, number in found.requests.scrapes.items() if server.service == name
        ]
        if not total or min(scrapes, default=0) < 2:
            status, reason, share = Status.INCONCLUSIVE, "no requests yet", None
        else:
            share = mine / total
            status = Status.PASS if mine == total else Status.FAIL
            reason = f"{version} served {mine:.0f} of {count(total, 'request')}"
        checks.append(
            Check(
                id=SHARE_ID,
                status=status,
                service=name,
                observed=None if share is None else Observed(value=share, unit="share"),
                expected=f"100 % by {version}",
                reason=reason,
                source=found.source,
                samples=round(total),
            )
        )
        checks.append(_errors(name, version, found))
    return tuple(checks)


def _errors(name: str, version: str, found: Judged) -> Check:
    limit = found.check.bad_limit
    bad, total = found.bad(name, version)
    if not total:
        status, reason, share = Status.INCONCLUSIVE, f"no requests to {version} yet", None
    else:
        share = bad / total
        status = Status.PASS if share < limit else Status.FAIL
        reason = f"{bad:.0f} bad of {count(total, 'request')}"
    return Check(
        id=ERRORS_ID,
        status=status,
        service=name,
        observed=None if share is None else Observed(value=share, unit="share"),
        expected=f"< {percent(limit)} ({found.check.id} of the last stage)",
        reason=reason,
        source=found.source,
        samples=round(total),
    )


def _routes(context: Context, deadline: float) -> Check:
    """The result for the routes: the pods do not count what the gateway sends to a removed canary,
    if somebody gave it a weight again."""
    look = partial(_wrong_routes, context)
    status, wrong = _looked(context, deadline, look, again=(Status.ERROR,))
    expected = "no traffic to the canary"
    return Check(
        id=ROUTES_ID,
        status=status,
        expected=expected,
        reason="; ".join(wrong) or expected,
        source="routes",
    )


def _wrong_routes(context: Context) -> list[str]:
    return [
        f"{route.service} has {route.weight} %, set by {names(route.managers) or 'somebody'}"
        for route in context.cluster.routes.read(context.rollout.services)
        if route.weight > 0
    ]


def _pods(context: Context, version: str, deadline: float) -> Check:
    """The result for the pods: no canary pod is left, and stable is complete at `version`."""
    look = partial(_wrong_pods, context, version)
    status, wrong = _looked(context, deadline, look, again=(Status.ERROR, Status.FAIL))
    expected = f"stable is complete at {version}; no canary pods"
    return Check(
        id=PODS_ID,
        status=status,
        expected=expected,
        reason="; ".join(wrong) or expected,
        source="deployments and pods",
    )


def _looked(
    context: Context, deadline: float, look: Callable[[], list[str]], again: Collection[Status]
) -> tuple[Status, list[str]]:
    """The status and what is wrong; looks again after these statuses until the deadline."""
    clock = context.clock
    began = clock.now()
    while True:
        try:
            wrong = look()
        except ReleaseError as error:
            status, wrong = Status.ERROR, [str(error)]
        else:
            status = Status.FAIL if wrong else Status.PASS
        if status not in again or (clock.now() - began).total_seconds() >= deadline:
            return status, wrong
        clock.sleep(_POLL)


def _wrong_pods(context: Context, version: str) -> list[str]:
    workloads = context.cluster.workloads
    states = {state.name: state for state in workloads.deployments()}
    wrong = [
        f"pod {pod.name} is still there"
        for pod in workloads.pods()
        if pod.track is Track.CANARY and not pod.terminating
    ]
    for name in stable_names(context.rollout):
        state = states.get(name)
        if state is None:
            wrong.append(f"{name} does not exist")
        elif not same_version(state.version, version):
            wrong.append(f"{name} runs {state.version or 'no version'}")
        elif not state.complete:
            wrong.append(f"{name} has {state.ready} ready of {state.replicas} replicas")
    return wrong
