"""Each kind of check: what passes, what fails, and what cannot be told or measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from gates_samples import (
    INPUTS,
    KEY,
    NAME,
    NOW,
    by_law,
    cluster,
    deployment,
    of_pods,
    pod,
    readings,
)
from hypothesis import given
from hypothesis import strategies as st

from tarsrelease.gates.checks import ClusterState, Inputs
from tarsrelease.gates.measure import gauges
from tarsrelease.gates.measure.pods import PodMemory, remember
from tarsrelease.gates.stats.growth import Growth, grown
from tarsrelease.gates.verdict import decide
from tarsrelease.model.base import Amount
from tarsrelease.model.checks import (
    GaugeCheck,
    ProportionCheck,
    ReadyCheck,
    RestartsCheck,
)
from tarsrelease.model.cluster import PodState
from tarsrelease.model.measurement import Counts, Gauges, Sample, Series, Track, Unmeasured
from tarsrelease.model.outcome import Check, Status, Verdict
from tarsrelease.model.rollout import MetricLabels, Stage

BELOW = ProportionCheck(kind="proportion", id="canary.error_rate", sli="errors", below=0.015)
AT_LEAST = ProportionCheck(kind="proportion", id="canary.availability", sli="e", at_least=0.99)
MEMORY = GaugeCheck(
    kind="gauge", id="canary.memory", sli="memory", below=Amount(value=2.5e9, unit="bytes")
)
READY = ReadyCheck(kind="ready", id="canary.ready")
RESTARTS = RestartsCheck(kind="restarts", id="canary.restarts")


def judge(bad: float, total: float, rule: ProportionCheck = BELOW, age: float = 1.0) -> Check:
    return by_law(rule, replace(INPUTS, counts={rule.sli: {KEY: Counts(bad, total, NOW - age)}}))


# All at once


@pytest.mark.parametrize(
    ("readings", "with_bad", "status"),
    [
        (1, 1, Status.FAIL),
        (3, 1, Status.FAIL),
        (4, 1, Status.INCONCLUSIVE),
        (200, 1, Status.INCONCLUSIVE),
        (200, 2, Status.FAIL),
    ],
)
def test_a_pack_of_bad_requests_between_two_scrapes_proves_nothing_late_in_a_stage(
    readings: int, with_bad: int, status: Status
) -> None:
    counts = {BELOW.sli: {KEY: Counts(100, 1000, NOW - 1)}}
    growth = {(BELOW.sli, *KEY): Growth(readings, with_bad, 100, 1000)}
    check = by_law(BELOW, replace(INPUTS, counts=counts, growth=growth))
    assert check.status is status
    assert ("at once" in check.reason) is (status is Status.INCONCLUSIVE)


def test_the_same_counts_again_are_no_reading() -> None:
    growth: dict[tuple[str, str, Track], Growth] = {}
    for bad, total in ((0, 10), (0, 10), (3, 20), (3, 30), (3, 30), (4, 40)):
        growth = grown(growth, {"e": {KEY: Counts(bad, total, NOW)}})
    assert growth["e", *KEY] == Growth(readings=4, with_bad=2, bad=4, total=40)


# Proportions


@pytest.mark.parametrize(
    ("bad", "total", "status"),
    [
        (0, 199, Status.PASS),
        (0, 198, Status.INCONCLUSIVE),
        (2, 1000, Status.PASS),
        (16, 1000, Status.INCONCLUSIVE),
        (15, 1000, Status.INCONCLUSIVE),
        (5, 5, Status.FAIL),
        (100, 1000, Status.FAIL),
        (0, 0, Status.INCONCLUSIVE),
    ],
)
def test_a_proportion_below_a_limit(bad: int, total: int, status: Status) -> None:
    assert judge(bad, total).status is status


def test_at_least_includes_its_limit_and_shows_the_good_share() -> None:
    check = judge(10, 1000, AT_LEAST)
    assert check.status is Status.PASS
    assert check.observed is not None
    assert check.observed.value == pytest.approx(0.99)
    assert check.expected == "≥ 99 %"
    assert judge(11, 1000, AT_LEAST).status is Status.INCONCLUSIVE


def test_the_result_says_what_it_stands_on() -> None:
    check = judge(2, 1000)
    assert (check.expected, check.samples, check.needed, check.window) == (
        "< 1.5 %",
        1000,
        199,
        300,
    )
    assert "2 of 1000 requests bad (0.2 %)" in check.reason


def test_a_failure_says_how_strong_its_proof_is() -> None:
    assert "needed 10000 to 1" in judge(100, 1000).reason


def test_unmeasured_is_an_error_and_never_a_failure() -> None:
    check = by_law(BELOW, replace(INPUTS, counts={BELOW.sli: {KEY: Unmeasured("refused")}}))
    assert check.status is Status.ERROR
    assert "refused" in check.reason


def test_old_samples_do_not_pass_but_proof_stays_proof() -> None:
    assert judge(0, 5000, age=16).status is Status.ERROR
    assert judge(500, 5000, age=16).status is Status.FAIL


def test_strict_passes_only_on_proof() -> None:
    strict = BELOW.model_copy(update={"proof": "strict"})
    assert judge(0, 199, strict).status is Status.INCONCLUSIVE
    assert judge(0, 1000, strict).status is Status.PASS
    assert judge(14, 1000, strict).status is Status.INCONCLUSIVE


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(1, 200))
def test_more_bad_requests_never_turn_a_rollback_into_anything_else(
    good: int, bad: int, more: int
) -> None:
    order = (Status.PASS, Status.INCONCLUSIVE, Status.FAIL)
    before, after = judge(bad, bad + good), judge(bad + more, bad + more + good)
    if before.status is Status.FAIL:
        assert after.status is Status.FAIL
    if bad + good >= 199:
        assert order.index(after.status) >= order.index(before.status)


# Gauges


def judge_gauge(
    by_pod: Mapping[str, tuple[Sample, ...]], inputs: Inputs = INPUTS, rule: GaugeCheck = MEMORY
) -> Check:
    return by_law(rule, replace(inputs, gauges={rule.sli: {NAME: Gauges(by_pod)}}))


def test_a_gauge_passes_with_a_fresh_reading_of_every_pod() -> None:
    check = judge_gauge({"p1": readings(1e9, 1.2e9)})
    assert check.status is Status.PASS
    assert check.expected == "< 2.5 GB in every pod"
    assert check.observed is not None
    assert check.observed.value == 1.2e9


def test_one_reading_beyond_the_limit_is_inconclusive_and_staying_there_fails() -> None:
    assert judge_gauge({"p1": readings(1e9, 3e9)}).status is Status.INCONCLUSIVE
    assert judge_gauge({"p1": readings(3e9, 3e9, 3e9)}).status is Status.INCONCLUSIVE
    assert judge_gauge({"p1": readings(3e9, 3e9, 3e9, 3e9)}).status is Status.FAIL
    assert judge_gauge({"p1": readings(3e9, 1e9, 3e9, 3e9)}).status is Status.INCONCLUSIVE


def test_one_reading_alone_never_fails_even_when_nothing_need_last() -> None:
    at_once = MEMORY.model_copy(update={"sustained": 0.0})
    assert judge_gauge({"p1": readings(3e9)}, rule=at_once).status is Status.INCONCLUSIVE
    assert judge_gauge({"p1": readings(3e9, 3e9)}, rule=at_once).status is Status.FAIL


def test_a_pod_that_is_gone_can_still_have_failed() -> None:
    by_pod = {"p1": readings(1e9), "gone": readings(3e9, 3e9, 3e9, 3e9, end=NOW - 100)}
    assert judge_gauge(by_pod).status is Status.FAIL


def test_a_pod_without_a_fresh_reading_is_an_error() -> None:
    both = replace(INPUTS, cluster=cluster((pod("p1"), pod("p2"))))
    assert judge_gauge({"p1": readings(1e9)}, both).status is Status.ERROR
    assert judge_gauge({}).status is Status.ERROR
    assert judge_gauge({"p1": readings(1e9, end=NOW - 60)}).status is Status.ERROR


def test_a_young_pod_is_waited_for() -> None:
    young = pod(started_at=datetime.fromtimestamp(NOW - 3, UTC))
    inputs = replace(INPUTS, cluster=cluster((young,)))
    assert judge_gauge({}, inputs).status is Status.INCONCLUSIVE


def test_no_pods_and_unknown_pods_do_not_pass() -> None:
    none = replace(INPUTS, cluster=cluster((), deployment(1, 0)))
    unknown = replace(INPUTS, cluster=Unmeasured("refused"))
    assert judge_gauge({}, none).status is Status.INCONCLUSIVE
    assert judge_gauge({"p1": readings(1e9)}, unknown).status is Status.ERROR
    refused = replace(INPUTS, gauges={MEMORY.sli: {NAME: Unmeasured("refused")}})
    assert by_law(MEMORY, refused).status is Status.ERROR


def test_containers_of_a_pod_are_added_up_and_repeats_replace_themselves() -> None:
    labels = MetricLabels()
    found = [
        Series({"pod": "p1", "container": "a"}, (Sample(1, 5), Sample(6, 6))),
        Series({"pod": "p1", "container": "b"}, (Sample(1, 1), Sample(6, 1))),
    ]
    once = gauges.gather({}, found, labels, since=0)
    assert once == {"p1": (Sample(1, 6), Sample(6, 7))}
    assert gauges.gather(once, found, labels, since=0) == once
    late = [Series({"pod": "p1"}, (Sample(3, 9),))]
    assert [s.time for s in gauges.gather(once, late, labels, since=0)["p1"]] == [1, 3, 6]
    assert gauges.gather({}, found, labels, since=2) == {"p1": (Sample(6, 7),)}


@pytest.mark.parametrize("other", [{"job": "b"}, {"prometheus_replica": "b"}, {"cluster": "b"}])
def test_a_container_that_is_collected_twice_is_no_twice_as_large_one(
    other: dict[str, str],
) -> None:
    """cAdvisor's samples have its own times, so that both collectors have the same ones."""
    once = {"pod": "p1", "container": "a", "job": "a", "prometheus_replica": "a", "cluster": "a"}
    found = [Series(own, (Sample(1, 5), Sample(6, 6))) for own in (once, {**once, **other})]
    assert gauges.gather({}, found, MetricLabels(), since=0) == {"p1": found[0].samples}


