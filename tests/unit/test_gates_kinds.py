"""The kinds of check that compare, that count events, and that ask elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log

import pytest
from gates_samples import BESIDE, INPUTS, KEY, NAME, NOW, by_law, cluster, of_pods, pod
from gates_samples import readings as every_five_seconds
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import binom, mannwhitneyu

from tarsrelease.gates.checks.compare import log_evidence_worse
from tarsrelease.gates.checks.drift import drifted
from tarsrelease.gates.checks.like_stable import dominance
from tarsrelease.gates.stats.sequential_test import ODDS_ABOVE, highest_share
from tarsrelease.model.base import Amount
from tarsrelease.model.checks import (
    AbsentCheck,
    CapacityCheck,
    CompareCheck,
    DriftCheck,
    ExternalCheck,
    GaugeCheck,
    LikeStableCheck,
    ManualCheck,
    NumberSource,
    ReconnectsCheck,
    StagingDriftCheck,
    SuiteCheck,
)
from tarsrelease.model.measurement import (
    Counts,
    ExternalAnswer,
    Gauges,
    Key,
    Number,
    Requests,
    Sample,
    Track,
    Unmeasured,
    Usage,
)
from tarsrelease.model.outcome import Check, Status
from tarsrelease.model.suite import SuiteResult, SuiteTest

STABLE = ("api", Track.STABLE)
COMPARE = CompareCheck(kind="compare", id="canary.compare_errors", sli="errors")
DRIFT = DriftCheck(kind="drift", id="canary.drift", sli="errors", within=0.05)
STAGING = StagingDriftCheck(
    kind="drift_from_staging", id="canary.like_staging", sli="errors", within=0.05
)
LIKE = LikeStableCheck(kind="like_stable", id="canary.memory_like_stable", sli="memory")
ABSENT = AbsentCheck(kind="absent", id="canary.crash_loops")
RECONNECTS = ReconnectsCheck(kind="reconnects", id="canary.reconnects", sli="reconnects")
CAPACITY = CapacityCheck(kind="capacity", id="canary.pools", sli="pools")
EXTERNAL = ExternalCheck(
    kind="external",
    id="canary.tickets",
    source=NumberSource(command=("tickets", "--open")),
    at_most=3.0,
    every=30.0,
    timeout=5.0,
)
SUITE = SuiteCheck(kind="suite", id="canary.spot_checks", marks=("canary",), at_least=2)
MANUAL = ManualCheck(kind="manual", id="canary.customers", question="No customer reports?")


def beside(
    rule: CompareCheck | DriftCheck,
    ours: tuple[float, float],
    theirs: tuple[float, float],
    age: float = 1.0,
) -> Check:
    """(bad, all) of the canary and of stable."""
    counts = {KEY: Counts(*ours, NOW - age), STABLE: Counts(*theirs, NOW - 1.0)}
    return by_law(rule, replace(INPUTS, counts={rule.sli: counts}))


# Counts against counts


def test_the_evidence_is_that_of_the_conditional_test() -> None:
    """Of all bad requests the canary's are binomial, given the exposures; margin 1.2."""
    ours, theirs = Counts(30, 1000, NOW), Counts(90, 9000, NOW)
    exposed = 1.2 * 1000 / (1.2 * 1000 + 9000)
    ratios = []
    for factor in ODDS_ABOVE:
        odds = factor * exposed / (1 - exposed)
        ratios.append(
            binom.pmf(30, 120, odds / (1 + odds)) / binom.pmf(30, 120, exposed) / len(ODDS_ABOVE)
        )
    assert log_evidence_worse(ours, theirs, COMPARE) == pytest.approx(log(sum(ratios)))


@pytest.mark.parametrize(
    ("ours", "theirs", "status"),
    [
        ((0, 5000), (0, 50_000), Status.PASS),
        ((25, 5000), (250, 50_000), Status.PASS),  # alike
        ((30, 5000), (250, 50_000), Status.PASS),  # 1.2 times, well within chance
        ((120, 5000), (250, 50_000), Status.FAIL),  # 4.8 times
        ((4, 7000), (0, 50_000), Status.PASS),  # worse, but below what is tolerated
        ((4, 5000), (0, 50_000), Status.INCONCLUSIVE),  # twice what is tolerated has so few, too
        ((100, 1000), (5000, 50_000), Status.INCONCLUSIVE),  # alike, but too few to tell
        ((0, 5000), (0, 100), Status.INCONCLUSIVE),
        ((0, 0), (0, 100), Status.INCONCLUSIVE),
        ((0, 100), (0, 0), Status.INCONCLUSIVE),
        ((5, 5), (1, 50_000), Status.FAIL),
    ],
)
def test_the_canary_against_stable(
    ours: tuple[float, float], theirs: tuple[float, float], status: Status
) -> None:
    check = beside(COMPARE, ours, theirs)
    assert check.status is status, check.reason


