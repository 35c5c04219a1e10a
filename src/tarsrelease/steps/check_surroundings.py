"""The part of check preflight that looks beyond the release's own objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from tarsrelease.context import Context
from tarsrelease.gates.measure import gauges, usage
from tarsrelease.model.environment import Resource
from tarsrelease.model.errors import ForbiddenError, ReleaseError
from tarsrelease.model.measurement import Sample, Series, Usage
from tarsrelease.model.result import Check
from tarsrelease.ports.surroundings import Surroundings
from tarsrelease.readiness import surroundings as found

T = TypeVar("T")

_CAPACITY_WINDOW = 120.0


def surrounding_checks(context: Context, around: Surroundings) -> tuple[Check, ...]:
    """One result or more per kind; what does not answer is an error, what is not set is skipped."""
    asked: dict[str, Callable[[], Sequence[Check]]] = {
        found.CAPACITY: lambda: _capacity(context, around),
        found.DATABASE: lambda: _database(context, around),
        found.REDIS: lambda: _redis(context, around),
        found.BACKUP: lambda: _backup(context, around),
        found.BUDGETS: lambda: _budgets(context, around),
        found.ENDPOINTS: lambda: _endpoints(context, around),
        found.CERTIFICATES: lambda: _certificates(context, around),
    }
    return tuple(check for check_id, ask in asked.items() for check in _safely(check_id, ask))


def _safely(check_id: str, ask: Callable[[], Sequence[Check]]) -> Sequence[Check]:
    try:
        return ask()
    except ReleaseError as error:
        return [found.unanswered(check_id, f"{error}; {error.detail.next}")]


def _each(check_id: str, things: Iterable[T], made: Callable[[T], Check]) -> list[Check]:
    """One result a thing; one that does not answer affects no other."""

    def one(thing: T) -> Callable[[], Sequence[Check]]:
        return lambda: [made(thing)]

    return [check for thing in things for check in _safely(check_id, one(thing))]


def _unset(check_id: str, key: str) -> list[Check]:
    return [found.skipped(check_id, f"preflight.{key} is not set in the environment file")]


def _backup(context: Context, around: Surroundings) -> Sequence[Check]:
    wanted = context.environment.preflight.backup
    if wanted is None:
        return _unset(found.BACKUP, "backup")
    return [found.backup(wanted, around.last_backup(wanted.cronjob), context.clock.now())]


def _budgets(context: Context, around: Surroundings) -> Sequence[Check]:
    def made(name: str) -> Check:
        return found.disruption_budget(name, around.disruptions_allowed(name))

    names = context.environment.preflight.disruption_budgets
    return _each(found.BUDGETS, names, made) or _unset(found.BUDGETS, "disruption_budgets")


def _endpoints(context: Context, around: Surroundings) -> Sequence[Check]:
    def made(url: str) -> Check:
        return found.endpoint(url, *around.endpoint(url))

    urls = context.environment.preflight.endpoints
    return _each(found.ENDPOINTS, urls, made) or _unset(found.ENDPOINTS, "endpoints")


def _certificates(context: Context, around: Surroundings) -> Sequence[Check]:
    environment = context.environment
    places = {p for url in environment.preflight.endpoints if (p := _https(url)) is not None}
    gateway = _https(environment.gateway.address)
    if gateway is not None:
        places |= {(name, gateway[1]) for name in environment.gateway.hostnames.values()}
    least, now = environment.preflight.certificates, context.clock.now()

    def made(place: tuple[str, int]) -> Check:
        return found.certificate(place[0], around.certificate_until(*place), now, least)

    return _each(found.CERTIFICATES, sorted(places), made) or [
        found.skipped(found.CERTIFICATES, "neither the gateway nor an endpoint is https")
    ]


def _https(url: str) -> tuple[str, int] | None:
    """Host and port of an https address."""
    found = re.match(r"https://([^/:]+)(?::(\d+))?", url)
    return None if found is None else (found[1], int(found[2] or 443))


def _redis(context: Context, around: Surroundings) -> Sequence[Check]:
    server = context.environment.preflight.redis
    if server is None:
        return _unset(found.REDIS, "redis")
    return [found.redis(server.address, *around.redis(server), server.below)]


def _database(context: Context, around: Surroundings) -> Sequence[Check]:
    settings = context.environment.database
    if settings is None:
        return [found.skipped(found.DATABASE, "the environment file names no database")]
    answer = around.database()
    if isinstance(answer, str):
        return [found.skipped(found.DATABASE, answer)]
    return found.database(*answer, settings.guards)


def _capacity(context: Context, around: Surroundings) -> Sequence[Check]:
    """Nodes by the API server, where this user may ask; everything else by Prometheus; quotas."""
    settings = context.environment.preflight
    wanted, below = dict(settings.capacity), settings.nodes_below
    checks: list[Check] = []
    known = {} if below is None else _nodes(around)
    for name, (usage_, source) in known.items():
        asked = wanted.pop(name, None)
        checks.append(found.room(name, usage_, asked.below if asked else below or 1.0, source))
    checks += _each(found.CAPACITY, wanted.items(), lambda named: _room(context, *named))
    if not checks:
        reason = _NO_NODES if below is not None else "nodes: nodes_below is null"
        checks.append(found.skipped(found.CAPACITY, reason))
    return (*checks, *_safely(found.CAPACITY, lambda: _quotas(context, around)))


_NO_NODES = (
    "nodes: no right to list them (rbac/capacity.yaml), and preflight.capacity is not set in the "
    "environment file"
)


def _nodes(around: Surroundings) -> Mapping[str, tuple[Usage, str]]:
    try:
        return found.node_usage(around.nodes())
    except ForbiddenError:
        return {}


def _quotas(context: Context, around: Surroundings) -> Sequence[Check]:
    try:
        quotas = around.quotas()
    except ForbiddenError:
        reason = "quotas: no right to list resourcequotas (rbac/capacity.yaml)"
        return [found.skipped(found.CAPACITY, reason)]
    if not quotas:
        return []
    rollout = context.release.rollout
    stable = {each.stable.deployment for each in rollout.services}
    stable |= {each.stable for each in rollout.workers}
    replicas = {
        state.name: state.replicas
        for state in context.cluster.workloads.deployments()
        if state.name in stable
    }
    needs = found.canary_needs(replicas, around.reserved())
    return [check for quota in quotas for check in found.quota_room(quota, needs)]


def _room(context: Context, name: str, resource: Resource) -> Check:
    """What is used of one resource now."""
    environment, samples = context.environment, context.metrics.samples
    interval = environment.prometheus.scrape_interval
    window = max(_CAPACITY_WINDOW, 4 * interval)
    selectors = [
        each.replace("$namespace", environment.kubernetes.namespace)
        for each in (resource.used, resource.limit)
    ]
    used, limits = samples.series(selectors, window)
    if resource.rate:
        used = [each for series in used if (each := _rate(series)) is not None]

    def key(labels: Mapping[str, str]) -> str:
        return usage.key(labels, resource.by)

    read = [gauges.gather_by({}, each, key, 0.0) for each in (used, limits)]
    return found.room(
        name,
        usage.usage(read[0], read[1], interval),
        resource.below,
        f"{selectors[0]} / {selectors[1]}",
    )


def _rate(series: Series) -> Series | None:
    """The growth per second over the samples, at the time of the last one."""
    first, last = series.samples[0], series.samples[-1]
    if last.time <= first.time or last.value < first.value:
        return None
    rate = (last.value - first.value) / (last.time - first.time)
    return Series(series.labels, (Sample(last.time, rate),))
