"""Smoke tests: requests that the canary's header leads to the canary, before it has traffic."""

from __future__ import annotations

from datetime import datetime

from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UnreachableError
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.model.release import Release
from tarsrelease.model.rollout import Service, SmokeRequest
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Web
from tarsrelease.ports.people import Progress

CHECK_ID = "canary.smoke"
HEALTH_ID = "rollback.health"
_POLL = 0.2


def smoke_test(
    release: Release, environment: Environment, *, web: Web, clock: Clock, progress: Progress
) -> tuple[Check, ...]:
    """Every service's smoke requests, sent to the canary by header.

    A request is repeated until it is answered as it should be, for as long as the gateway may
    take to follow its routes (`gateway.settle`, counted from the first request of all).
    """
    progress.say("smoke test: requests by header, which only the canary gets")
    started = clock.now()
    headers = {environment.gateway.canary_header: "always"}
    return tuple(
        _until_answered(service, request, environment, headers, started, web, clock)
        for service in release.rollout.services
        for request in service.smoke
    )


def health(
    release: Release, environment: Environment, *, web: Web, clock: Clock
) -> tuple[Check, ...]:
    """The services' smoke paths through the gateway as users reach them, after a rollback.

    The version of before need not answer as the new one should: no server error is asked for.
    """
    checks = []
    for service in release.rollout.services:
        request, host = service.smoke[0], _host(service, environment)
        started = clock.now()
        while True:
            status, reason = Status.PASS, ""
            try:
                code, _ = web.get(host, request.path, {})
                reason = f"GET {request.path} answers {code}"
                if code >= 500:
                    status = Status.FAIL
            except UnreachableError as error:
                code, status, reason = 0, Status.ERROR, error.detail.found
            waited = (clock.now() - started).total_seconds()
            if status is Status.PASS or waited >= environment.gateway.settle:
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


def _host(service: Service, environment: Environment) -> str:
    return environment.gateway.hostnames[service.hosts[0]]


def _until_answered(
    service: Service,
    request: SmokeRequest,
    environment: Environment,
    headers: dict[str, str],
    started: datetime,
    web: Web,
    clock: Clock,
) -> Check:
    host = _host(service, environment)
    while True:
        check = _asked(service, request, host, headers, web)
        waited = (clock.now() - started).total_seconds()
        if check.status is Status.PASS or waited >= environment.gateway.settle:
            return check
        clock.sleep(_POLL)


def _asked(
    service: Service, request: SmokeRequest, host: str, headers: dict[str, str], web: Web
) -> Check:
    expected = f"status {request.status}" + (
        f", with {request.contains!r} in the body" if request.contains else ""
    )
    code: int | None = None
    try:
        code, body = web.get(host, request.path, headers)
    except UnreachableError as error:
        status, reason = Status.ERROR, f"GET {request.path}: {error.detail.found}"
    else:
        if code != request.status:
            status, reason = Status.FAIL, f"GET {request.path} answers {code}"
        elif request.contains is not None and request.contains not in body:
            status = Status.FAIL
            reason = f"GET {request.path}: the body lacks {request.contains!r}: {body[:200]!r}"
        else:
            status, reason = Status.PASS, f"GET {request.path} answers {code}"
    return Check(
        id=CHECK_ID,
        status=status,
        service=service.name,
        observed=Observed(value=code, unit="status"),
        expected=expected,
        reason=reason,
        source=f"http://{host}{request.path} with the canary's header",
    )