def test_what_is_better_than_stable_is_not_worse() -> None:
    assert beside(COMPARE, (0, 5000), (2500, 50_000)).status is Status.PASS


def test_suspicion_without_proof_waits() -> None:
    check = beside(COMPARE, (60, 5000), (250, 50_000))
    assert check.status is Status.INCONCLUSIVE
    assert "not proven" in check.reason


def test_a_difference_that_nobody_cares_about_is_no_failure() -> None:
    tolerant = COMPARE.model_copy(update={"tolerated": 0.03})
    assert beside(COMPARE, (100, 5000), (250, 50_000)).status is Status.FAIL
    assert beside(tolerant, (100, 5000), (250, 50_000)).status is Status.PASS


@pytest.mark.parametrize("rule", [COMPARE, DRIFT])
def test_a_side_that_is_not_measured_is_an_error(rule: CompareCheck | DriftCheck) -> None:
    fine, refused = Counts(0, 5000, NOW), Unmeasured("refused")
    for counts in ({KEY: refused, STABLE: fine}, {KEY: fine, STABLE: refused}, {}):
        check = by_law(rule, replace(INPUTS, counts={rule.sli: counts}))
        assert check.status is Status.ERROR
    assert beside(rule, (0, 5000), (0, 5000), age=16).status is Status.ERROR


def test_a_comparison_with_stable_has_no_place_in_the_last_stage() -> None:
    with pytest.raises(ValidationError, match="no traffic at 100%"):
        _rollout_with(COMPARE)


def _rollout_with(rule: CompareCheck) -> None:
    from tarsrelease.model.rollout import ProportionSli, Rollout, Stage

    requests = 'requests{service=~"$service"}'
    Rollout.model_validate(
        {
            "schema": "tarsrelease/rollout/v1",
            "application": "a",
            "version": "1.0.1",
            "chart": "a.tgz",
            "canary_values": "v.yaml",
            "services": [
                {
                    "name": "api",
                    "port": 80,
                    "stable": {"deployment": "a", "service": "a"},
                    "canary": {"deployment": "b", "service": "b"},
                    "route": "r",
                    "hosts": ["web"],
                    "paths": ["/"],
                    "smoke": [{"path": "/"}],
                }
            ],
            "slis": {"errors": ProportionSli(kind="proportion", of=requests, bad=requests)},
            "stages": [Stage(weight=100, duration=60.0, checks=(rule,))],
        }
    )


# Drift


@pytest.mark.parametrize(
    ("ours", "theirs", "status"),
    [
        ((0, 1000), (0, 9000), Status.PASS),
        ((40, 1000), (0, 9000), Status.PASS),
        ((60, 1000), (0, 9000), Status.INCONCLUSIVE),
        ((120, 1000), (0, 9000), Status.FAIL),
        ((120, 1000), (900, 9000), Status.PASS),
        ((0, 1000), (900, 9000), Status.PASS),
        ((0, 58), (0, 9000), Status.INCONCLUSIVE),
    ],
)
def test_drift_from_stable(
    ours: tuple[float, float], theirs: tuple[float, float], status: Status
) -> None:
    check = beside(DRIFT, ours, theirs)
    assert check.status is status, check.reason


def test_drift_is_relative_to_the_good_share() -> None:
    assert drifted(Counts(19, 100, NOW), Counts(10, 100, NOW)) == pytest.approx(0.1)
    assert drifted(Counts(5, 100, NOW), Counts(10, 100, NOW)) < 0
    assert drifted(Counts(5, 5, NOW), Counts(5, 5, NOW)) == 0


def in_staging(*counts: float) -> Requests:
    return Requests({"api": Counts(counts[0], counts[1], None)})