def test_the_total_of_a_pod_is_not_added_to_its_containers() -> None:
    """cAdvisor has a series for each container, and one without `container` for the pod."""
    memory = {"__name__": "container_memory_working_set_bytes", "pod": "p1"}
    total = Series(memory, (Sample(1, 6),))
    parts = [
        Series({**memory, "container": name}, (Sample(1, value),))
        for name, value in (("a", 4), ("b", 1))
    ]
    assert gauges.gather({}, [total, *parts], MetricLabels(), since=0) == {"p1": (Sample(1, 5),)}
    assert gauges.gather({}, [total], MetricLabels(), since=0) == {"p1": (Sample(1, 6),)}


# Pods


def test_all_pods_ready_passes() -> None:
    assert of_pods(READY, cluster()).status is Status.PASS


@pytest.mark.parametrize("reason", ["CrashLoopBackOff", "ImagePullBackOff"])
def test_hopeless_pods_fail_at_once(reason: str) -> None:
    seen = cluster((pod(waiting=reason, ready=False),), deployment(1, 0))
    check = of_pods(READY, seen)
    assert check.status is Status.FAIL
    assert reason in check.reason


def test_missing_pods_are_waited_for_as_long_as_the_check_says() -> None:
    lacking = (pod(ready=False),)
    within = cluster(lacking, deployment(1, 0), incomplete_for=59)
    beyond = cluster(lacking, deployment(1, 0), incomplete_for=61)
    assert of_pods(READY, within).status is Status.INCONCLUSIVE
    assert of_pods(READY, beyond).status is Status.FAIL


