"""Requests after a moment: for proofs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tarsrelease.gates.measure.served import increase, served
from tarsrelease.model.measurement import Sample, Series, Track
from tarsrelease.model.rollout import MetricLabels


def series(track: str, version: str, *samples: tuple[float, float]) -> Series:
    labels = {"service": "front", "deployment": track, "version": version, "pod": "p"}
    return Series(labels, tuple(Sample(time, value) for time, value in samples))


def test_what_came_before_the_moment_does_not_count() -> None:
    found = series("stable", "1", (5, 10), (10, 100), (15, 130), (20, 140))
    assert increase(found, 9) == (40, 3)
    assert increase(found, 16) == (0, 1)


def test_a_reset_counts_whole() -> None:
    assert increase(series("stable", "1", (10, 100), (15, 7), (20, 9)), 0) == (9, 3)


def test_sides_and_versions_are_told_apart_and_others_left_out() -> None:
    found = [
        series("stable", "v1", (10, 0), (15, 30)),
        series("stable", "2", (10, 0), (15, 5)),
        series("canary", "2", (10, 1), (15, 2)),
        series("elsewhere", "2", (10, 0), (15, 99)),
    ]
    counted = served(found, MetricLabels(), 9, 5)
    assert counted.total("front") == 36
    assert counted.total("front", track=Track.STABLE, version="1") == 30
    assert counted.total("front", version="2") == 6
    assert counted.total("back") == 0


def test_a_pod_that_has_gone_does_not_make_the_others_wait() -> None:
    found = [
        series("stable", "1", (10, 0), (15, 1), (20, 2)),
        series("stable", "1", (10, 0)),
    ]
    counted = served(found, MetricLabels(), 9, 5)
    assert list(counted.scrapes.values()) == [3]


def test_a_counter_that_two_collectors_have_counts_once() -> None:
    """Two Prometheus replicas, each with its own moments of scraping, and a slower one."""
    labels = {"service": "front", "deployment": "stable", "version": "1", "pod": "p"}
    first = Series(
        {**labels, "prometheus_replica": "a"}, tuple(Sample(t, 2.0 * t) for t in range(10, 31, 5))
    )
    second = Series(
        {**labels, "prometheus_replica": "b"}, tuple(Sample(t, 2.0 * t) for t in range(12, 29, 8))
    )
    counted = served([first, second], MetricLabels(), 9, 5)
    assert counted.total("front") == 40
    assert list(counted.scrapes.values()) == [5]


def test_two_processes_of_one_pod_count_apart() -> None:
    """The same labels of their own, and values that contradict each other."""
    labels = {"service": "front", "deployment": "stable", "version": "1", "pod": "p"}
    busy = tuple(Sample(t, 900.0 + 9 * t) for t in range(10, 31, 5))
    idle = tuple(Sample(t + 1, 1.0 * t) for t in range(10, 31, 5))
    found = [
        Series({**labels, "instance": "10.0.0.1:80"}, busy),
        Series({**labels, "instance": "10.0.0.1:81"}, idle),
    ]
    assert served(found, MetricLabels(), 9, 5).total("front") == 180 + 20


@given(
    rises=st.lists(st.integers(0, 50), min_size=2, max_size=12),
    collectors=st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=3),
)
def test_collecting_more_often_counts_no_more(
    rises: list[int], collectors: list[tuple[int, bool]]
) -> None:
    """Whatever the collectors' moments, each sees the same counter."""

    def value(time: float) -> float:
        return float(sum(rises[: int(time // 5)]))

    labels = {"service": "front", "deployment": "stable", "version": "1", "pod": "p"}
    end = 5 * len(rises) + 5
    found = [
        Series(
            {**labels, "job": f"job-{number}"},
            tuple(Sample(t, value(t)) for t in range(offset, end, 5 if often else 10)),
        )
        for number, (offset, often) in enumerate(collectors)
    ]
    most = max(increase(each, 0)[0] for each in found)
    assert served(found, MetricLabels(), 0, 5).total("front") == most
