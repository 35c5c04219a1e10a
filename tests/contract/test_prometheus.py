"""The metrics adapter against a real Prometheus that scrapes a small server of the test's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from prometheus_rig import Server, Target, scrapes, wait_for

from tarsrelease.adapters.prometheus.samples import PrometheusMetrics
from tarsrelease.gates.measure import counting
from tarsrelease.gates.measure.attribution import owners
from tarsrelease.gates.measure.selectors import alternation
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.measurement import Series, Track
from tarsrelease.model.metrics_server import Prometheus
from tarsrelease.model.rollout import MetricLabels


@pytest.fixture
def metrics(server: Server) -> Iterator[PrometheusMetrics]:
    adapter = PrometheusMetrics(server.settings)
    yield adapter
    adapter.close()


def ask(metrics: PrometheusMetrics, selector: str, seconds: float = 60.0) -> list[Series]:
    return metrics.series([selector], seconds)[0]


def test_samples_come_as_they_were_scraped(target: Target, metrics: PrometheusMetrics) -> None:
    target.counter(41, test="raw", status="200")
    scrapes(target, 2)
    target.counter(55, test="raw", status="200")
    scrapes(target, 2)
    found = ask(metrics, 'requests_total{test="raw"}')
    assert len(found) == 1
    assert found[0].labels["status"] == "200"
    assert found[0].labels["job"] == "test"
    values = [sample.value for sample in found[0].samples]
    assert sorted(set(values)) == [41, 55]
    assert values == sorted(values)
    times = [sample.time for sample in found[0].samples]
    assert times == sorted(set(times))
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(0.4 < gap < 1.2 for gap in gaps), "timestamps are those of the scrapes"
    assert 0 <= metrics.server_time() - times[-1] < 1.5


def test_the_window_bounds_what_is_asked(target: Target, metrics: PrometheusMetrics) -> None:
    target.counter(1, test="window")
    scrapes(target, 6)
    newest = ask(metrics, 'requests_total{test="window"}', 1.0)[0].samples
    assert 1 <= len(newest) <= 3
    assert len(ask(metrics, 'requests_total{test="window"}', 60.0)[0].samples) >= 5


def test_each_selector_has_its_answer_and_none_is_an_empty_one(
    target: Target, metrics: PrometheusMetrics
) -> None:
    target.counter(1, test="many", n="1")
    target.counter(2, test="many", n="2")
    scrapes(target, 1)
    found = metrics.series(
        [
            'requests_total{test="many",n="2"}',
            'requests_total{test="none"}',
            'requests_total{test="many"}',
        ],
        60.0,
    )
    assert [len(series) for series in found] == [1, 0, 2]
    assert found[0][0].samples[-1].value == 2
    assert metrics.series([], 60.0) == []


def test_selectors_as_the_gates_fill_them_in_are_understood(
    target: Target, metrics: PrometheusMetrics
) -> None:
    target.counter(1, test="escaped", version="1.0.1")
    target.counter(1, test="escaped", version="1x0x1")
    target.counter(1, test="escaped", version="1.0.1+build-5")
    scrapes(target, 1)
    pattern = alternation(["1.0.1", "1.0.1+build-5"])
    found = ask(metrics, f'requests_total{{test="escaped",version=~"{pattern}"}}')
    assert {series.labels["version"] for series in found} == {"1.0.1", "1.0.1+build-5"}


def test_counts_are_those_that_were_served(target: Target, metrics: PrometheusMetrics) -> None:
    """Before and after a shift, over a reset, and with a series that is born in between."""
    labels = {"service": "api", "deployment": "canary", "version": "1.0.1", "pod": "p1"}
    target.counter(1000, test="count", status="200", **labels)
    scrapes(target, 2)
    shift = metrics.server_time()
    target.counter(1100, test="count", status="200", **labels)
    target.counter(7, test="count", status="500", **labels)
    scrapes(target, 2)
    target.counter(30, test="count", status="200", **labels)
    scrapes(target, 2)
    found = ask(metrics, 'requests_total{test="count"}')
    owner_of = owners(MetricLabels(), {Track.CANARY: "1.0.1"})
    counter = counting.fold(counting.start(shift, shift - 60), found, owner_of)
    gained = {dict(name)["status"]: line.increase() for name, line in counter.lines.items()}
    assert gained == {"200": 100 + 30, "500": 7}


def test_a_series_that_ended_has_no_stale_marker(
    target: Target, metrics: PrometheusMetrics
) -> None:
    target.counter(5, test="ends")
    scrapes(target, 2)
    target.lines = {name: value for name, value in target.lines.items() if "ends" not in name}
    scrapes(target, 2)
    found = ask(metrics, 'requests_total{test="ends"}')
    assert {sample.value for sample in found[0].samples} == {5}


def test_what_is_no_number_is_left_out(target: Target, metrics: PrometheusMetrics) -> None:
    target.counter(3, test="mixed")
    scrapes(target, 2)
    target.lines['requests_total{test="mixed"}'] = "NaN"
    scrapes(target, 2)
    assert {s.value for s in ask(metrics, 'requests_total{test="mixed"}')[0].samples} == {3}


@pytest.mark.parametrize("value", ["NaN", "+Inf"])
def test_only_what_is_no_number_is_no_measurement(
    target: Target, metrics: PrometheusMetrics, value: str
) -> None:
    name = f"only_{value.strip('+').lower()}"
    target.lines[f"{name}{{}}"] = value
    scrapes(target, 2)
    with pytest.raises(UnreachableError, match="no number"):
        ask(metrics, f"{name}{{}}")


def test_a_wrong_query_is_named(metrics: PrometheusMetrics) -> None:
    with pytest.raises(UsageError) as caught:
        ask(metrics, 'requests_total{test=="x"}')
    assert 'requests_total{test=="x"}' in caught.value.detail.doing
    assert "parse error" in caught.value.detail.found


def test_a_selector_that_is_no_selector_is_named(metrics: PrometheusMetrics) -> None:
    with pytest.raises(UsageError, match="sum"):
        ask(metrics, "sum(requests_total)")


def test_the_same_adapter_goes_on_after_a_restart_and_knows_what_was_before(
    target: Target, server: Server, metrics: PrometheusMetrics
) -> None:
    target.counter(10, test="restart")
    scrapes(target, 2)
    before = ask(metrics, 'requests_total{test="restart"}')
    server.stop()
    with pytest.raises(UnreachableError):
        ask(metrics, 'requests_total{test="restart"}')
    target.counter(25, test="restart")
    server.start()
    wait_for(lambda: ask(metrics, 'requests_total{test="restart"}')[0].samples[-1].value == 25)
    after = ask(metrics, 'requests_total{test="restart"}')
    assert set(before[0].samples) <= set(after[0].samples)


def test_a_target_that_cannot_be_scraped_leaves_old_samples(
    target: Target, metrics: PrometheusMetrics
) -> None:
    target.counter(1, test="down")
    scrapes(target, 2)
    target.up = False
    try:
        last = ask(metrics, 'requests_total{test="down"}')[0].samples[-1].time
        wait_for(lambda: metrics.server_time() > last + 2)
        assert ask(metrics, 'requests_total{test="down"}')[0].samples[-1].time < last + 1
    finally:
        target.up = True


def test_the_past_comes_on_a_grid(target: Target, metrics: PrometheusMetrics) -> None:
    """What plans are made from: the newest value at each step, for chunks that follow another."""
    target.counter(100, test="past")
    scrapes(target, 2)
    target.counter(160, test="past")
    scrapes(target, 3)
    end = metrics.server_time()
    found = metrics.recorded(['requests_total{test="past"}'], end - 1.0, end, 0.5)[0]
    assert len(found) == 1
    times = [sample.time for sample in found[0].samples]
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx(
        [0.5] * (len(times) - 1), abs=0.01
    )
    assert found[0].samples[-1].value == 160
    assert metrics.recorded(['requests_total{test="none"}'], end - 1.0, end, 0.5) == [[]]
    with pytest.raises(UsageError, match=r"11,000|maximum resolution"):
        metrics.recorded(['requests_total{test="past"}'], end - 1e6, end, 0.5)


def test_the_conditions_of_an_environment_are_in_every_query(
    target: Target, server: Server
) -> None:
    """Counts, denominators, presets and the past of one of two clusters on one server."""
    for cluster, value in (("eu1", 3), ("us1", 50)):
        target.counter(value, test="match", cluster=cluster, code="200")
        target.counter(value, test="match", cluster=cluster, code="500")
    scrapes(target, 2)
    shared = server.settings.model_copy(update={"match": 'cluster="eu1",test!=""'})
    adapter = PrometheusMetrics(shared)
    try:
        selectors = [
            'requests_total{test="match"}',
            'requests_total{code=~"5..",}',
            "requests_total",
        ]
        found = adapter.series(selectors, 60.0)
        now = adapter.server_time()
        found += adapter.recorded(selectors, now - 10, now, 1)
    finally:
        adapter.close()
    assert [len(series) for series in found] == [2, 1, 2] * 2
    assert {each.labels["cluster"] for series in found for each in series} == {"eu1"}


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("cluster=eu1", "a text in quotes after cluster="),
        ('{cluster="eu1"}', "expected a label"),
        ('cluster=~"(eu1"', "a ( is not closed"),
        ('__name__="x"', "each query has its own metric"),
    ],
)
def test_wrong_conditions_are_refused(match: str, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        Prometheus.model_validate({"url": "http://127.0.0.1:9", "match": match})
