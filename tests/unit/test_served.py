"""Requests after a moment: for proofs."""

from __future__ import annotations

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