def test_no_deployment_and_no_replicas_fail_and_unread_pods_are_an_error() -> None:
    gone = ClusterState(deployments={}, pods=(), restarts={}, incomplete_for={})
    assert of_pods(READY, gone).status is Status.FAIL
    assert of_pods(READY, cluster((), deployment(0, 0))).status is Status.FAIL
    assert of_pods(READY, Unmeasured("refused")).status is Status.ERROR
    assert of_pods(RESTARTS, Unmeasured("refused")).status is Status.ERROR


def test_a_deployment_that_says_ready_without_its_pods_does_not_pass() -> None:
    assert of_pods(READY, cluster((), deployment(1, 1))).status is Status.INCONCLUSIVE
    leaving = cluster((pod(terminating=True),), deployment(1, 1))
    assert of_pods(READY, leaving).status is Status.INCONCLUSIVE


def test_restarts_are_counted_against_what_is_allowed() -> None:
    seen = cluster(restarted={"p1/c": 2})
    check = of_pods(RESTARTS, seen)
    assert check.status is Status.FAIL
    assert "p1/c 2 times" in check.reason
    allowed = RESTARTS.model_copy(update={"at_most": 2})
    assert of_pods(allowed, seen).status is Status.PASS
    assert of_pods(RESTARTS, cluster()).status is Status.PASS
    none = cluster((), deployment(1, 0))
    assert of_pods(RESTARTS, none).status is Status.INCONCLUSIVE


