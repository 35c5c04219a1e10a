"""Increases from raw samples, against a plain count of what was served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsrelease.gates.measure import counting
from tarsrelease.gates.measure.attribution import owners, proportion
from tarsrelease.gates.measure.counting import Counter
from tarsrelease.model.measurement import Counts, Sample, Series, Track, Unmeasured
from tarsrelease.model.rollout import MetricLabels

SHIFT, REACH = 1000.0, 700.0
KEY = ("api", Track.CANARY)
OWNERS = owners(MetricLabels(), {Track.CANARY: "1.0.1", Track.STABLE: None})


def series(
    *samples: tuple[float, float],
    pod: str = "p1",
    version: str = "1.0.1",
    track: str = "canary",
    **labels: str,
) -> Series:
    said = {"service": "api", "deployment": track, "version": version, "pod": pod, **labels}
    return Series(said, tuple(Sample(time, value) for time, value in samples))


def fold(
    *found: Series,
    counter: Counter | None = None,
    known: frozenset[str] = frozenset(),
    births: Mapping[str, float] | None = None,
    keep: float = 60.0,
) -> Counter:
    before = counter or counting.start(SHIFT, REACH)
    return counting.fold(before, found, OWNERS, known=known, births=births, keep=keep)


def total(counter: Counter) -> float:
    return sum(line.increase() for line in counter.lines.values() if line.owner.key == KEY)


def test_counts_from_the_last_sample_at_or_before_the_shift() -> None:
    assert total(fold(series((990, 70), (995, 100), (1000, 110), (1005, 150)))) == 40


def test_a_drop_counts_the_new_value_whole() -> None:
    assert total(fold(series((999, 500), (1004, 510), (1009, 3), (1014, 8)))) == 10 + 3 + 5


def test_a_series_born_after_the_shift_counts_from_zero_with_its_first_sample() -> None:
    assert total(fold(series((1003, 7)))) == 7


def test_a_predecessor_of_another_version_is_left_out() -> None:
    counter = fold(series((1001, 900), version="1.0.0"), series((1001, 4), pod="p2"))
    assert total(counter) == 4
    assert counter.left_out == 1


def test_a_version_may_be_written_with_a_v() -> None:
    assert total(fold(series((1001, 4), version="v1.0.1"))) == 4


def test_an_old_pod_that_was_not_scraped_for_a_while_does_not_bring_its_lifetime() -> None:
    counter = fold(series((1004, 90_000), (1009, 90_050)), births={"p1": REACH - 1})
    assert total(counter) == 50


def test_a_late_series_of_a_scraped_target_counts_from_zero() -> None:
    """The first error of a pod whose client library makes series only when they are needed."""
    counter = fold(
        series((1004, 5), status="500"), births={"p1": REACH - 1}, known=frozenset({"p1"})
    )
    assert total(counter) == 5


def test_a_pod_of_unknown_age_counts_from_zero() -> None:
    assert total(fold(series((1004, 5)), births={"other": 0.0})) == 5


def test_scraped_before_names_targets_with_samples_before_the_shift() -> None:
    found = [series((995, 1)), series((1003, 1), pod="p2"), series((995, 1), version="0.9")]
    assert counting.scraped_before(found, OWNERS, SHIFT) == {"p1"}


def test_samples_that_come_again_count_once_even_after_compaction() -> None:
    counter = fold(series((995, 10), (1005, 20), (1100, 50)), keep=10)
    again = fold(series((995, 10), (1005, 20), (1100, 50)), counter=counter, keep=10)
    assert total(counter) == total(again) == 40


def test_a_late_sample_from_before_the_shift_becomes_the_start() -> None:
    counter = fold(series((1005, 120)))
    assert total(counter) == 120
    assert total(fold(series((998, 100)), counter=counter)) == 20


def test_a_series_that_ended_keeps_what_it_gained() -> None:
    counter = fold(series((995, 10), (1005, 30)))
    later = fold(series((1500, 1), pod="p2"), counter=counter)
    assert total(later) == 20 + 1


def test_a_series_without_samples_counts_nothing() -> None:
    assert total(fold(series())) == 0


def test_the_first_query_must_reach_back_to_the_shift() -> None:
    with pytest.raises(ValueError, match="reach back"):
        counting.start(SHIFT, SHIFT + 1)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Samples every 5 s of a counter that sometimes starts again."""
    value, result = float(draw(st.integers(0, 50))), []
    for number in range(draw(st.integers(1, 25))):
        if draw(st.integers(0, 6)) == 0:
            value = 0.0
        value += draw(st.integers(0, 9))
        result.append((985.0 + 5 * number, value))
    return result