@pytest.mark.parametrize(
    ("ours", "answer", "status"),
    [
        ((5, 10_000), in_staging(0, 10_000), Status.PASS),
        ((900, 10_000), in_staging(0, 10_000), Status.FAIL),
        ((900, 10_000), in_staging(900, 10_000), Status.PASS),
        ((0, 10_000), in_staging(0, 58), Status.INCONCLUSIVE),
        ((0, 10_000), in_staging(0, 0), Status.INCONCLUSIVE),
        ((0, 10_000), None, Status.INCONCLUSIVE),
        ((0, 10_000), Requests({}), Status.ERROR),
        ((0, 10_000), Requests({"api": Unmeasured("refused")}), Status.ERROR),
        ((0, 10_000), Unmeasured("no such file"), Status.ERROR),
        ((0, 10_000), True, Status.ERROR),
        ((0, 10_000), Requests(None), Status.SKIPPED),
    ],
)
def test_drift_from_staging(
    ours: tuple[float, float], answer: ExternalAnswer | None, status: Status
) -> None:
    """By stable's law, with no traffic on stable; nothing passes because staging is silent."""
    told: Mapping[str, ExternalAnswer] = {} if answer is None else {STAGING.id: answer}
    counts: dict[Key, Counts | Unmeasured] = {KEY: Counts(*ours, NOW)}
    check = by_law(STAGING, replace(INPUTS, counts={"errors": counts}, external=told))
    assert check.status is status, check.reason


def test_the_highest_share_that_counts_allow() -> None:
    """Wider than the fixed-sample bound of Clopper and Pearson, as it holds at every look."""
    from scipy.stats import beta

    for bad, total in ((0, 100), (5, 1000), (90, 100)):
        fixed = float(beta.ppf(0.99, bad + 1, total - bad))
        assert fixed < highest_share(bad, total, 0.01) < 6 * fixed + 0.1
    assert highest_share(0, 0, 0.01) == 1.0
    assert highest_share(10, 10, 0.01) == 1.0


# Readings against readings


def like(
    ours: Sequence[float], theirs: Sequence[float], rule: LikeStableCheck = LIKE, end: float = NOW
) -> Check:
    by_side = {
        NAME: Gauges({"p1": every_five_seconds(*ours, end=end)}),
        BESIDE: Gauges({"s1": every_five_seconds(*theirs, end=end)}),
    }
    return by_law(rule, replace(INPUTS, gauges={rule.sli: by_side}))


FLAT = [100.0, 101.0, 99.0] * 5


def test_readings_like_those_of_stable_pass_and_doubled_ones_fail() -> None:
    assert like(FLAT, FLAT).status is Status.PASS
    assert like([2 * value for value in FLAT], FLAT).status is Status.FAIL
    assert like([1.4 * value for value in FLAT], FLAT).status is Status.PASS
    assert like([0.2 * value for value in FLAT], FLAT).status is Status.PASS
    assert like([0.0] * 15, [0.0] * 15).status is Status.PASS
    assert like([1.0] * 15, [0.0] * 15).status is Status.FAIL


def test_an_outlier_moves_nothing() -> None:
    assert like([*FLAT[:-1], 1e12], FLAT).status is Status.PASS
    assert like([2 * v for v in FLAT[:-1]] + [0.0], [*FLAT[:-1], 1e12]).status is not Status.PASS


def test_half_of_the_readings_higher_cannot_be_told() -> None:
    assert like([100.0] * 7 + [200.0] * 8, FLAT).status is Status.INCONCLUSIVE


def test_few_old_or_no_readings_do_not_pass() -> None:
    assert like(FLAT[:11], FLAT).status is Status.INCONCLUSIVE
    assert like(FLAT, FLAT[:11]).status is Status.INCONCLUSIVE
    assert like([float("nan")] * 15, FLAT).status is Status.INCONCLUSIVE
    assert like([], FLAT).status is Status.INCONCLUSIVE
    assert like(FLAT, FLAT, end=NOW - 60).status is Status.ERROR
    assert by_law(LIKE).status is Status.ERROR


def rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


# To `dominance` what differs by the rounding of floats alone is the same reading.
values = st.lists(st.floats(0.001, 1000).map(lambda x: rounded(x, 6)), min_size=1, max_size=25)


