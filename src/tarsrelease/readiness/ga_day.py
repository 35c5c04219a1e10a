"""The 24 hours after a promotion: stricter limits, breaches, memory growth and scheduled checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from tarsrelease.gates.stats.theil_sen import theil_sen
from tarsrelease.model.format import duration, percent
from tarsrelease.model.kpis import Interval, KpiReport
from tarsrelease.model.measurement import Series
from tarsrelease.model.objectives import KpiTargets
from tarsrelease.model.result import Check, Observed, Status
from tarsrelease.readiness.kpis import slos

HOUR = 3600.0
LASTS = 24 * HOUR
EVERY = 300.0
"""Seconds of one interval: a breach that lasts as long is found with its time."""
TARGETS = KpiTargets(availability=0.9995, error_rate=0.005, latency_p95=0.09)
RESTARTS_PER_HOUR = 1.0
GROWTH_PER_HOUR = 0.05
GROWTH_OVER = 4 * HOUR
"""Growth is measured over the last hours only, so that a leak that begins late is found."""
_GROWTH_SHORTEST = 2 * HOUR
_FEWEST_BAD = 3
"""Bad requests of an interval that is a breach: one or two of few requests prove nothing."""


class Scheduled(NamedTuple):
    """A check that is due some hours after the promotion, its owner and checklist."""

    hours: int
    role: str
    title: str
    items: tuple[str, ...]


SCHEDULE = (
    Scheduled(
        2,
        "SRE on call",
        "first metrics",
        ("first 2 h of metrics reviewed", "no anomalies", "SLOs on track"),
    ),
    Scheduled(
        4,
        "Support lead",
        "customers",
        ("customer feedback reviewed", "support tickets checked", "no widespread issues"),
    ),
    Scheduled(
        8,
        "Engineering lead",
        "performance",
        ("performance analyzed", "resource use as expected", "no memory leak"),
    ),
    Scheduled(
        12,
        "Release manager",
        "mid-point SLO report",
        ("SLO report generated", "all targets met", "trend reviewed"),
    ),
    Scheduled(
        24,
        "Release manager",
        "GA day report",
        (
            "report of 24 h generated (report certify)",
            "retrospective scheduled",
            "lessons learned documented",
            "next steps planned",
        ),
    ),
)


class Breach(NamedTuple):
    """One SLO beyond its limit from `start` to `end` (Unix times); `worst` in the KPI's words."""

    check: str
    start: float
    end: float
    worst: str
    expected: str


ALERTS = "watch.pagerduty_alerts"
TICKETS = "watch.support_tickets"


class People(NamedTuple):
    """What was counted since the promotion; `tickets_before` is a usual number of tickets.

    `unanswered` says why a number is missing that was asked for, by the check's id.
    """

    tickets: int | None = None
    tickets_before: int | None = None
    alerts: int | None = None
    unanswered: Mapping[str, str] = {}


def breaches(found: KpiReport) -> tuple[Breach, ...]:
    """The intervals beyond a limit, neighbours joined, in order of time."""
    joined: list[Breach] = []
    for interval in found.intervals:
        for check in _beyond(interval):
            last = next((each for each in reversed(joined) if each.check == check.id), None)
            new = Breach(check.id, interval.start, interval.end, check.reason, check.expected)
            if last is not None and interval.start - last.end < 1:
                joined.remove(last)
                new = new._replace(start=last.start, worst=_worse(last, check))
            joined.append(new)
    return tuple(sorted(joined, key=lambda each: (each.start, each.check)))


def _beyond(interval: Interval) -> Iterator[Check]:
    seconds = interval.end - interval.start
    for check in slos(interval, TARGETS, {}, seconds):
        tally = interval.tallies.get("slow" if check.id == "slo.latency_p95" else "errors")
        enough = tally is not None and tally.bad >= _FEWEST_BAD
        if check.status is Status.FAIL and check.id in _JUDGED and enough:
            yield check


_JUDGED = ("slo.availability", "slo.error_rate", "slo.latency_p95")


def _worse(before: Breach, check: Check) -> str:
    """The worse of two readings, by their first number."""
    ours, theirs = (float(text.split()[0]) for text in (check.reason, before.worst))
    least = check.id == "slo.availability"
    return check.reason if (ours < theirs) is least else before.worst