SINCE = datetime.fromtimestamp(NOW - 300, UTC)
YOUNG = datetime.fromtimestamp(NOW - 100, UTC)


def look(memory: PodMemory, *pods: PodState, now: float = NOW) -> PodMemory:
    return remember(memory, [deployment(len(pods), 0)], pods, since=SINCE, now=now)


def test_restarts_before_the_shift_do_not_count_and_those_after_do() -> None:
    memory = look(PodMemory(), pod(restarts=3))
    assert memory.restarts(NAME) == {}
    assert look(memory, pod(restarts=4)).restarts(NAME) == {"p1/c": 1}


def test_a_new_pod_counts_from_zero_and_a_noted_baseline_is_kept() -> None:
    noted = PodMemory(baseline={"p1/c": 3})
    memory = look(noted, pod(restarts=3), pod("p2", restarts=1))
    assert memory.restarts(NAME) == {"p2/c": 1}
    fresh = look(PodMemory(), pod(restarts=2, started_at=YOUNG))
    assert fresh.restarts(NAME) == {"p1/c": 2}


def test_restarts_of_a_pod_that_is_gone_are_remembered() -> None:
    memory = look(PodMemory(baseline={"p1/c": 0}), pod(restarts=1))
    assert look(memory, pod("p2")).restarts(NAME) == {"p1/c": 1}


def test_patience_starts_again_when_a_deployment_was_complete() -> None:
    memory = look(PodMemory(), pod(), now=NOW)
    assert look(memory, pod(), now=NOW + 30).incomplete_for(NAME, NOW + 30) == 30
    whole = remember(memory, [deployment(1, 1)], [pod()], since=SINCE, now=NOW + 30)
    assert whole.incomplete_for(NAME, NOW + 40) == 0


# The verdict

STAGE = Stage(weight=10, duration=600.0, max_extension=300.0, checks=(BELOW,))


def decide_on(*statuses: Status, elapsed: float, without: float = 0.0) -> Verdict | None:
    checks = [Check(id="a.b", status=status, expected="", reason="") for status in statuses]
    return decide(checks, STAGE, elapsed, without_metrics=without, outage_limit=180.0)


@pytest.mark.parametrize(
    ("statuses", "elapsed", "verdict"),
    [
        ([Status.PASS], 599, None),
        ([Status.PASS], 600, Verdict.PROCEED),
        ([Status.PASS, Status.SKIPPED], 600, Verdict.PROCEED),
        ([Status.SKIPPED], 900, Verdict.HOLD),
        ([], 900, Verdict.HOLD),
        ([Status.PASS, Status.INCONCLUSIVE], 600, None),
        ([Status.PASS, Status.INCONCLUSIVE], 900, Verdict.HOLD),
        ([Status.PASS, Status.ERROR], 899, None),
        ([Status.PASS, Status.ERROR], 900, Verdict.HOLD),
        ([Status.PASS, Status.FAIL], 1, Verdict.ROLLBACK),
        ([Status.ERROR, Status.FAIL], 5000, Verdict.ROLLBACK),
    ],
)
def test_the_verdict(statuses: list[Status], elapsed: float, verdict: Verdict | None) -> None:
    assert decide_on(*statuses, elapsed=elapsed) is verdict


def test_a_long_outage_holds_and_a_failure_wins_over_it() -> None:
    assert decide_on(Status.ERROR, elapsed=200, without=179) is None
    assert decide_on(Status.ERROR, elapsed=200, without=180) is Verdict.HOLD
    assert decide_on(Status.ERROR, Status.FAIL, elapsed=200, without=500) is Verdict.ROLLBACK


@given(
    st.lists(st.sampled_from(list(Status)), max_size=6),
    st.floats(0, 2000),
    st.floats(0, 400),
)
def test_only_passes_proceed_and_a_failure_always_rolls_back(
    statuses: list[Status], elapsed: float, without: float
) -> None:
    verdict = decide_on(*statuses, elapsed=elapsed, without=without)
    assert (verdict is Verdict.ROLLBACK) == (Status.FAIL in statuses)
    if verdict is Verdict.PROCEED:
        assert Status.PASS in statuses
        assert not {Status.INCONCLUSIVE, Status.ERROR, Status.FAIL} & set(statuses)