@given(values, values, st.sampled_from([1.0, 1.5]))
def test_dominance_is_mann_and_whitneys_statistic(
    ours: list[float], theirs: list[float], factor: float
) -> None:
    statistic = mannwhitneyu(ours, [rounded(factor * value, 9) for value in theirs]).statistic
    expected = float(statistic) / (len(ours) * len(theirs))
    assert dominance(ours, theirs, factor) == pytest.approx(expected)


many = st.lists(st.floats(0.01, 1e6), min_size=12, max_size=30)
units = st.sampled_from([1e-6, 1e-3, 1e6])


@given(many, many, units)
def test_the_unit_changes_no_verdict_of_a_comparison(
    ours: list[float], theirs: list[float], unit: float
) -> None:
    scaled = like([unit * value for value in ours], [unit * value for value in theirs])
    assert scaled.status is like(ours, theirs).status


def in_bytes(value: float) -> Amount:
    return Amount(value=value, unit="bytes")


@given(many, st.floats(0.01, 1e6), units)
def test_the_unit_changes_no_verdict_of_a_limit(
    samples: list[float], limit: float, unit: float
) -> None:
    def status(scale: float) -> Status:
        rule = GaugeCheck(kind="gauge", id="a.b", sli="memory", below=in_bytes(scale * limit))
        seen = Gauges({"p1": every_five_seconds(*(scale * value for value in samples))})
        return by_law(rule, replace(INPUTS, gauges={"memory": {NAME: seen}})).status

    assert status(1.0) is status(unit)


@pytest.mark.parametrize(
    ("samples", "status"),
    [
        ((0.95, 0.94, 0.93, 0.96), Status.PASS),
        ((0.9, 0.9, 0.9, 0.9), Status.PASS),
        ((0.95, 0.95, 0.95, 0.5), Status.INCONCLUSIVE),
        ((0.95, 0.5, 0.5, 0.5, 0.5), Status.FAIL),
        ((0.5, 0.5, 0.5, 0.5, 0.95), Status.FAIL),
    ],
)
def test_a_gauge_may_have_a_limit_from_below(samples: tuple[float, ...], status: Status) -> None:
    rule = GaugeCheck.model_validate(
        {"kind": "gauge", "id": "a.hits", "sli": "hits", "at_least": "90%"}
    )
    seen = Gauges({"p1": every_five_seconds(*samples)})
    check = by_law(rule, replace(INPUTS, gauges={"hits": {NAME: seen}}))
    assert check.status is status, check.reason
    assert check.expected == "≥ 90 % in every pod"
    assert check.observed is not None
    assert check.observed.value == min(samples[-1:] if status is not Status.FAIL else samples)


def test_a_gauge_of_a_whole_side_needs_no_reading_of_each_pod() -> None:
    rule = GaugeCheck.model_validate({"kind": "gauge", "id": "a.b", "sli": "open", "below": "200"})
    fresh = Gauges({NAME: (Sample(NOW - 5, 40.0), Sample(NOW, 41.0))})
    check = by_law(rule, replace(INPUTS, gauges={"open": {NAME: fresh}}))
    assert check.status is Status.PASS
    assert check.reason == f"the highest of {NAME} is 41"
    old = Gauges({NAME: (Sample(NOW - 400, 40.0),)})
    check = by_law(rule, replace(INPUTS, gauges={"open": {NAME: old}}))
    assert (check.status, check.reason) == (Status.ERROR, f"no reading of {NAME}")


def test_a_gauge_has_exactly_one_limit() -> None:
    for limits in ({}, {"below": "90%", "at_least": "80%"}):
        with pytest.raises(ValueError, match="exactly one of below and at_least"):
            GaugeCheck.model_validate({"kind": "gauge", "id": "a.b", "sli": "s", **limits})


short = st.lists(st.floats(0.01, 1e6), min_size=12, max_size=18)


@given(short, many, st.randoms(use_true_random=False))
def test_the_order_of_readings_changes_nothing_where_the_end_is_the_whole(
    ours: list[float], theirs: list[float], rng
) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(ours)
    rng.shuffle(shuffled)
    assert like(shuffled, theirs).status is like(ours, theirs).status


