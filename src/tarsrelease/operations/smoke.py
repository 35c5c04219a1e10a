"""Smoke tests: requests with the canary's header, before the canary has traffic."""

from __future__ import annotations

from datetime import datetime

from tarsrelease.context import Context
from tarsrelease.model.errors import UnreachableError
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.model.rollout import Service, SmokeRequest

CHECK_ID = "canary.smoke"
HEALTH_ID = "rollback.health"
_POLL = 0.2


def smoke_test(context: Context) -> tuple[Check, ...]:
    """Results of every service's smoke requests, sent to the canary by header.

    Repeats a request until it gets the expected answer, until `gateway.settle` has passed since
    the first request of all.
    """
    context.say("smoke test: sending requests to the canary by header")
    started = context.clock.now()
    return tuple(
        _until_answered(context, service, request, started)
        for service in context.rollout.services
        for request in service.smoke
    )


def health(context: Context) -> tuple[Check, ...]:
    """Results of the services' smoke paths through the gateway, after a rollback.

    Requires only that there is no server error: the previous version may answer differently.
    """
    clock, checks = context.clock, []
    for service in context.rollout.services:
        request, host = service.smoke[0], _host(context, service)
        started = clock.now()
        while True:
            status, reason = Status.PASS, ""
            try:
                code, _ = context.cluster.gateway.get(host, request.path, {})
                reason = f"GET {request.path} returned {code}"
                if code >= 500:
                    status = Status.FAIL
            except UnreachableError as error:
                code, status, reason = 0, Status.ERROR, error.detail.found
            waited = (clock.now() - started).total_seconds()
            if status is Status.PASS or waited >= context.environment.gateway.settle:
                break
            clock.sleep(_POLL)
        checks.append(
            Check(
                id=HEALTH_ID,
                status=status,
                service=service.name,
                observed=Observed(value=code or None, unit="status"),
                expected="no server error",
                reason=reason,
                source=f"http://{host}{request.path} through the gateway",
            )
        )
    return tuple(checks)


def _host(context: Context, service: Service) -> str:
    return context.environment.gateway.hostnames[service.hosts[0]]


def _until_answered(
    context: Context, service: Service, request: SmokeRequest, started: datetime
) -> Check:
    clock = context.clock
    while True:
        check = _asked(context, service, request)
        waited = (clock.now() - started).total_seconds()
        if check.status is Status.PASS or waited >= context.environment.gateway.settle:
            return check
        clock.sleep(_POLL)


def _asked(context: Context, service: Service, request: SmokeRequest) -> Check:
    host = _host(context, service)
    expected = f"status {request.status}" + (
        f", with {request.contains!r} in the body" if request.contains else ""
    )
    code: int | None = None
    try:
        headers = {context.environment.gateway.canary_header: "always"}
        code, body = context.cluster.gateway.get(host, request.path, headers)
    except UnreachableError as error:
        status, reason = Status.ERROR, f"GET {request.path}: {error.detail.found}"
    else:
        if code != request.status:
            status, reason = Status.FAIL, f"GET {request.path} returned {code}"
        elif request.contains is not None and request.contains not in body:
            status = Status.FAIL
            reason = (
                f"GET {request.path}: the body does not contain {request.contains!r}: "
                f"{body[:200]!r}"
            )
        else:
            status, reason = Status.PASS, f"GET {request.path} returned {code}"
    return Check(
        id=CHECK_ID,
        status=status,
        service=service.name,
        observed=Observed(value=code, unit="status"),
        expected=expected,
        reason=reason,
        source=f"http://{host}{request.path} with the canary's header",
    )
