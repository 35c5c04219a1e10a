"""How bursty errors are, told from the other side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gates_samples import INPUTS, KEY, NOW, by_law
from hypothesis import given
from hypothesis import strategies as st

from tarsrelease.gates.measure import per_scrape as ticking
from tarsrelease.gates.measure.attribution import owners
from tarsrelease.gates.stats.bursts import Spread, Ticks, binomial, burstiness, of_packs, pack_size
from tarsrelease.gates.stats.sequential_test import log_evidence_above
from tarsrelease.model.checks import ProportionCheck
from tarsrelease.model.measurement import Counts, Sample, Series, Track
from tarsrelease.model.outcome import Status
from tarsrelease.model.rollout import MetricLabels

LIMIT = ProportionCheck(kind="proportion", id="canary.error_rate", sli="errors", below=0.01)


def ticks(*found: tuple[float, float], pods: int = 1) -> Ticks:
    return Ticks(5.0, {f"s{n}": found for n in range(pods)})


def spread_of(found: Ticks, rate: float) -> Spread:
    told = burstiness(found)
    return binomial if told is None else told.at(rate)


def own_rate(found: Ticks) -> float:
    pod = next(iter(found.by_pod.values()))
    return sum(n for _, n in pod) / len(pod) / found.interval


@pytest.mark.parametrize("size", [4, 20])
def test_errors_in_clusters_of_one_size_spread_by_that_size(size: int) -> None:
    """Compound Poisson: for clusters of exactly m the spread is m, whatever the alternative."""
    rng = np.random.default_rng(1)
    found = ticks(*((float(size * rng.poisson(2.0)), 10_000.0) for _ in range(4000)))
    spread = spread_of(found, own_rate(found))
    for factor in (1.5, 2.0, 3.0):
        assert spread(factor) == pytest.approx(size, rel=0.15)


def test_independent_errors_spread_by_little_more_than_one() -> None:
    rng = np.random.default_rng(2)
    for requests, share in ((2000, 0.005), (100, 0.05), (20, 0.01)):
        found = ticks(*((float(rng.binomial(requests, share)), requests) for _ in range(240)))
        spread = spread_of(found, own_rate(found))
        assert all(1.0 <= spread(factor) < 1.6 for factor in (1.5, 2.0, 10.0, 1000.0))


def test_a_burst_that_lasts_is_seen_in_longer_blocks() -> None:
    """The same bad requests in a row or apart: only in a row do they make a burst."""
    apart = ticks(*(((30.0 if n % 8 == 0 else 0.0), 500.0) for n in range(64)))
    in_a_row = ticks(*(((30.0 if n < 8 else 0.0), 500.0) for n in range(64)))
    rate = own_rate(apart)
    assert spread_of(in_a_row, rate)(2.0) > 3 * spread_of(apart, rate)(2.0)


def test_packs_are_sized_by_how_unlike_the_pods_are() -> None:
    """Sizes that are geometric; the sum of many in a tick hides them from blocks of ticks."""
    rng = np.random.default_rng(4)
    for size, packs in ((5.0, 0.5), (20.0, 12.0)):
        pods = []
        for _ in range(2):
            number = rng.poisson(packs, 1500)
            bad = number + rng.negative_binomial(np.maximum(number, 1), 1 / size)
            pods.append(
                [(float(b) if n else 0.0, 3000.0) for b, n in zip(bad, number, strict=True)]
            )
        assert pack_size(pods) == pytest.approx(size, rel=0.15)


def test_independent_errors_and_what_strikes_all_pods_are_no_packs() -> None:
    rng = np.random.default_rng(5)
    steady = [[(float(b), 2000.0) for b in rng.binomial(2000, 0.01, 1500)] for _ in range(3)]
    assert pack_size(steady) == 1.0
    struck = [0.3 if n % 300 < 3 else 0.001 for n in range(1500)]
    together = [[(float(rng.binomial(2000, p)), 2000.0) for p in struck] for _ in range(3)]
    assert pack_size(together) == 1.0
    told = burstiness(Ticks(5.0, {str(pod): ticks for pod, ticks in enumerate(together)}))
    assert told is not None
    assert told.together(2.0) > 50


@pytest.mark.parametrize("size", [3.0, 20.0])
@pytest.mark.parametrize("factor", [2.0, 30.0])
def test_a_bet_on_packs_does_not_grow_with_their_spread(size: float, factor: float) -> None:
    """The mean of the tempered bet over simulated requests is 1, and more with less tempering."""
    share, requests = 0.02, 60.0
    rng = np.random.default_rng(6)
    number = rng.binomial(int(requests), share / size, 400_000)
    bad = number + np.where(number, rng.negative_binomial(np.maximum(number, 1), 1 / size), 0)
    bet = bad * np.log(factor) - requests * np.log1p(share * (factor - 1))
    spread = of_packs(size, share)(factor)
    # The tail is heavy at the root itself: half a temper more is safely finite.
    assert np.exp(bet / (1.5 * spread)).mean() < 1.0
    assert np.exp(bet / (0.8 * spread)).mean() > 1.0
    assert of_packs(1.0, share)(factor) == 1.0


def test_a_burst_of_all_pods_is_smaller_where_there_is_less_traffic_a_pack_is_not() -> None:
    rng = np.random.default_rng(7)
    struck = [0.3 if n % 60 < 3 else 0.001 for n in range(600)]
    of_all = {str(pod): [(float(rng.binomial(500, p)), 500.0) for p in struck] for pod in range(2)}
    of_one = {**of_all, "1": [(0.0, 500.0)] * 600}
    for found, shrinks in ((of_all, True), (of_one, False)):
        told = burstiness(Ticks(5.0, found))
        assert told is not None
        whole, tenth = told.at(100.0)(2.0), told.at(10.0)(2.0)
        assert (tenth < whole / 5) == shrinks


def test_what_is_beyond_one_grows_with_the_traffic() -> None:
    found = ticks(*(((40.0 if n % 10 == 0 else 0.0), 500.0) for n in range(60)))
    whole, tenfold = spread_of(found, 100.0)(2.0), spread_of(found, 1000.0)(2.0)
    assert tenfold - 1 == pytest.approx((whole - 1) * 10)
    assert spread_of(found, 0.0)(2.0) == spread_of(found, 10.0)(2.0) == whole


@pytest.mark.parametrize(
    "found",
    [Ticks(5.0, {}), ticks(*[(0.0, 100.0)] * 60), ticks(*[(5.0, 100.0)] * 3), ticks((1, 1))],
)
def test_nothing_known_is_no_spread(found: Ticks) -> None:
    assert spread_of(found, 10.0)(2.0) == 1.0


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(60, 500)), max_size=60),
    st.floats(0.1, 1000),
    st.integers(0, 200),
    st.floats(0.001, 0.4),
)
def test_a_spread_never_makes_proof_of_what_was_none(
    found: list[tuple[int, int]], rate: float, bad: int, limit: float
) -> None:
    spread = spread_of(ticks(*((float(b), float(n)) for b, n in found)), rate)
    assert all(spread(factor) >= 1.0 for factor in (1.5, 2.0, 1000.0))
    naive = log_evidence_above(bad, 1000, limit)
    assert log_evidence_above(bad, 1000, limit, spread) <= max(naive, 0.0) + 1e-9
    assert log_evidence_above(bad, 1000, limit, binomial) == naive


def test_a_burst_that_strikes_both_sides_does_not_fail_the_canary() -> None:
    """Five seconds in which a tenth of all requests failed, on either side."""
    told = burstiness(ticks(*[(1.0, 500.0)] * 60, (50.0, 500.0)))
    assert told is not None
    counts = {"errors": {KEY: Counts(50, 600, NOW)}}
    inputs = replace(INPUTS, counts=counts, elapsed=6.0)
    assert by_law(LIMIT, inputs).status is Status.FAIL
    with_stable = replace(inputs, bursts=lambda _sli, _service: [told])
    check = by_law(LIMIT, with_stable)
    assert check.status is Status.INCONCLUSIVE
    assert "bursts on stable, too" in check.reason


def test_a_canary_that_only_fails_is_found_beside_a_steady_stable() -> None:
    told = burstiness(ticks(*[(1.0, 500.0), (0.0, 500.0)] * 30))
    assert told is not None
    inputs = replace(
        INPUTS,
        counts={"errors": {KEY: Counts(8, 8, NOW)}},
        bursts=lambda _sli, _service: [told],
        elapsed=2.0,
    )
    assert by_law(LIMIT, inputs).status is Status.FAIL


# Ticks from raw samples

OWNERS = owners(MetricLabels(), {Track.CANARY: "1.0.1", Track.STABLE: None})


def series(values: list[float], first: float = 1000.0, **labels: str) -> Series:
    said = {"service": "api", "deployment": "stable", "version": "1.0.0", "pod": "s1", **labels}
    return Series(said, tuple(Sample(first + 5 * n, value) for n, value in enumerate(values)))


def gathered(*found: Series, before: ticking.Rises | None = None) -> ticking.Rises:
    return ticking.gather(before or ticking.Rises(), found, OWNERS, Track.STABLE, 5.0)


def test_rises_are_counted_slot_by_slot_and_once() -> None:
    of = gathered(series([100, 150, 200, 20]))
    of = gathered(series([100, 150, 200, 20, 60]), before=of)
    bad = gathered(series([1, 1, 3, 0, 0], status="500"))
    found = ticking.ticks(of, bad, "api", part_is_good=False, interval=5.0)
    assert found is not None
    assert found.by_pod == {"s1": [(0, 50), (2, 50), (0, 20), (0, 40)]}


def test_a_pod_that_two_jobs_scrape_under_two_instances_counts_once() -> None:
    twice = [series([100, 150, 200], instance=name) for name in ("10.0.0.1:8080", "s1")]
    of = gathered(*twice)
    bad = gathered(*(series([0, 0, 0], status="500", instance=i) for i in ("10.0.0.1:8080", "s1")))
    bad = gathered(
        *(series([0, 0, 0, 3], status="500", instance=i) for i in ("10.0.0.1:8080", "s1")),
        before=bad,
    )
    of = gathered(
        *(series([100, 150, 200, 250], instance=i) for i in ("s1", "10.0.0.1:8080")), before=of
    )
    found = ticking.ticks(of, bad, "api", part_is_good=False, interval=5.0)
    assert found is not None
    assert found.by_pod == {"s1": [(0, 50), (0, 50), (3, 50)]}


def test_a_pod_that_two_jobs_scrape_with_labels_of_their_own_counts_once() -> None:
    annotated = {"job": "pods", "node": "n1", "instance": "10.0.0.1:8080"}
    monitored = {"job": "api", "container": "api", "instance": "10.0.0.1:8080"}
    of = gathered(*(series([100, 150, 200], **own) for own in (annotated, monitored)))
    bad = gathered(*(series([0, 1, 3], status="500", **own) for own in (annotated, monitored)))
    found = ticking.ticks(of, bad, "api", part_is_good=False, interval=5.0)
    assert found is not None
    assert found.by_pod == {"s1": [(1, 50), (2, 50)]}


def test_two_processes_of_a_pod_count_both_in_every_tick() -> None:
    of = gathered(
        series([100, 150, 200], instance="10.0.0.1:8080"),
        series([7, 27, 47], instance="10.0.0.1:8081"),
    )
    found = ticking.ticks(of, gathered(), "api", part_is_good=False, interval=5.0)
    assert found is not None
    assert found.by_pod == {"s1": [(0, 70), (0, 70)]}


def test_good_requests_are_taken_from_all_and_only_where_both_were_seen() -> None:
    of = gathered(series([100, 150, 200]), series([7, 9], pod="s2"))
    good = gathered(series([90, 138], le="0.1"))
    found = ticking.ticks(of, good, "api", part_is_good=True, interval=5.0)
    assert found is not None
    assert found.by_pod == {"s1": [(2, 50)]}


def test_the_judged_side_and_other_services_are_no_ticks() -> None:
    canary = series([1, 2], deployment="canary", version="1.0.1")
    of = gathered(canary, series([1, 2], service="web"))
    assert ticking.ticks(of, of, "api", part_is_good=False, interval=5.0) is None