def of_three_pods(*canary: list[float], rule: LikeStableCheck = LIKE) -> Check:
    """Three pods of the canary against three flat ones of stable."""
    by_side = {
        NAME: Gauges({f"p{n}": every_five_seconds(*each) for n, each in enumerate(canary)}),
        BESIDE: Gauges({f"s{n}": every_five_seconds(*(4 * FLAT)) for n in range(3)}),
    }
    return by_law(rule, replace(INPUTS, gauges={rule.sli: by_side}, cluster=cluster(())))


LONG = 4 * FLAT


def test_one_pod_of_three_at_100_times_fails() -> None:
    check = of_three_pods(LONG, [100 * value for value in LONG], LONG)
    assert check.status is Status.FAIL
    assert "pod p1" in check.reason
    assert of_three_pods(LONG, LONG, LONG).status is Status.PASS


def test_a_leak_to_192_percent_fails_at_the_end() -> None:
    leak = [value * (1 + 0.92 * n / 59) for n, value in enumerate(LONG)]
    check = of_three_pods(leak, leak, leak)
    assert check.status is Status.FAIL
    assert "in the last" in check.reason


def test_what_stable_has_at_times_is_no_failure_of_one_pod() -> None:
    """A burst of a minute, on one pod of either side."""
    burst = [*LONG[:-18], *(3 * value for value in LONG[-18:])]
    earlier = [*(3 * value for value in LONG[:18]), *LONG[18:]]
    by_side = {
        NAME: Gauges({"p0": every_five_seconds(*burst), "p1": every_five_seconds(*LONG)}),
        BESIDE: Gauges({"s0": every_five_seconds(*earlier), "s1": every_five_seconds(*LONG)}),
    }
    inputs = replace(INPUTS, gauges={LIKE.sli: by_side}, cluster=cluster(()))
    assert by_law(LIKE, inputs).status is Status.PASS
    calm = {**by_side, BESIDE: Gauges({"s0": every_five_seconds(*LONG)})}
    assert by_law(LIKE, replace(inputs, gauges={LIKE.sli: calm})).status is Status.FAIL
    before = Gauges(
        {"s0": every_five_seconds(*LONG)}, {"s0": every_five_seconds(*earlier, end=NOW - 300)}
    )
    past = {**by_side, BESIDE: before}
    assert by_law(LIKE, replace(inputs, gauges={LIKE.sli: past})).status is Status.PASS


def test_a_running_pod_without_readings_is_an_error() -> None:
    seen = replace(INPUTS, cluster=cluster((pod(), pod("p2"))))
    by_side = {
        NAME: Gauges({"p1": every_five_seconds(*FLAT)}),
        BESIDE: Gauges({"s1": every_five_seconds(*FLAT)}),
    }
    check = by_law(LIKE, replace(seen, gauges={LIKE.sli: by_side}))
    assert check.status is Status.ERROR
    assert "p2" in check.reason


def directed(direction: str) -> LikeStableCheck:
    return LIKE.model_copy(update={"direction": direction})


@pytest.mark.parametrize(
    ("times", "direction", "status"),
    [
        (0.4, "increase", Status.PASS),
        (0.4, "decrease", Status.FAIL),
        (0.4, "either", Status.FAIL),
        (2.0, "increase", Status.FAIL),
        (2.0, "decrease", Status.PASS),
        (2.0, "either", Status.FAIL),
        (1.2, "either", Status.PASS),
        (0.8, "either", Status.PASS),
    ],
)
def test_directions(times: float, direction: str, status: Status) -> None:
    changed = [times * value for value in LONG]
    assert of_three_pods(changed, changed, changed, rule=directed(direction)).status is status


reals = st.lists(st.floats(-1e6, 1e6), min_size=18, max_size=40)
directions = st.sampled_from(["increase", "decrease", "either"])


@given(reals, directions)
def test_identical_readings_pass_whatever_their_sign(same: list[float], direction: str) -> None:
    assert like(same, same, directed(direction)).status is Status.PASS


few_reals = st.lists(st.floats(-1e6, 1e6), min_size=12, max_size=18)


@given(few_reals, few_reals)
def test_a_fall_is_a_rise_of_the_other_side(ours: list[float], theirs: list[float]) -> None:
    length = min(len(ours), len(theirs))
    one, other = ours[:length], theirs[:length]
    fell = like(one, other, directed("decrease")).status
    assert fell is like(other, one, directed("increase")).status