def expected(samples: Sequence[tuple[float, float]]) -> float:
    before = [value for time, value in samples if time <= SHIFT]
    last, gained = (before[-1] if before else 0.0), 0.0
    for time, value in samples:
        if time > SHIFT:
            gained += value - last if value >= last else value
            last = value
    return gained


@given(histories(), st.data())
def test_any_order_and_any_packets_give_the_same_count(
    history: list[tuple[float, float]], data: st.DataObject
) -> None:
    """Late, repeated and out of order, as long as nothing is later than what is kept open."""
    arrivals = data.draw(st.permutations(history)) + data.draw(
        st.lists(st.sampled_from(history), max_size=5)
    )
    counter = counting.start(SHIFT, REACH)
    while arrivals:
        size = data.draw(st.integers(1, len(arrivals)))
        counter = fold(series(*arrivals[:size]), counter=counter, keep=1e9)
        arrivals = arrivals[size:]
    assert total(counter) == expected(history)


@given(histories(), st.integers(0, 40), st.integers(1, 4))
def test_asking_for_the_newest_only_gives_the_same_count(
    history: list[tuple[float, float]], keep: int, overlap: int
) -> None:
    counter = counting.start(SHIFT, REACH)
    for number in range(1, len(history) + 1):
        first = 0 if number == 1 else max(0, number - 1 - overlap)
        counter = fold(series(*history[first:number]), counter=counter, keep=float(keep))
    assert total(counter) == expected(history)


@given(st.permutations(range(6)))
def test_the_order_of_series_changes_nothing(order: list[int]) -> None:
    found = [series((995, 10), (1005, 20.0 + n), pod=f"p{n}") for n in range(6)]
    assert total(fold(*(found[n] for n in order))) == total(fold(*found))


def measure(of: Counter, part: Counter, *, good: bool = True) -> Counts | Unmeasured:
    return proportion(of, part, part_is_good=good)(KEY)


def test_a_scrape_that_only_one_query_has_seen_does_not_count_yet() -> None:
    """Else 50 requests without their good ones would look like 50 failures."""
    of = fold(series((995, 100), (1005, 150), (1010, 200)))
    good = fold(series((995, 100), (1005, 150)))
    assert measure(of, good) == Counts(bad=0, total=50, newest=1005)


def test_the_other_query_may_be_ahead_too() -> None:
    of = fold(series((995, 100), (1005, 150)))
    good = fold(series((995, 100), (1005, 140), (1010, 190)))
    assert measure(of, good) == Counts(bad=10, total=50, newest=1005)


def test_failures_of_a_pod_without_good_series_count_from_the_next_look_on() -> None:
    """A pod that has never answered well has no such series; others have, so it can be told."""
    stable = series((995, 5), (1005, 9), pod="s1", track="stable", version="1.0.0")
    of = fold(series((1005, 8)), stable)
    good = fold(stable)
    assert measure(of, good) == Counts(bad=0, total=0, newest=None)
    of = fold(series((1005, 8)), counter=of)
    assert measure(of, fold(counter=good)) == Counts(bad=8, total=8, newest=1005)


def test_good_series_that_stopped_do_not_hide_failures_after_a_restart() -> None:
    of = fold(series((995, 100), (1005, 150)))
    good = fold(series((995, 100), (1005, 150)))
    of = fold(series((1010, 20)), counter=of)
    good = fold(counter=good)
    assert measure(of, good) == Counts(bad=0, total=50, newest=1005)
    of = fold(series((1010, 20)), counter=of)
    assert measure(of, fold(counter=good)) == Counts(bad=20, total=70, newest=1010)


def test_a_good_selector_that_matches_nothing_anywhere_is_no_failure() -> None:
    measured = measure(fold(series((1005, 8))), fold())
    assert isinstance(measured, Unmeasured)
    assert "matches no series" in measured.reason


def test_no_bad_series_anywhere_counts_no_bad_request() -> None:
    of = fold(counter=fold(series((995, 1), (1005, 8))))
    assert measure(of, fold(), good=False) == Counts(bad=0, total=7, newest=1005)


def test_newest_is_that_of_the_living_pod_that_was_scraped_longest_ago() -> None:
    found = [series((1005, 8)), series((1050, 8), pod="p2"), series((1001, 1), pod="gone")]
    of, bad = fold(*found), fold(*found)
    alive = proportion(of, bad, part_is_good=False, alive=frozenset({"p1", "p2"}))(KEY)
    unknown = proportion(of, bad, part_is_good=False, alive=None)(KEY)
    assert isinstance(alive, Counts)
    assert isinstance(unknown, Counts)
    assert (alive.newest, unknown.newest) == (1005, 1050)
