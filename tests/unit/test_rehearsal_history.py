"""The day before the rehearsal: healthy, gapless, and the same whenever it is written."""

from __future__ import annotations

import re
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from tarsrelease.rehearsal import backfill, history

DAY = 86_400
NOON = 1_795_435_200

Samples = dict[str, dict[int, float]]


def _samples(begin: int, end: int) -> Samples:
    found: Samples = defaultdict(dict)
    for line in history.lines(begin, end):
        if line != "# EOF\n":
            series, value, time = line.rsplit(" ", 2)
            found[series][int(time)] = float(value)
    return found


@settings(deadline=None, max_examples=20)
@given(begin=st.integers(NOON, NOON + DAY), cut=st.integers(1, 3000), rest=st.integers(1, 3000))
def test_two_stretches_are_the_same_as_one(begin: int, cut: int, rest: int) -> None:
    whole = list(history.lines(begin, begin + cut + rest))
    first = list(history.lines(begin, begin + cut))
    second = list(history.lines(begin + cut, begin + cut + rest))
    assert sorted(whole) == sorted(set(first + second))


@given(time=st.floats(NOON, NOON + DAY), later=st.floats(0.001, DAY))
def test_traffic_never_runs_backwards(time: float, later: float) -> None:
    assert history.elapsed(time + later) > history.elapsed(time)


def test_counters_only_rise_and_buckets_nest() -> None:
    samples = _samples(NOON, NOON + 7200)
    counters = {name: values for name, values in samples.items() if "_total{" in name}
    counters |= {name: values for name, values in samples.items() if "_bucket{" in name}
    assert len(counters) > 50
    for name, values in counters.items():
        ordered = [values[time] for time in sorted(values)]
        assert ordered == sorted(ordered), name
    for name in samples:
        if 'le="0.1"' in name:
            narrower = samples[name.replace('le="0.1"', 'le="0.09"')]
            assert all(narrower[time] <= value for time, value in samples[name].items())


def test_yesterday_was_inside_every_limit_of_the_runbook() -> None:
    samples = _samples(NOON, NOON + DAY)

    def grown(part: str) -> float:
        return sum(max(v.values()) - min(v.values()) for n, v in samples.items() if part in n)

    failed = grown('status="500"') / (grown('status="500"') + grown('status="200"'))
    assert 0 < failed < 0.001
    within = grown('le="0.1"') / grown("http_request_duration_seconds_count")
    assert 1 - within < 0.02


def test_yesterdays_pods_are_out_of_sight_when_the_rehearsal_begins() -> None:
    lookback = 300  # Prometheus' default
    begin, end = backfill._tail(NOON + 1234.5)
    assert NOON + 1234.5 - end > lookback
    assert begin % 7200 == 0
    assert list(backfill._periods(NOON + 1234.5))[-1] + 7200 == begin


def test_every_series_names_whose_it_is() -> None:
    for series in _samples(NOON, NOON + 60):
        assert re.search(r'namespace="tars-(production|staging)"', series)
        assert 'pod="tars-' in series