ORDER = (Status.PASS, Status.INCONCLUSIVE, Status.FAIL)


@given(short, many, st.integers(1, 10))
def test_a_bad_reading_never_turns_a_failure_into_a_pass(
    ours: list[float], theirs: list[float], more: int
) -> None:
    """It comes later, where the end is the whole: stable has the same readings beside them."""
    worst = 10 * max(*ours, *theirs)
    before, after = [
        Gauges({"p1": every_five_seconds(*values, end=NOW + 5 * (len(values) - len(ours)))})
        for values in (ours, [*ours, *[worst] * more])
    ]
    beside = Gauges({"s1": every_five_seconds(*theirs)})
    first, then = [
        by_law(LIKE, replace(INPUTS, gauges={LIKE.sli: {NAME: each, BESIDE: beside}}))
        for each in (before, after)
    ]
    assert ORDER.index(then.status) >= ORDER.index(first.status)


longer = st.lists(st.floats(0.01, 1e6), min_size=12, max_size=80)


@given(longer, longer, st.data())
def test_a_worse_reading_never_turns_a_failure_into_a_pass(
    ours: list[float], theirs: list[float], data: st.DataObject
) -> None:
    """At the same time, whatever the end of the stage is."""
    worse = data.draw(st.lists(st.floats(1, 100), min_size=len(ours), max_size=len(ours)))
    before = like(ours, theirs)
    after = like([value * times for value, times in zip(ours, worse, strict=True)], theirs)
    assert ORDER.index(after.status) >= ORDER.index(before.status)


@given(
    st.sampled_from([COMPARE, DRIFT]),
    st.integers(3000, 20_000),
    st.integers(0, 400),
    st.integers(3000, 90_000),
    st.integers(0, 400),
    st.integers(1, 200),
)
def test_a_bad_request_never_turns_a_rollback_into_proceed(
    rule: CompareCheck | DriftCheck, ours: int, bad: int, theirs: int, other: int, more: int
) -> None:
    before = beside(rule, (bad, ours), (other, theirs))
    after = beside(rule, (bad + more, ours + more), (other, theirs))
    assert ORDER.index(after.status) >= ORDER.index(before.status)


# Containers


@pytest.mark.parametrize("reason", ["CrashLoopBackOff", "ErrImagePull", "OOMKilled"])
def test_one_container_in_trouble_fails(reason: str) -> None:
    assert of_pods(ABSENT, cluster((pod(), pod("p2", waiting=reason)))).status is Status.FAIL


def test_a_container_that_was_terminated_so_fails() -> None:
    killed = pod().containers[0].model_copy(update={"terminated": "OOMKilled"})
    check = of_pods(ABSENT, cluster((pod(containers=(killed,)),)))
    assert check.status is Status.FAIL
    assert "p1/c: OOMKilled" in check.reason


def test_no_container_in_trouble_passes_and_no_pod_does_not() -> None:
    assert of_pods(ABSENT, cluster()).status is Status.PASS
    assert of_pods(ABSENT, cluster((pod(waiting="ContainerCreating"),))).status is Status.PASS
    assert of_pods(ABSENT, cluster(())).status is Status.INCONCLUSIVE
    assert of_pods(ABSENT, Unmeasured("refused")).status is Status.ERROR


# Reconnects


def came_back(
    failed: float,
    attempts: float,
    rule: ReconnectsCheck = RECONNECTS,
    connections: Sequence[float] = (),
) -> Check:
    counts = {KEY: Counts(failed, attempts, NOW)}
    open_ = Gauges({f"p{n}": (Sample(NOW, value),) for n, value in enumerate(connections)})
    inputs = replace(INPUTS, counts={rule.sli: counts}, gauges={"open": {NAME: open_}})
    return by_law(rule, inputs)


@pytest.mark.parametrize(
    ("failed", "attempts", "status"),
    [
        (0, 1, Status.PASS),
        (0, 0, Status.INCONCLUSIVE),
        (1, 1, Status.INCONCLUSIVE),
        (3, 3, Status.FAIL),
        (1, 1000, Status.PASS),
        (2, 1000, Status.INCONCLUSIVE),
        (30, 1000, Status.FAIL),
    ],
)
def test_clients_that_come_back(failed: int, attempts: int, status: Status) -> None:
    check = came_back(failed, attempts)
    assert check.status is status, check.reason


