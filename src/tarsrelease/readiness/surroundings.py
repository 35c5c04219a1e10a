"""The results for what a release depends on outside of its own objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from tarsrelease.migrations.guards import Vitals, guard_checks
from tarsrelease.migrations.server import Server
from tarsrelease.model.capacity import Amounts, NodeUse, Quota, Reserved
from tarsrelease.model.database import DatabaseGuards
from tarsrelease.model.environment import Backup
from tarsrelease.model.format import duration, names, percent, size
from tarsrelease.model.measurement import Sample, Unmeasured, Usage
from tarsrelease.model.result import Check, Observed, Status

BACKUP = "preflight.backup"
BUDGETS = "preflight.disruption_budgets"
ENDPOINTS = "preflight.endpoints"
CERTIFICATES = "preflight.certificates"
REDIS = "preflight.redis"
DATABASE = "preflight.database"
CAPACITY = "preflight.capacity"


def skipped(check_id: str, reason: str) -> Check:
    """The result of a check that the environment file does not ask for."""
    return Check(id=check_id, status=Status.SKIPPED, expected="configured", reason=reason)


def unanswered(check_id: str, reason: str) -> Check:
    """The result of a check that could not be made."""
    return Check(id=check_id, status=Status.ERROR, expected="an answer", reason=reason)


def room(name: str, found: Usage | Unmeasured, below: float, source: str) -> Check:
    """Check that a resource has room left, by the newest reading of each thing."""
    newest = (
        {} if isinstance(found, Unmeasured) else {k: v[-1].value for k, v in found.by_thing.items()}
    )
    full = [f"{thing} {percent(share)}" for thing, share in newest.items() if share >= below]
    fullest = max(newest, key=lambda each: newest[each], default=None)
    if fullest is None:
        why = found.reason if isinstance(found, Unmeasured) else "no use goes with a limit"
        status, reason = Status.ERROR, f"{name}: not measured: {why}"
    elif full:
        status, reason = Status.FAIL, f"{name}: {names(full)}"
    else:
        status = Status.PASS
        reason = (
            f"{name}: the fullest of {len(newest)} is {fullest} with {percent(newest[fullest])}"
        )
    return Check(
        id=CAPACITY,
        status=status,
        observed=None if fullest is None else Observed(value=newest[fullest], unit="share"),
        expected=f"< {percent(below)} of each limit in use",
        reason=reason,
        source=source,
    )


def node_usage(nodes: Sequence[NodeUse]) -> dict[str, tuple[Usage, str]]:
    """By resource, how much of each node is in use and where that is from; as far as known."""
    sides: dict[str, tuple[str, list[Amounts | None]]] = {
        "requests": ("requests of all pods", [node.requested for node in nodes]),
        "use": ("metrics.k8s.io", [node.used for node in nodes]),
    }
    found = {}
    for side, (source, amounts) in sides.items():
        if not nodes or None in amounts:
            continue
        for number, resource in enumerate(("cpu", "memory")):
            shares = {
                f"node {node.name}": (Sample(0.0, each[number] / node.allocatable[number]),)
                for node, each in zip(nodes, amounts, strict=True)
                if each is not None and node.allocatable[number] > 0
            }
            found[f"node-{resource}-{side}"] = (Usage(shares, ()), source)
    return found


def quota_room(quota: Quota, needs: Mapping[str, float | None]) -> tuple[Check, ...]:
    """Whether each limit of a quota has room for the canary beside stable.

    `needs` are the canary's amounts by the quota's names; None: a container does not say.
    """
    return tuple(
        _quota(quota, name, needs[name], quota.used.get(name, 0.0), hard)
        for name, hard in quota.hard.items()
        if name in needs
    )


def _quota(quota: Quota, name: str, need: float | None, used: float, hard: float) -> Check:
    free = hard - used
    if need is None:
        status, needed = Status.SKIPPED, "NOT CHECKED: a container of stable does not say it"
    else:
        status = Status.PASS if need <= free else Status.FAIL
        needed = f"the canary needs {need:g}"
    return Check(
        id=CAPACITY,
        status=status,
        observed=Observed(value=free, unit="count"),
        expected="room for the canary beside stable",
        reason=f"{name}: {needed}; {free:g} of {hard:g} is free",
        source=f"resourcequota/{quota.name}",
    )


def canary_needs(
    replicas: Mapping[str, int], pods: Mapping[str, Reserved]
) -> dict[str, float | None]:
    """What as many pods as stable has need, by the names of a quota."""
    total: dict[str, float | None] = {
        name: float(sum(replicas.values())) for name in ("pods", "count/pods")
    }
    total["count/deployments.apps"] = float(len(replicas))
    for limits, field in (
        (("requests.cpu", "cpu"), "cpu_request"),
        (("requests.memory", "memory"), "memory_request"),
        (("limits.cpu",), "cpu_limit"),
        (("limits.memory",), "memory_limit"),
    ):
        each: list[float | None] = [
            getattr(pods[name], field) if name in pods else None for name in replicas
        ]
        known = [amount for amount in each if amount is not None]
        amount = None
        if len(known) == len(each):
            amount = sum(a * n for a, n in zip(known, replicas.values(), strict=True))
        total |= dict.fromkeys(limits, amount)
    return total


def backup(settings: Backup, last: datetime | None, now: datetime) -> Check:
    """Check that the CronJob has succeeded lately."""
    age = None if last is None else (now - last).total_seconds()
    fresh = age is not None and age < settings.within
    return Check(
        id=BACKUP,
        status=Status.PASS if fresh else Status.FAIL,
        observed=None if age is None else Observed(value=age, unit="seconds"),
        expected=f"a backup of the last {duration(settings.within)}",
        reason="it has never succeeded, or does not exist"
        if age is None
        else f"the last success was {duration(age)} ago",
        source=f"cronjob/{settings.cronjob}",
    )


def disruption_budget(name: str, allowed: int | None) -> Check:
    """Check that a PodDisruptionBudget allows a pod to go, so that nodes can be drained."""
    return Check(
        id=BUDGETS,
        status=Status.PASS if allowed else Status.FAIL,
        observed=None if allowed is None else Observed(value=allowed, unit="count"),
        expected="≥ 1 disruption allowed",
        reason="it does not exist" if allowed is None else f"{allowed} allowed now",
        source=f"poddisruptionbudget/{name}",
    )


def endpoint(url: str, status: int, seconds: float) -> Check:
    """Check that an address answers."""
    return Check(
        id=ENDPOINTS,
        status=Status.PASS if status == 200 else Status.FAIL,
        observed=Observed(value=status, unit="status"),
        expected="status 200",
        reason=f"status {status} after {duration(seconds)}",
        source=url,
    )


def certificate(host: str, until: datetime, now: datetime, least: float) -> Check:
    """Check that a certificate is valid long enough."""
    left = (until - now).total_seconds()
    return Check(
        id=CERTIFICATES,
        status=Status.PASS if left >= least else Status.FAIL,
        observed=Observed(value=left, unit="seconds"),
        expected=f"valid for ≥ {duration(least)}",
        reason=f"it expires on {until:%Y-%m-%d}",
        source=host,
    )


def redis(address: str, used: int, limit: int, below: float) -> Check:
    """Check the memory of a Redis that answered PING; without maxmemory there is no limit."""
    share = used / limit if limit else None
    return Check(
        id=REDIS,
        status=Status.PASS if share is None or share < below else Status.FAIL,
        observed=Observed(value=used, unit="bytes")
        if share is None
        else Observed(value=share, unit="share"),
        expected=f"PONG, and < {percent(below)} of maxmemory",
        reason=f"PONG; {size(used)} used, maxmemory is not set (unlimited)"
        if share is None
        else f"PONG; {size(used)} of {size(limit)} used",
        source=address,
    )


def database(server: Server, vitals: Vitals, limits: DatabaseGuards) -> tuple[Check, ...]:
    """The server's version, and the guards on connections, replication and transactions."""
    version = Check(
        id=DATABASE,
        status=Status.PASS if server.version >= 14 and not server.replica else Status.FAIL,
        observed=Observed(value=server.release, unit="version"),
        expected="a primary of PostgreSQL 14 or later",
        reason=f"PostgreSQL {server.release}" + (", a replica" if server.replica else ""),
        source=server.database,
    )
    guards = limits.model_copy(update={"usage": None})
    return (version, *(c for c in guard_checks(vitals, guards) if c.id in _GUARDS))


_GUARDS = ("database.replication_lag", "database.oldest_transaction", "database.connections")
