"""KPIs agree with what raw samples say by an independent computation, in one piece or in many."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

from contexts import assignment
from world import SERVICES, environment, release, rollout

from tarsrelease.adapters.files.measured import read_report, write_json
from tarsrelease.gates.measure.kpis import quantile
from tarsrelease.model import promql
from tarsrelease.model.errors import UsageError
from tarsrelease.model.kpis import KpiReport, SloAlert, Tally
from tarsrelease.model.measurement import Sample, Series, cut
from tarsrelease.model.objectives import KpiTargets
from tarsrelease.model.outcome import Verdict
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.step_details import DriftDetails, SloDetails
from tarsrelease.operations import kpis
from tarsrelease.operations.kpis import Measuring, Window, checked, measure_kpis
from tarsrelease.readiness.slo_alerts import budget, burn_rates
from tarsrelease.steps.measure_drift import measure_drift
from tarsrelease.steps.measure_kpi import measure_kpi
from tarsrelease.steps.measure_slo import Watching, measure_slo

STEP = 5.0
BEGIN = 1_800_000_000.0
BOUNDS = ("0.05", "0.1", "0.12", "0.25", "+Inf")


def plan() -> Rollout:
    """With reconnects, open WebSockets and dashboards."""
    same = 'namespace="$namespace",deployment=~"$track"'
    base = rollout()
    slis = {
        "errors": base.slis["errors"],
        "fast": base.slis["fast"],
        "memory": base.slis["memory"],
        "reconnects": {
            "kind": "proportion",
            "of": f"websocket_reconnects_total{{{same}}}",
            "bad": f'websocket_reconnects_total{{{same},result="failure"}}',
        },
        "open": {"kind": "gauge", "unit": "count", "value": f"websockets_open{{{same}}}"},
    }
    objectives = {"slis": {"reconnects": "reconnects", "websockets": "open"}}
    written = {
        "schema": "tarsrelease/rollout/v1",
        **{
            name: getattr(base, name)
            for name in ("application", "version", "chart", "canary_values", "services", "stages")
        },
        "slis": slis,
        "objectives": objectives,
    }
    return Rollout.model_validate(written)


PLAN = plan()


@dataclass
class Recorded:
    """A metrics server that holds these samples; `queries` counts its answers."""

    lines: dict[tuple[tuple[str, str], ...], list[Sample]] = field(default_factory=dict)
    now: float = BEGIN + 7200
    queries: int = 0

    def server_time(self) -> float:
        return self.now

    def between(self, selectors: Sequence[str], start: float, end: float) -> list[list[Series]]:
        self.queries += 1
        return [cut(self._matching(selector), start, min(end, self.now)) for selector in selectors]

    def _matching(self, selector: str) -> list[Series]:
        asked = promql.parse(selector)
        found = []
        for identity, samples in self.lines.items():
            labels = dict(identity)
            if labels["__name__"] == asked.metric and all(
                _fits(labels.get(each.label, ""), each) for each in asked.matchers
            ):
                found.append(Series(labels, tuple(samples)))
        return found

    def put(self, name: str, time: float, value: float, **labels: str) -> None:
        identity = (("__name__", name), *sorted(labels.items()))
        self.lines.setdefault(identity, []).append(Sample(time, value))


def _fits(value: str, asked: promql.Matcher) -> bool:
    if "~" in asked.operator:
        return (re.fullmatch(asked.value, value) is not None) == (asked.operator == "=~")
    return (value == asked.value) == (asked.operator == "=")


def measuring(source: Recorded) -> Measuring:
    clock = SimpleNamespace(now=lambda: datetime.fromtimestamp(source.now, UTC))
    return Measuring(assignment(release(PLAN), environment("5s"), clock), source)


@dataclass
class Life:
    """One pod: its scrapes, its restarts and the requests of each scrape interval."""

    service: str
    track: str
    name: str
    born: int
    gone: int
    missed: frozenset[int]
    resets: frozenset[int]
    rates: tuple[int, int, int]
    """Requests that are good and fast, good and slow, and failed ones, of an interval."""


def live(source: Recorded, life: Life) -> None:
    counts = [0.0, 0.0, 0.0]
    own = {"namespace": "tars", "service": life.service, "deployment": life.track}
    own |= {"pod": life.name, "version": "1.0.0", "instance": f"{life.name}:8080"}
    for tick in range(life.born, life.gone):
        if tick in life.resets:
            counts = [0.0, 0.0, 0.0]
        counts = [had + more for had, more in zip(counts, life.rates, strict=True)]
        if tick in life.missed:
            continue
        fast, slow, failed = counts
        time = BEGIN + tick * STEP + 0.25 * (len(life.name) % 4)
        source.put("http_requests_total", time, fast + slow, status="200", **own)
        source.put("http_requests_total", time, failed, status="500", **own)
        within = (fast / 2 // 1, fast, fast + failed, fast + failed, fast + slow + failed)
        for bound, value in zip(BOUNDS, within, strict=True):
            source.put("http_request_duration_seconds_bucket", time, value, le=bound, **own)
        if life.service == SERVICES[0]:
            source.put("websockets_open", time, 10, **own)
            source.put("websocket_reconnects_total", time, fast, result="success", **own)
            source.put("websocket_reconnects_total", time, failed, result="failure", **own)


LIVES = st.builds(
    lambda service, track, number, born, length, missed, resets, rates: Life(
        service,
        track,
        f"tars-{service}-{number}",
        born,
        born + length,
        missed,
        resets,
        rates,
    ),
    st.sampled_from(SERVICES),
    st.sampled_from(["stable", "canary"]),
    st.integers(0, 10**6),
    st.integers(-70, 200),
    st.integers(2, 200),
    st.frozensets(st.integers(0, 300), max_size=25),
    st.frozensets(st.integers(0, 300), max_size=6),
    st.tuples(st.integers(0, 40), st.integers(0, 5), st.integers(0, 3)),
)


def grown(source: Recorded, window: Window, metric: str, **labels: str) -> float:
    """What the series gained in the window: the independent computation, over whole lives."""
    total = 0.0
    for identity, samples in source.lines.items():
        own = dict(identity)
        if own["__name__"] != metric or any(own.get(k) != v for k, v in labels.items()):
            continue
        last = 0.0
        for sample in samples:
            gained = sample.value - last if sample.value >= last else sample.value
            if window.start < sample.time <= window.end:
                total += gained
            last = sample.value
    return total


@settings(max_examples=15, deadline=None)
@given(
    lives=st.lists(LIVES, min_size=1, max_size=4, unique_by=lambda life: life.name),
    start=st.integers(5, 120),
    length=st.integers(30, 90),
    every=st.sampled_from([None, 60.0, 300.0]),
)
def test_every_number_is_that_of_the_raw_samples(
    lives: list[Life], start: int, length: int, every: float | None
) -> None:
    """Resets, missed scrapes and pods that come and go; counted from their births on."""
    source = Recorded()
    for life in lives:
        live(source, life)
    window = Window(BEGIN + start * STEP, BEGIN + (start + length) * STEP)
    live(source, Life(SERVICES[2], "stable", "x", -70, 400, frozenset(), frozenset(), (10, 1, 0)))
    unseen = any(
        life.born * STEP < start * STEP - 300
        and not any(
            start * STEP - 300 < tick * STEP <= start * STEP
            for tick in range(life.born, life.gone)
            if tick not in life.missed
        )
        for life in lives
    )
    assume(not unseen)  # nothing tells what a pod did that was not scraped for 5 minutes
    report = measure_kpis(measuring(source), window, every=every)
    total = grown(source, window, "http_requests_total")
    failed = grown(source, window, "http_requests_total", status="500")
    assert report.requests == total
    assert report.error_rate_pct == pytest.approx(100 * failed / total)
    assert report.availability_pct == pytest.approx(100 - 100 * failed / total)
    buckets = {
        float(le): grown(source, window, "http_request_duration_seconds_bucket", le=le)
        for le in BOUNDS
    }
    expected = quantile(0.95, buckets)
    assert expected is not None
    assert report.latency_p95_ms == pytest.approx(1000 * expected)
    tried = grown(source, window, "websocket_reconnects_total")
    lost = grown(source, window, "websocket_reconnects_total", result="failure")
    if tried:
        assert report.reconnection_success_rate == pytest.approx(100 * (1 - lost / tried))
    else:
        assert report.reconnection_success_rate is None
    assert sum(each.requests for each in report.services.values()) == report.requests
    if every is not None:
        assert sum(each.requests for each in report.intervals) == report.requests


def steady() -> Recorded:
    source, none = Recorded(), frozenset[int]()
    for service in SERVICES:
        live(source, Life(service, "stable", f"tars-{service}", 0, 400, none, none, (9, 1, 0)))
    return source


def test_pieces_of_any_length_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    source, window = steady(), Window(BEGIN + 303.0, BEGIN + 1507.0)
    found: set[str] = set()
    for scrapes in (3, 17, 120, 10**6):
        monkeypatch.setattr(kpis, "_SCRAPES", scrapes)
        found.add(measure_kpis(measuring(source), window, every=100.0).model_dump_json())
    assert len(found) == 1


def test_a_window_before_the_first_sample_is_refused_with_its_time() -> None:
    source = steady()
    with pytest.raises(UsageError) as refused:
        measure_kpis(measuring(source), Window(BEGIN - 1000, BEGIN + 1000))
    assert "the first sample is of 2027-01-15T08:00:00" in str(refused.value)
    with pytest.raises(UsageError, match="no sample in this window"):
        measure_kpis(measuring(source), Window(BEGIN - 5000, BEGIN - 4000))


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.0), (10.0, 0.0), (0.0, 1e6)])
def test_a_window_without_a_length_or_of_the_future_is_refused(start: float, end: float) -> None:
    with pytest.raises(UsageError, match="choosing the window"):
        checked(Window(BEGIN + start, BEGIN + end), BEGIN + 100)


def test_a_gap_in_the_scrapes_is_told_and_its_requests_are_counted() -> None:
    whole, broken = steady(), Recorded()
    for identity, samples in whole.lines.items():
        broken.lines[identity] = [s for s in samples if not 600 < s.time - BEGIN < 900]
    window = Window(BEGIN + 305, BEGIN + 1505)
    expected, found = (measure_kpis(measuring(each), window) for each in (whole, broken))
    assert found.requests == expected.requests
    assert found.latency_p95_ms == expected.latency_p95_ms
    assert found.measured_pct == pytest.approx(100 * (1 - 300 / 1200), abs=1.5)
    assert len(found.gaps) == 1
    assert expected.gaps == ()


def test_no_requests_are_no_answer() -> None:
    source = steady()
    report = measure_kpis(measuring(source), Window(BEGIN + 305, BEGIN + 905), deployment="canary")
    assert report.availability_pct is None
    assert report.latency_p95_ms is None
    assert report.missing["availability_pct"] == "no requests"


def test_websockets_are_down_where_their_pods_are_gone_or_clients_do_not_get_back() -> None:
    source = steady()
    name = f"tars-{SERVICES[0]}"
    for identity, samples in source.lines.items():
        if ("pod", name) in identity:
            samples[:] = [s for s in samples if not 700 < s.time - BEGIN < 800]
    report = measure_kpis(measuring(source), Window(BEGIN + 305, BEGIN + 1305))
    down = report.tallies["websockets"]
    assert down.total == 200
    assert 17 <= down.bad <= 20  # 100 s of 5 s each, less the two intervals that a pod may miss
    assert report.websocket_uptime_pct == pytest.approx(100 * (1 - down.bad / 200))


def test_a_canary_that_is_removed_is_no_downtime_of_its_service() -> None:
    """The canary lives from +200 s to +900 s, stable all the time."""
    source = steady()
    own: dict[str, str] = {"namespace": "tars", "service": SERVICES[0], "pod": "tars-canary-0"}
    for tick in range(40, 180):
        time = BEGIN + STEP * tick
        source.put("websockets_open", time, 10, deployment="canary", **own)
    whole, early = Window(BEGIN + 305, BEGIN + 1505), Window(BEGIN + 100, BEGIN + 600)
    assert measure_kpis(measuring(source), whole).websocket_uptime_pct == 100
    assert measure_kpis(measuring(source), early).websocket_uptime_pct == 100
    alone = measure_kpis(measuring(source), early, deployment="canary")
    assert alone.websocket_uptime_pct == 100  # it is not down before it exists
    assert alone.tallies["websockets"].total == 81
    for identity, samples in source.lines.items():
        if ("pod", f"tars-{SERVICES[0]}") in identity:
            samples[:] = [s for s in samples if s.time - BEGIN < 1205]
    gone = measure_kpis(measuring(source), whole)
    down = gone.tallies["websockets"]
    assert (down.total, down.bad) == (240, gone.services[SERVICES[0]].tallies["websockets"].bad)
    assert 57 <= down.bad <= 60  # 300 s of 5 s each, less what a pod may miss


def test_a_pod_with_a_new_address_counts_on() -> None:
    """Two series of one pod, one after the other, add up; at the same time they are one."""
    source = steady()
    own = {"namespace": "tars", "service": SERVICES[1], "deployment": "stable", "pod": "p-0"}
    own |= {"version": "1.0.0", "status": "200"}
    for tick in range(400):
        time = BEGIN + STEP * tick
        address = "10.0.0.1:8080" if tick < 150 else "10.0.0.2:8080"
        value = tick + 1 if tick < 150 else tick - 149
        source.put("http_requests_total", time, value, instance=address, **own)
    window = Window(BEGIN + 300, BEGIN + 1500)
    before = measure_kpis(measuring(steady()), window).requests
    assert measure_kpis(measuring(source), window).requests - before == 240


def test_live_numbers_are_those_of_the_same_window_afterwards() -> None:
    source = steady()
    window = Window(BEGIN + 300, BEGIN + 900)
    source.now = window.end + STEP
    soon = measure_kpis(measuring(source), window, every=60.0)
    source.now = BEGIN + 7200
    assert measure_kpis(measuring(source), window, every=60.0) == soon
    assert isinstance(soon, KpiReport)


def test_a_worse_canary_drifts_and_a_like_one_does_not() -> None:
    source, none = steady(), frozenset[int]()
    for number, rates in enumerate([(9, 1, 0), (6, 1, 3), (9, 1, 0)]):
        name = SERVICES[number]
        live(source, Life(name, "canary", f"tars-canary-{name}", 0, 400, none, none, rates))
    ours = measuring(source)
    outcome = measure_drift(
        (ours, "canary"), (ours, "stable"), Window(BEGIN + 305, BEGIN + 1505), every=600.0
    )
    details = DriftDetails.of(outcome.details)
    assert details is not None
    found = {(each.service, each.metric): each for each in details.drift.metrics}
    errors = found[SERVICES[1], "errors"]
    assert (outcome.verdict, errors.verdict) == (Verdict.NO_GO, "fail")
    assert errors.effect == pytest.approx(0.3)
    assert errors.low is not None
    assert errors.high is not None
    assert errors.low < 0.3 < errors.high
    others = {each.verdict for key, each in found.items() if key[0] != SERVICES[1]}
    assert others <= {"pass", "inconclusive"}  # 2 400 requests are few for a limit of 0.1 %
    assert [each.effects["errors"] for each in details.drift.intervals] == pytest.approx([0.1, 0.1])


def test_each_breach_and_each_recovery_is_told_once() -> None:
    """Errors from +600 s to +900 s; a minute is watched at a time, for half an hour."""
    source, none = Recorded(now=BEGIN + 400), frozenset[int]()
    for begin, end, rates in (
        (0, 120, (20, 0, 0)),
        (120, 180, (10, 0, 10)),
        (180, 400, (20, 0, 0)),
    ):
        name = f"tars-{SERVICES[0]}-{begin}"
        live(source, Life(SERVICES[0], "stable", name, begin, end, none, none, rates))
    told: list[SloAlert] = []

    def tell(alert: SloAlert) -> bool:
        told.append(alert)
        return True

    def sleep(seconds: float) -> None:
        source.now += seconds

    ours = measuring(source)
    ours.assignment.clock.sleep = sleep  # type: ignore[method-assign]
    watching = Watching("all", KpiTargets(), 60.0, 30.0, 1400.0, burning=False)
    outcome = measure_slo(ours, watching, tell)
    errors = [each for each in told if each.check == "slo.error_rate"]
    assert [each.state for each in errors] == ["breach", "recovery"]
    begun, ended = (datetime.fromisoformat(each.at).timestamp() - BEGIN for each in errors)
    assert 600 < begun <= 630
    assert 900 < ended <= 990
    assert outcome.verdict is Verdict.PROCEED
    details = SloDetails.of(outcome.details)
    assert details is not None
    assert details.evaluations == 47


def test_burn_rates_are_those_of_the_workbook() -> None:
    """An error rate of 1.5 % is 15 times what 99.9 % allows: it pages after an hour."""

    def errors(seconds: float) -> Tally | str:
        return "not recorded" if seconds > 86400 else Tally(bad=15, total=1000)

    page, slower, ticket = burn_rates(0.999, errors)
    assert (page.severity, page.long_rate, page.alert) == ("page", pytest.approx(15), True)
    assert (slower.factor, slower.alert) == (6.0, True)
    assert (ticket.severity, ticket.alert, ticket.reason) == ("ticket", None, "not recorded")
    left = budget(0.999, Tally(bad=1, total=4000), 86400.0)
    assert left.remaining_share == pytest.approx(0.75)

    def short_only(seconds: float) -> Tally:
        return Tally(bad=15 if seconds < 3600 else 0, total=1000)

    assert [each.alert for each in burn_rates(0.999, short_only)] == [False, False, False]


def test_a_baseline_of_another_release_or_shape_is_refused(tmp_path: Path) -> None:
    source, window = steady(), Window(BEGIN + 305, BEGIN + 905)
    baseline = measure_kpis(measuring(source), window)
    path = tmp_path / "baseline_slos.json"
    write_json(path, baseline)
    assert read_report(path) == baseline
    other = baseline.model_copy(update={"release": "1.0.0"})
    with pytest.raises(UsageError, match=r"a baseline of 1\.0\.0 in"):
        measure_kpi(measuring(source), window, seconds=600, baseline=other)
    for text, said in (
        ('{"requests": "many"}', "Field required|valid number"),
        ("{", "Invalid JSON"),
        ("", "Invalid JSON"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=said):
            read_report(path)
    with pytest.raises(UsageError, match="No such file"):
        read_report(tmp_path / "absent.json")
