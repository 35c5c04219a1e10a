"""Error budgets, burn rates, and alerts that say each breach and each recovery once.

Windows and factors are those of the Google SRE workbook, chapter 5, table 5-8 (recommended
parameters for an SLO of 99.9 % over 30 days).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from tarsrelease.model.format import amount
from tarsrelease.model.kpis import BurnRate, ErrorBudget, SloAlert, Tally
from tarsrelease.model.result import Check, Status

PERIOD = 30 * 86400.0
"""Seconds of the error budget."""


class BurnRule(NamedTuple):
    """Alert if both windows burn at least `factor` times as fast as the budget allows."""

    severity: Literal["page", "ticket"]
    long: float
    short: float
    factor: float


RULES = (
    BurnRule("page", 3600.0, 300.0, 14.4),
    BurnRule("page", 6 * 3600.0, 1800.0, 6.0),
    BurnRule("ticket", 3 * 86400.0, 6 * 3600.0, 1.0),
)
"""2 % of the budget in an hour, 5 % in six hours, 10 % in three days."""


def rate(tally: Tally, target: float) -> float | None:
    """The burn rate: the share of failed requests divided by the share that the target allows.

    None without requests. `target` is a share below 1.
    """
    return None if tally.total <= 0 else tally.bad / tally.total / (1.0 - target)


def burn_rates(target: float, errors: Callable[[float], Tally | str]) -> tuple[BurnRate, ...]:
    """Every rule's result; `errors` gives the requests of the last seconds, or why there are none
    recorded.
    """
    found = []
    for rule in RULES:
        sides = [errors(rule.long), errors(rule.short)]
        rates = [None if isinstance(each, str) else rate(each, target) for each in sides]
        reasons = [each for each in sides if isinstance(each, str)]
        known = [each for each in rates if each is not None]
        alert = None
        if known and min(known) < rule.factor:
            alert = False  # one window below the factor is enough
        elif len(known) == len(rates):
            alert = True
        found.append(
            BurnRate(
                severity=rule.severity,
                long_seconds=rule.long,
                short_seconds=rule.short,
                factor=rule.factor,
                long_rate=rates[0],
                short_rate=rates[1],
                alert=alert,
                reason="; ".join(dict.fromkeys(reasons))
                or ("" if alert is not None else "no requests"),
            )
        )
    return tuple(found)


def budget(target: float, tally: Tally, seconds: float) -> ErrorBudget:
    """The error budget after the requests of the last `seconds`; below 0 it is overspent."""
    allowed = (1.0 - target) * tally.total
    return ErrorBudget(
        target=target,
        period_seconds=PERIOD,
        measured_seconds=seconds,
        requests=tally.total,
        failed=tally.bad,
        remaining_share=1.0 - tally.bad / allowed if allowed > 0 else None,
    )


def burn_check(found: BurnRate) -> Check:
    """A burn rate as a result."""
    status = Status.INCONCLUSIVE if found.alert is None else Status.PASS
    if found.alert:
        status = Status.FAIL
    shown = ["-" if each is None else f"{each:.3g}" for each in (found.long_rate, found.short_rate)]
    return Check(
        id=_IDS[found.long_seconds],
        status=status,
        expected=f"burn rate < {found.factor:g} in one of both windows ({found.severity})",
        reason=f"{shown[0]} in the long window, {shown[1]} in the short one"
        + (f"; {found.reason}" if found.reason else ""),
        window=found.long_seconds,
        advisory=found.alert is None,
    )


_IDS = {3600.0: "slo.burn_1h", 6 * 3600.0: "slo.burn_6h", 3 * 86400.0: "slo.burn_3d"}


def changes(
    breached: frozenset[str], checks: Iterable[Check], at: str
) -> tuple[frozenset[str], tuple[SloAlert, ...]]:
    """What is breached now, and what has begun or ended since `breached`.

    A result that cannot be decided changes nothing: neither a breach nor a recovery is guessed.
    """
    now, found = set(breached), []
    for check in checks:
        failed = check.status is Status.FAIL
        if failed == (check.id in breached) or check.status not in (Status.FAIL, Status.PASS):
            continue
        (now.add if failed else now.discard)(check.id)
        found.append(
            SloAlert(
                at=at,
                check=check.id,
                state="breach" if failed else "recovery",
                observed=_shown(check),
                expected=check.expected,
            )
        )
    return frozenset(now), tuple(found)


def _shown(check: Check) -> str:
    observed = check.observed
    if observed is None or not isinstance(observed.value, (int, float)):
        return check.reason
    return amount(observed.value, observed.unit)
