"""doctor: check every precondition of a release, and name the command that mends each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tarsrelease.context import Context
from tarsrelease.gates.stats.sequential_test import required_requests
from tarsrelease.model.base import Value
from tarsrelease.model.checks import ProportionCheck
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.format import duration, names
from tarsrelease.model.outcome import Check, Observed, Outcome, Status
from tarsrelease.model.rights import Right
from tarsrelease.operations.live_traffic import live_rates
from tarsrelease.operations.outcome import StepReport
from tarsrelease.ports.people import Reviews
from tarsrelease.steps.check_environments import environment_checks
from tarsrelease.steps.check_preflight import go_or_no_go, preflight_checks

STEP = "doctor"
_LISTEN = 10.0
"""Seconds of requests that are counted."""
_SKEW = 5.0
"""Seconds: samples and leases are compared with this machine's clock."""
_GROUP = "gateway.networking.k8s.io"
_POD_METRICS = Right(group="", resource="pods/proxy", verb="get")


class Surroundings(Value):
    """What lies outside the cluster: how each is asked; None for what the environment lacks.

    `helm` and `database` return what was found and raise ReleaseError; `variables` are those of
    this process.
    """

    helm: Callable[[], str]
    database: Callable[[], str] | None
    variables: Mapping[str, str]


def doctor(context: Context, around: Surroundings, reviews: Reviews | None) -> Outcome:
    """Go if every precondition holds; what cannot be checked does not pass."""
    report = StepReport(context, STEP)
    checks = [
        *_asked("doctor.helm", "Helm 4 or 3", lambda: [_found("doctor.helm", around.helm())]),
        *_variables(context.environment, around.variables),
        *preflight_checks(context, None),
        *_asked("doctor.pod_metrics", "the right to read", lambda: _pod_metrics(context)),
        *_asked("doctor.gateway_api", "the routes' kinds", lambda: [_gateway_api(context)]),
        *_gateway(context),
        *_asked("doctor.traffic", "enough requests", lambda: _traffic(context)),
        *_asked("doctor.clock", f"within {duration(_SKEW)}", lambda: [_clock(context)]),
        *_database(around.database),
        *_people(context.environment, reviews),
    ]
    return go_or_no_go(report, checks)


def _check(check_id: str, status: Status, expected: str, reason: str, **more: Any) -> Check:
    return Check(id=check_id, status=status, expected=expected, reason=reason, **more)


def _found(check_id: str, what: str) -> Check:
    return _check(check_id, Status.PASS, "it answers", what)


def _asked(check_id: str, expected: str, ask: Callable[[], Iterable[Check]]) -> list[Check]:
    """The checks, or the error with what to do about it."""
    try:
        return list(ask())
    except ReleaseError as error:
        reason = f"{error.detail.found}; {error.detail.next}"
        return [_check(check_id, Status.ERROR, expected, reason)]


def _variables(environment: Environment, variables: Mapping[str, str]) -> Iterator[Check]:
    """The variables that the environment file names; those of channels are a check of their own."""
    content = environment.model_dump(exclude={"github"})
    channels = dict(_named(content.pop("notifications"), "notifications"))
    for check_id, wanted in (
        ("doctor.variables", dict(_named(content, ""))),
        ("doctor.channels", channels),
    ):
        missing = [f"{name} ({key})" for key, name in wanted.items() if not variables.get(name)]
        status = Status.FAIL if missing else Status.PASS if wanted else Status.SKIPPED
        reason = names(list(wanted.values())) or "the environment file names none"
        if missing:
            reason = (
                f"not set: {names(missing)}; run `export {missing[0].split()[0]}=…`, and add it to "
                "the secrets of the pipeline's environments"
            )
        yield _check(
            check_id,
            status,
            "every variable that the environment file names is set",
            reason,
            source=f"environments/{environment.name}.yaml",
        )


