"""Measure the KPIs of a window: one way for the past and for what has just been collected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, NamedTuple, Self

from tarsrelease.context import Assignment, Context
from tarsrelease.gates.measure import attribution
from tarsrelease.gates.measure import kpis as counted
from tarsrelease.gates.measure.queries import REACH
from tarsrelease.model.errors import ReleaseError, UsageError
from tarsrelease.model.format import duration
from tarsrelease.model.kpis import Interval, KpiReport, Kpis, Tally
from tarsrelease.model.measurement import Track
from tarsrelease.ports.cluster import Workloads
from tarsrelease.ports.metrics import History

Deployment = Literal["canary", "stable", "all"]
_SCRAPES = 120
"""Scrapes in one query: some ten thousand samples of a few hundred series."""
_EARLIEST = 300.0
"""Seconds that a window may begin before the first sample: one query of a monitoring system
looks as far back."""
_STALE = 3
_MOMENTS = 2000
"""In one range query; a server bounds them (Prometheus: 11 000)."""


class Window(NamedTuple):
    """A time, from `start` to `end` (Unix times of the metrics server's clock)."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Measuring:
    """What to measure with: the release and environment, recorded samples, and the pods.

    Without `workloads`, pods are identified by their names and labels.
    """

    assignment: Assignment
    metrics: History
    workloads: Workloads | None = None

    @classmethod
    def of(cls, context: Context) -> Self:
        """The same with the ports of a context."""
        return cls(context, context.metrics.samples, context.cluster.workloads)

    @property
    def scrape_interval(self) -> float:
        """Seconds between two samples."""
        return self.assignment.environment.prometheus.scrape_interval

    def last(self, seconds: float) -> Window:
        """The last `seconds`, as far as every scrape is stored: up to a scrape interval ago."""
        end = self.metrics.server_time() - self.scrape_interval
        return Window(end - seconds, end)


def checked(window: Window, now: float) -> Window:
    """The window. Raises UsageError unless it has a length and is in the past."""
    if window.seconds <= 0 or window.end > now:
        raise UsageError(
            doing="choosing the window",
            found=f"{_shown(window.start)} to {_shown(window.end)}",
            expected=f"a window of more than 0s that ends before {_shown(now)}",
            next_step="correct --from and --to, or give --duration",
        )
    return window


def measure_kpis(
    measuring: Measuring,
    window: Window,
    *,
    deployment: Deployment = "all",
    every: float | None = None,
) -> KpiReport:
    """The KPIs of `window`, of all versions; with `every`, also those of its parts (seconds).

    Raises UsageError if nothing is recorded or the window begins before the first sample, and what
    the port raises.
    """
    rollout, environment = measuring.assignment.rollout, measuring.assignment.environment
    tracks = tuple(Track) if deployment == "all" else (Track(deployment),)
    asked = counted.asked_of(rollout, environment.kubernetes.namespace)
    keys, targets = counted.keys_of(rollout, tracks), rollout.objectives.targets
    before = counted.NOTHING
    found: list[tuple[float, float, counted.Totals]] = []
    for begin, end, reading in _readings(measuring, asked, window, _ends(window, every)):
        now = counted.totals(reading)
        found.append((begin, end, now.since(before)))
        before = now
    gaps = counted.gaps(reading, window.end)
    _refuse_what_was_never_recorded(window, gaps, measuring.scrape_interval)

    def sockets(start: float, end: float) -> dict[str, Tally]:
        return counted.websocket_intervals(reading, keys, start, end)

    whole = sockets(*window)
    overall = counted.kpis(before, keys, targets, _all(whole.values()))
    return KpiReport(
        **overall.model_dump(),
        release=measuring.assignment.release.version,
        environment=environment.name,
        deployment=deployment,
        start=_shown(window.start),
        end=_shown(window.end),
        duration_seconds=round(window.seconds, 3),
        services={
            service.name: counted.kpis(
                before,
                [key for key in keys if key[0] == service.name],
                targets,
                whole.get(service.name, Tally(bad=0, total=0)),
            )
            for service in rollout.services
        },
        intervals=tuple(
            Interval.of(
                counted.kpis(part, keys, targets, _all(sockets(begin, end).values())), begin, end
            )
            for begin, end, part in found
        )
        if every is not None
        else (),
        missing=_missing(overall, before, asked),
        gaps=tuple(gaps),
        measured_pct=100 * (1 - sum(end - start for start, end in gaps) / window.seconds),
    )


def first_recorded(measuring: Measuring, window: Window) -> float | None:
    """The moment from which on requests are recorded in `window` (Unix time).

    Its start, if they are from there on; None if none are. To some minutes.
    """
    rollout, namespace = measuring.assignment.rollout, measuring.assignment.environment.kubernetes
    asked = counted.asked_of(rollout, namespace.namespace)
    step = max(_EARLIEST, window.seconds / _MOMENTS)
    [series, *_] = measuring.metrics.recorded(asked.sent[:1], window.start, window.end, step)
    first = min((each.samples[0].time for each in series if each.samples), default=None)
    if first is None or first - window.start <= _EARLIEST:
        return None if first is None else window.start
    return first


def measure_errors(measuring: Measuring, window: Window, deployment: Deployment) -> Tally:
    """The failed requests of `window` alone, which is quicker than all KPIs. Raises the same."""
    rollout, namespace = measuring.assignment.rollout, measuring.assignment.environment.kubernetes
    asked = counted.asked_of(rollout, namespace.namespace)
    asked = replace(asked, latency=None, reconnects=None, websockets=None, dashboards=None)
    [(_, _, reading)] = _readings(measuring, asked, window, [window.end])
    _refuse_what_was_never_recorded(
        window, counted.gaps(reading, window.end), measuring.scrape_interval
    )
    tracks = tuple(Track) if deployment == "all" else (Track(deployment),)
    errors = counted.totals(reading).errors
    return _all(errors[key] for key in counted.keys_of(rollout, tracks) if key in errors)


def _readings(
    measuring: Measuring, asked: counted.Asked, window: Window, ends: Sequence[float]
) -> Iterator[tuple[float, float, counted.Reading]]:
    """For each part of the window, its start and end, and all that was read up to its end."""
    assignment, interval = measuring.assignment, measuring.scrape_interval
    known, births = _pods(measuring, assignment.environment.kubernetes.namespace)
    at = window.start - REACH
    reading = counted.begin(
        asked,
        attribution.owners(assignment.rollout.labels, {}, known),
        start=window.start,
        reach=at,
        interval=interval,
        births=births,
    )
    for begin, end in zip((window.start, *ends[:-1]), ends, strict=True):
        while at < end:
            until = min(end, at + _SCRAPES * interval)
            reading = counted.more(reading, measuring.metrics.between(asked.sent, at, until))
            at = until
        yield begin, end, reading


def _pods(measuring: Measuring, namespace: str) -> tuple[attribution.Known, dict[str, float]]:
    """What is known of the pods that run now, and when they started (Unix time).

    Those of the past are told by their names or labels, so an API server that does not answer is
    only reported.
    """
    known = attribution.known(measuring.assignment.rollout, namespace)
    if measuring.workloads is None:
        return known, {}
    try:
        pods, deployments = measuring.workloads.pods(), measuring.workloads.deployments()
    except ReleaseError as error:
        measuring.assignment.say(
            f"cannot read the pods: {error}; identifying them by name and label"
        )
        return known, {}
    births = {pod.name: pod.started_at.timestamp() for pod in pods if pod.started_at}
    return replace(known, pods=known.pods.seen(pods, deployments)), births


def _ends(window: Window, every: float | None) -> list[float]:
    """The ends of the window's parts; the last part may be shorter."""
    if every is None:
        return [window.end]
    whole = int(window.seconds / every)
    found = [window.start + every * number for number in range(1, whole + 1)]
    if not found or window.end - found[-1] > 1e-3:
        found.append(window.end)
    found[-1] = window.end
    return found


def _refuse_what_was_never_recorded(
    window: Window, gaps: Sequence[tuple[float, float]], interval: float
) -> None:
    first = gaps[0] if gaps and gaps[0][0] <= window.start else None
    if first is None:
        return
    if first[1] >= window.end:
        found, from_when = "no sample in this window", "after the first sample"
    elif first[1] - window.start > max(_EARLIEST, _STALE * interval):
        found = f"the first sample is of {_shown(first[1])}"
        from_when = f"at {_shown(first[1])} or later"
    else:
        return
    raise UsageError(
        doing=f"measuring {_shown(window.start)} to {_shown(window.end)} "
        f"({duration(window.seconds)})",
        found=found,
        expected="samples from the window's beginning on; nothing is extrapolated",
        next_step=f"choose a window that begins {from_when}, and check the retention of the "
        "metrics server",
    )


def _missing(overall: Kpis, counts: counted.Totals, asked: counted.Asked) -> dict[str, str]:
    """By KPI without a value, the reason."""
    reasons = {
        "availability_pct": counts.missing.get("errors", "no requests"),
        "error_rate_pct": counts.missing.get("errors", "no requests"),
        "latency_p95_ms": counts.missing.get("latency", "no requests"),
        "reconnection_success_rate": counts.missing.get("reconnects", "no client reconnected"),
        "websocket_uptime_pct": "no pod with WebSockets was scraped"
        if asked.websockets
        else "no sli in rollout.yaml (objectives.slis)",
        "dashboard_load_time_s": counts.missing.get("dashboards", "no dashboard was requested"),
    }
    return {name: why for name, why in reasons.items() if overall.value(name) is None}


def _all(tallies: Iterable[Tally]) -> Tally:
    found = Tally(bad=0, total=0)
    for each in tallies:
        found = found.plus(each)
    return found


def _shown(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")
