"""When a migration must wait: the database's load compared with the environment's limits."""

from __future__ import annotations

from dataclasses import dataclass

from tarsrelease.model.database import DatabaseGuards
from tarsrelease.model.outcome import Check, Observed, Status


@dataclass(frozen=True, slots=True)
class Vitals:
    """One reading of the database's load. Unknown values are None; `why` then says why.

    `replication_lag`: seconds that the slowest replica is behind (0 with no replica).
    `oldest_transaction`: seconds since the oldest other transaction began, `oldest` who that is.
    `free_connections`: connections that a role like ours can still open. `database_bytes`: size
    of the database. `cpu` (cores) and `memory` (bytes): of the database's pod.
    """

    replication_lag: float | None
    oldest_transaction: float | None
    free_connections: int | None
    database_bytes: int | None
    oldest: str = ""
    cpu: float | None = None
    memory: float | None = None
    why: str = ""


def guard_checks(vitals: Vitals, limits: DatabaseGuards, growth: float = 0.0) -> list[Check]:
    """Each guard's result; `growth` is how many bytes the next statement is expected to add."""
    checks = [
        _below(
            "database.replication_lag",
            vitals.replication_lag,
            limits.replication_lag,
            "seconds",
            vitals,
        ),
        _below(
            "database.oldest_transaction",
            vitals.oldest_transaction,
            limits.oldest_transaction,
            "seconds",
            vitals,
            f" ({vitals.oldest})" if vitals.oldest else "",
        ),
        _connections(vitals, limits),
        _disk(vitals, limits, growth),
    ]
    if limits.usage is None:
        unset = "the environment's database.guards.usage is not set"
        checks += [_skipped("database.cpu", unset), _skipped("database.memory", unset)]
    else:
        checks.append(_below("database.cpu", vitals.cpu, limits.usage.cpu_below, "cores", vitals))
        most = limits.usage.memory_below
        checks.append(_below("database.memory", vitals.memory, most, "bytes", vitals))
    return checks


def exceeded(checks: list[Check]) -> list[Check]:
    """The guards that make a migration wait: exceeded ones, and those without a reading."""
    return [check for check in checks if check.status in {Status.FAIL, Status.ERROR}]


def _check(name: str, status: Status, observed: Observed | None, expected: str, why: str) -> Check:
    return Check(id=name, status=status, observed=observed, expected=expected, reason=why)


def _skipped(name: str, why: str) -> Check:
    return _check(name, Status.SKIPPED, None, "guarded", f"NOT CHECKED: {why}")


def _below(
    name: str, value: float | None, limit: float, unit: str, vitals: Vitals, who: str = ""
) -> Check:
    expected = f"at most {limit:g} {unit}"
    if value is None:
        if name in {"database.cpu", "database.memory"}:
            return _check(name, Status.ERROR, None, expected, vitals.why or "no reading")
        return _skipped(name, vitals.why or "this role may not see it (grant pg_monitor)")
    status = Status.PASS if value <= limit else Status.FAIL
    return _check(
        name, status, Observed(value=value, unit=unit), expected, f"{value:g} {unit}{who}"
    )


def _connections(vitals: Vitals, limits: DatabaseGuards) -> Check:
    expected = f"at least {limits.free_connections} free"
    free = vitals.free_connections
    if free is None:
        return _skipped("database.connections", vitals.why)
    status = Status.PASS if free >= limits.free_connections else Status.FAIL
    return _check(
        "database.connections",
        status,
        Observed(value=free, unit="count"),
        expected,
        f"{free} connections are free",
    )


def _disk(vitals: Vitals, limits: DatabaseGuards, growth: float) -> Check:
    if limits.volume is None:
        return _skipped("database.disk", "the environment's database.guards.volume is not set")
    if vitals.database_bytes is None:
        return _skipped("database.disk", vitals.why)
    share = (vitals.database_bytes + growth) / limits.volume
    return _check(
        "database.disk",
        Status.PASS if share <= limits.disk_below else Status.FAIL,
        Observed(value=share, unit="share"),
        f"at most {limits.disk_below:.0%} of {limits.volume / 1e9:g} GB",
        f"{vitals.database_bytes / 1e9:.2f} GB, and about {growth / 1e9:.2f} GB more",
    )