def _named(content: Any, path: str) -> Iterator[tuple[str, str]]:
    """Keys that end in ``_env`` with the variables they name."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            below = f"{path}.{key}" if path else str(key)
            if str(key).endswith("_env") and isinstance(value, str):
                yield below, value
            else:
                yield from _named(value, below)
    elif isinstance(content, list | tuple):
        for number, value in enumerate(content):
            yield from _named(value, f"{path}[{number}]")


def _pod_metrics(context: Context) -> list[Check]:
    if context.environment.metrics == "prometheus":
        return []
    lacking = context.cluster.facts.lacking((_POD_METRICS,))
    namespace = context.environment.kubernetes.namespace
    return [
        _check(
            "doctor.pod_metrics",
            Status.FAIL if lacking else Status.PASS,
            "the right to read the pods' own metrics",
            f"missing: {_POD_METRICS}; run `kubectl apply --namespace {namespace} --filename "
            "rbac/pod-metrics.yaml`"
            if lacking
            else str(_POD_METRICS),
            source="SelfSubjectAccessReview",
        )
    ]


def _gateway_api(context: Context) -> Check:
    wanted = sorted({ref.kind for s in context.rollout.services for ref in s.route_refs})
    served = context.cluster.facts.served(_GROUP, "v1")
    missing = [kind for kind in wanted if kind not in served]
    return _check(
        "doctor.gateway_api",
        Status.FAIL if missing else Status.PASS,
        f"the cluster serves {names(wanted)}",
        f"not served: {names(missing)}; install the Gateway API: `kubectl apply --server-side "
        "--filename standard-install.yaml` of its release, and a gateway that supports it"
        if missing
        else names(wanted),
        source=f"{_GROUP}/v1",
    )


def _gateway(context: Context) -> Iterator[Check]:
    """Each service's first smoke path, as a user would ask for it."""
    for service in context.rollout.services:
        host = context.environment.gateway.hostnames[service.hosts[0]]
        path, status = service.smoke[0].path, Status.PASS
        try:
            code, _ = context.cluster.gateway.get(host, path, {})
            reason = f"GET {path} at {host} returned {code}"
            if code >= 500 or code == 404:
                status = Status.FAIL
                reason += f"; look at the route: `kubectl describe {service.route_refs[0]}`"
        except ReleaseError as error:
            status, reason = Status.ERROR, f"{error.detail.found}; {error.detail.next}"
        yield _check(
            "doctor.gateway",
            status,
            "stable answers through the gateway",
            reason,
            service=service.name,
            source=context.environment.gateway.address,
        )


def _traffic(context: Context) -> list[Check]:
    """Whether the stages get the requests that their checks require."""
    rates = live_rates(context, _LISTEN)
    rollout = context.rollout
    checks = []
    for service in rollout.services:
        poor = []
        least = min((r for (_, name), r in rates.items() if name == service.name), default=0.0)
        for stage in rollout.stages:
            lasting = stage.duration + stage.max_extension
            for rule in stage.checks:
                if not isinstance(rule, ProportionCheck):
                    continue
                needed = required_requests(rule.bad_limit, rollout.statistics.confidence)
                rate = rates.get((rule.sli, service.name), 0.0)
                got = rate * stage.weight / 100 * lasting
                if got < needed:
                    poor.append(f"{rule.id} at {stage.weight} % gets {got:.0f} of {needed}")
        said = f"{least:.3g} requests/s"
        checks.append(
            _check(
                "doctor.traffic",
                Status.FAIL if poor else Status.PASS,
                "every stage gets the requests that its checks require",
                f"{said}; {names(poor)}; `tarsrelease canary plan` says which stages would decide, "
                "and docs/planning.md what to do with little traffic"
                if poor
                else f"{said}, enough for every stage",
                service=service.name,
                observed=Observed(value=round(least, 3), unit="requests/s"),
                window=_LISTEN,
            )
        )
    return checks


def _clock(context: Context) -> Check:
    """This machine's clock against the API server's and the metrics server's."""
    now = context.clock.now().timestamp()
    ahead = {"the API server": now - context.cluster.facts.server_time()}
    now = context.clock.now().timestamp()
    ahead["the metrics server"] = now - context.metrics.samples.server_time()
    wrong = [
        f"{duration(abs(seconds))} {'ahead of' if seconds > 0 else 'behind'} {whose}"
        for whose, seconds in ahead.items()
        if abs(seconds) > _SKEW
    ]
    most = max(abs(seconds) for seconds in ahead.values())
    return _check(
        "doctor.clock",
        Status.FAIL if wrong else Status.PASS,
        f"this machine's clock within {duration(_SKEW)} of the servers'",
        f"{names(wrong)}; run `timedatectl set-ntp true`" if wrong else f"within {duration(most)}",
        observed=Observed(value=round(most, 3), unit="s"),
    )


def _database(ask: Callable[[], str] | None) -> list[Check]:
    expected = "the database answers"
    if ask is None:
        reason = "the environment file has no database"
        return [_check("doctor.database", Status.SKIPPED, expected, reason)]
    return _asked("doctor.database", expected, lambda: [_found("doctor.database", ask())])


def _people(environment: Environment, reviews: Reviews | None) -> list[Check]:
    expected = "environments with reviewers and branch rules"
    settings = environment.github
    if settings is None or reviews is None:
        reason = "the environment file has no github" if settings is None else "--offline"
        return [_check("doctor.environments", Status.SKIPPED, expected, reason)]
    create = f"`tarsrelease init --github --environment {environment.name}` prints the commands"
    return [
        check
        if check.status in (Status.PASS, Status.SKIPPED)
        else check.model_copy(update={"reason": f"{check.reason}; {create}"})
        for check in _asked(
            "doctor.environments",
            expected,
            lambda: environment_checks(settings, reviews),
        )
    ]