def test_open_connections_are_counted_and_nobody_to_come_back_is_said() -> None:
    rule = RECONNECTS.model_copy(update={"open": "open", "needed": 0})
    check = came_back(0, 0, rule, (3, 4))
    assert check.status is Status.SKIPPED
    assert "7 connections open" in check.reason
    unread = replace(INPUTS, counts={rule.sli: {KEY: Counts(0, 5, NOW)}})
    assert by_law(rule, unread).status is Status.ERROR


# Capacity


def pools(**shares: Sequence[float]) -> Check:
    by_thing = {name: every_five_seconds(*found) for name, found in shares.items()}
    return by_law(CAPACITY, replace(INPUTS, usages={"pools": Usage(by_thing)}))


def test_the_fullest_decides() -> None:
    check = pools(connections=[0.3, 0.4], memory=[0.7, 0.75])
    assert check.status is Status.PASS
    assert "memory" in check.reason
    assert pools(connections=[0.3], memory=[0.7, 0.85]).status is Status.INCONCLUSIVE
    assert pools(connections=[0.3], memory=[0.9] * 7).status is Status.FAIL


def test_what_has_no_limit_or_is_not_read_does_not_pass() -> None:
    unlimited = Usage({}, ("redis",))
    check = by_law(CAPACITY, replace(INPUTS, usages={"pools": unlimited}))
    assert check.status is Status.ERROR
    assert "redis" in check.reason
    assert by_law(CAPACITY).status is Status.ERROR
    old = Usage({"pool": every_five_seconds(0.1, end=NOW - 60)})
    assert by_law(CAPACITY, replace(INPUTS, usages={"pools": old})).status is Status.ERROR


# Elsewhere


def told(rule: ExternalCheck | SuiteCheck | ManualCheck, answer: ExternalAnswer | None) -> Status:
    known: Mapping[str, ExternalAnswer] = {} if answer is None else {rule.id: answer}
    return by_law(rule, replace(INPUTS, external=known)).status


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Number(3, NOW), Status.PASS),
        (Number(3.01, NOW), Status.FAIL),
        (Number(float("nan"), NOW), Status.ERROR),
        (Number(float("inf"), NOW), Status.ERROR),
        (Unmeasured("refused"), Status.ERROR),
        (True, Status.ERROR),
        (None, Status.INCONCLUSIVE),
    ],
)
def test_a_number_from_elsewhere(answer: ExternalAnswer | None, status: Status) -> None:
    assert told(EXTERNAL, answer) is status


def test_a_number_may_have_two_limits() -> None:
    both = EXTERNAL.model_copy(update={"at_least": 1.0})
    assert told(both, Number(0.5, NOW)) is Status.FAIL
    assert told(both, Number(1, NOW)) is Status.PASS


def run(*statuses: Status, trouble: str | None = None) -> SuiteResult:
    tests = tuple(
        SuiteTest(name=f"test_{n}", status=status, seconds=0.1, reason="")
        for n, status in enumerate(statuses)
    )
    return SuiteResult(suite="suite.py", tests=tests, seconds=1.0, trouble=trouble)


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (run(Status.PASS, Status.PASS), Status.PASS),
        (run(Status.PASS, Status.PASS, Status.SKIPPED), Status.PASS),
        (run(Status.PASS, Status.SKIPPED), Status.ERROR),
        (run(), Status.ERROR),
        (run(Status.PASS, Status.PASS, Status.FAIL), Status.FAIL),
        (run(Status.PASS, Status.PASS, Status.ERROR), Status.ERROR),
        (run(Status.FAIL, trouble="deadline"), Status.FAIL),
        (run(Status.PASS, Status.PASS, trouble="deadline"), Status.ERROR),
        (Unmeasured("no pytest"), Status.ERROR),
        (None, Status.INCONCLUSIVE),
    ],
)
def test_a_run_of_the_suite(result: ExternalAnswer | None, status: Status) -> None:
    assert told(SUITE, result) is status


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (True, Status.PASS),
        (False, Status.FAIL),
        (None, Status.INCONCLUSIVE),
        (Unmeasured("no terminal"), Status.ERROR),
    ],
)
def test_a_persons_answer(answer: ExternalAnswer | None, status: Status) -> None:
    assert told(MANUAL, answer) is status