def breach_checks(found: Sequence[Breach], promoted: float, window: float) -> tuple[Check, ...]:
    """A failed result per breach, with its time; one that passes if there is none."""
    if not found:
        return (
            Check(
                id="watch.breaches",
                status=Status.PASS,
                observed=Observed(value=0, unit="count"),
                expected=f"no {duration(EVERY)} beyond a limit",
                reason=f"no {duration(EVERY)} since the promotion was beyond a limit",
                source="recorded metrics",
                window=window,
            ),
        )
    return tuple(
        Check(
            id="watch.breaches",
            status=Status.FAIL,
            observed=Observed(value=each.worst, unit="text"),
            expected=f"{each.check.removeprefix('slo.')} {each.expected}",
            reason=f"{each.worst} from {_clock(each.start)} to {_clock(each.end)}, "
            f"{duration(each.start - promoted)} after the promotion",
            source="recorded metrics",
            window=each.end - each.start,
        )
        for each in found
    )


def growth_checks(memory: Mapping[str, Sequence[Series]], end: float) -> Iterator[Check]:
    """One result per Deployment: the pod whose memory grows fastest, per hour of its beginning.

    Series shorter than two hours tell nothing; without any other it is inconclusive.
    """
    for deployment, series in memory.items():
        found = [each for each in (_growth(one, end) for one in series) if each is not None]
        limit = f"{percent(GROWTH_PER_HOUR)} per hour"
        if not found:
            status, reason, seen = Status.INCONCLUSIVE, "no pod has two hours of samples", None
        else:
            worst = max(found)
            status = Status.FAIL if worst > GROWTH_PER_HOUR else Status.PASS
            seen = Observed(value=worst, unit="share")
            reason = f"memory grows by {percent(worst)} per hour (Theil-Sen over the last hours)"
        yield Check(
            id="watch.memory_growth",
            status=status,
            service=deployment,
            observed=seen,
            expected=f"at most {limit}",
            reason=reason,
            source="recorded metrics",
            window=GROWTH_OVER,
            samples=len(found),
        )


def _growth(series: Series, end: float) -> float | None:
    points = [
        ((sample.time - end) / HOUR, sample.value)
        for sample in series.samples
        if sample.time > end - GROWTH_OVER
    ]
    if not points or points[-1][0] - points[0][0] < _GROWTH_SHORTEST / HOUR:
        return None
    first = points[0][0]
    fitted = theil_sen([(x - first, y) for x, y in points])
    return fitted[0] / fitted[1] if fitted is not None and fitted[1] > 0 else None


def restarts_check(restarts: int, seconds: float) -> Check:
    """Restarts of all pods per hour since the promotion; the first hour counts as a whole."""
    hours = max(1.0, seconds / HOUR)
    return Check(
        id="watch.restarts",
        status=Status.PASS if restarts / hours <= RESTARTS_PER_HOUR else Status.FAIL,
        observed=Observed(value=restarts, unit="count"),
        expected=f"at most {RESTARTS_PER_HOUR:g} per hour",
        reason=f"{restarts} in {duration(seconds)}",
        source="pods",
        window=seconds,
    )


def people_checks(given: People, elapsed: float) -> Iterator[Check]:
    """From +4 h on: alerts since the promotion and support tickets, as they were counted."""
    if elapsed < 4 * HOUR:
        return
    no_more = given.tickets_before if given.tickets_before is not None else 0
    for name, value, limit, option in (
        (ALERTS, given.alerts, 0, "--pagerduty-alerts"),
        (TICKETS, given.tickets, no_more, "--support-tickets"),
    ):
        if name in given.unanswered:
            status, reason = Status.ERROR, given.unanswered[name]
        elif value is None:
            status, reason = Status.SKIPPED, f"NOT CHECKED: give the number with {option}"
        else:
            status = Status.PASS if value <= limit else Status.FAIL
            reason = f"{value} since the promotion"
        yield Check(
            id=name,
            status=status,
            observed=None if value is None else Observed(value=value, unit="count"),
            expected=f"at most {limit}",
            reason=reason,
            source="counted",
            window=elapsed,
        )


def due(elapsed: float) -> tuple[Scheduled, ...]:
    """The scheduled checks whose time has come."""
    return tuple(each for each in SCHEDULE if elapsed >= each.hours * HOUR)


def schedule_rows(promoted: float, elapsed: float) -> Iterable[tuple[str, ...]]:
    """Time, role, title, state and items of each scheduled check."""
    current = due(elapsed)[-1:]
    for each in SCHEDULE:
        came = elapsed >= each.hours * HOUR
        state = "due now" if (each,) == current else "was due" if came else "to come"
        at = _clock(promoted + each.hours * HOUR)
        yield f"+{each.hours} h", at, each.role, each.title, state, "; ".join(each.items)


def _clock(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M} UTC"
