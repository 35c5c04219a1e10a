"""The gate played on a simulated world: what it decides, and how soon."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from statistics import median

import pytest
from world import (
    NEW,
    OLD,
    SERVICES,
    Pod,
    SimulatedLock,
    SimulatedMetrics,
    World,
    context,
    deployment,
    environment,
    release,
    rollout,
)

from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import LockedError, RefusedError, UnreachableError, UsageError
from tarsrelease.model.journal import Phase
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.measurement import Series, Track
from tarsrelease.model.outcome import Outcome, Status, Verdict
from tarsrelease.model.release import Release, Run
from tarsrelease.operations.past_requests import read_burstiness
from tarsrelease.steps.canary_gate import gate

SHORT = rollout(duration="60s", max_extension="60s")
MANY = [*range(6), *(pytest.param(seed, marks=pytest.mark.full) for seed in range(6, 40))]
"""Seeds; some in every run of the tests, all in the full one."""


def play(
    world: World,
    weight: int = 10,
    *,
    of: Release | None = None,
    env: Environment | None = None,
    lifting: Lifting | None = None,
) -> Outcome:
    """One stage in this world."""
    return gate(context(world, of or release(SHORT), env), weight, lifting)


def canaries(world: World, fault: Callable[[Pod], None]) -> World:
    """Give a fault to all canary pods, those to come too."""
    for pod in world.running(Track.CANARY):
        fault(pod)
    world.new_pods = fault
    return world


def failing(share: float) -> Callable[[Pod], None]:
    """A fault: this share of the requests is answered 500."""

    def fault(pod: Pod) -> None:
        pod.error_share = share

    return fault


# Healthy


@pytest.mark.parametrize("seed", MANY)
@pytest.mark.parametrize("share", [0.0, 0.001])
def test_a_healthy_canary_proceeds_when_its_stage_is_over(seed: int, share: float) -> None:
    world = canaries(World(seed=seed).populate(), failing(share))
    outcome = play(world)
    assert outcome.verdict is Verdict.PROCEED, outcome.summary
    seconds = outcome.details.model_dump(mode="json")["seconds_from_shift_to_verdict"]
    assert isinstance(seconds, float)
    assert 60 <= seconds <= 120
    assert set(world.weights.values()) == {10}
    assert world.lock_holder is None


def test_counts_are_exactly_the_requests_that_were_scraped() -> None:
    world = canaries(World(seed=5).populate(), failing(0.004))
    before = {pod.name: pod.answered for pod in world.running(Track.CANARY)}
    outcome = play(world)
    counted = {c.service: c.samples for c in outcome.checks if c.id == "canary.error_rate"}
    for pod in world.running(Track.CANARY):
        answered = pod.answered - before[pod.name]
        samples = counted[pod.service]
        assert samples is not None
        unscraped = 5.5 * world.rate * 0.1
        assert answered - 3 * unscraped <= samples <= answered


def test_all_stages_one_after_the_other_proceed_and_make_room_first() -> None:
    world = World(seed=3, rate=400.0).populate(stable=4)
    for weight, pods in ((1, 1), (10, 1), (25, 1), (50, 2), (100, 4)):
        outcome = play(world, weight)
        assert outcome.verdict is Verdict.PROCEED, f"{weight}: {outcome.summary}"
        assert world.replicas[deployment(SERVICES[0], Track.CANARY)] == pods
    verdicts = [e.facts.verdict for e in world.journal if e.action == "gate"]
    assert verdicts.count("proceed") == 5


@pytest.mark.parametrize("seed", MANY)
def test_at_the_limit_itself_it_is_not_taken_back(seed: int) -> None:
    """The budget for a whole release is 1 %; forty stages at the very limit see none."""
    world = canaries(World(seed=seed, rate=200.0).populate(), failing(0.0149))
    assert play(world).verdict is not Verdict.ROLLBACK


def hiccup(world: World, share: float, seconds: float) -> None:
    """So many of the requests fail on every pod, for a while, from now on."""

    def struck(share: float) -> None:
        for pod in world.running():
            pod.error_share = share

    struck(share)
    world.at(seconds, lambda: struck(0.0))


@pytest.mark.parametrize("before", [True, False])
def test_an_incident_like_one_in_stables_past_is_no_proof(before: bool) -> None:
    """At 100 %, where stable shows nothing: half an hour ago it had the same for twenty seconds."""
    world = World(seed=1).populate()
    world.advance(60)
    if before:
        hiccup(world, 0.2, 20)
    world.advance(1800)
    world.at(20, lambda: hiccup(world, 0.1, 20))
    outcome = play(world, 100)
    assert (outcome.verdict is Verdict.ROLLBACK) != before, outcome.summary


def test_a_canary_that_only_fails_is_found_all_the_same() -> None:
    world = World(seed=1).populate()
    world.advance(60)
    hiccup(world, 0.2, 20)
    world.advance(1800)
    outcome = play(canaries(world, failing(1.0)), 10)
    assert outcome.verdict is Verdict.ROLLBACK
    seconds = outcome.details.model_dump(mode="json")["seconds_from_shift_to_verdict"]
    assert isinstance(seconds, float)
    assert seconds < 60


def test_a_past_that_cannot_be_read_is_said_and_missed_by_nobody_else() -> None:
    world = World(seed=1).populate()

    class Forgetful(SimulatedMetrics):
        def recorded(self, *_: object) -> list[list[Series]]:
            raise UnreachableError(
                doing="asking", found="422", expected="an answer", next_step="wait"
            )

    past = read_burstiness(
        context(world, release(SHORT), samples=Forgetful(world)), SHORT.stages[0]
    )
    assert past("errors", SERVICES[0]) is None
    assert any("cannot read stable's earlier requests" in line for line in world.said)


def test_replaced_pods_and_reset_counters_do_not_disturb() -> None:
    world = World(seed=4).populate(canary=2)
    world.at(20, lambda: world.replace_pod(world.running(Track.CANARY)[0]) and None)
    world.at(33, lambda: world.replace_pod(world.running(Track.STABLE)[0]) and None)
    world.at(40, lambda: world.reset(world.running(Track.STABLE)[-1]))
    world.at(45, lambda: world.reset(world.running(Track.CANARY)[-1]))
    assert play(world).verdict is Verdict.PROCEED


def test_a_servers_clock_that_is_apart_is_taken_into_account() -> None:
    for skew in (-40.0, 40.0):
        world = World(seed=2, skew=skew).populate()
        world.advance(30)
        outcome = play(world)
        assert outcome.verdict is Verdict.PROCEED
        assert any("clock" in line for line in world.said)
        bad = canaries(World(seed=2, skew=skew).populate(), failing(1.0))
        assert play(bad).verdict is Verdict.ROLLBACK
        assert bad.writes[-1][0] - bad.writes[0][0] <= 10, "as soon as without it"


# Bad


@pytest.mark.parametrize("seed", range(20))
def test_only_errors_are_found_at_the_first_scrape_that_holds_enough(seed: int) -> None:
    world = canaries(World(seed=seed).populate(), failing(1.0))
    outcome = play(world)
    assert outcome.verdict is Verdict.ROLLBACK
    assert set(world.weights.values()) == {0}
    # The earliest moment at which anybody could have known: a scrape with three bad of three.
    shifted = world.writes[0][0]
    known = min(
        visible
        for identity, stored in world.samples.items()
        if ("status", "500") in identity and ("deployment", "canary") in identity
        for visible, sample in stored
        if sample.value >= 3
    )
    written = world.writes[-1][0]
    assert written - known < 0.6
    assert written - shifted <= 10


def test_only_errors_are_off_within_five_seconds_in_the_median() -> None:
    taken = []
    for seed in range(100, 121):
        world = canaries(World(seed=seed).populate(), failing(1.0))
        outcome = play(world)
        seconds = outcome.details.model_dump(mode="json")["seconds_from_shift_to_write"]
        assert isinstance(seconds, float)
        taken.append(seconds)
    assert median(taken) <= 5
    assert max(taken) <= 10


@pytest.mark.parametrize("seed", range(5))
def test_five_percent_errors_are_found_soon(seed: int) -> None:
    world = canaries(World(seed=seed, rate=100.0).populate(), failing(0.08))
    assert play(world).verdict is Verdict.ROLLBACK
    gone = next(at for at, to in world.writes if to == 0)
    assert gone - world.writes[0][0] < 60


def test_one_bad_service_takes_all_back() -> None:
    world = World(seed=1).populate()
    world.running(Track.CANARY)[1].error_share = 1.0
    outcome = play(world)
    assert outcome.verdict is Verdict.ROLLBACK
    assert outcome.exit_code == 11
    assert set(world.weights.values()) == {0}
    failed = {c.service for c in outcome.checks if c.status is Status.FAIL}
    assert failed == {SERVICES[1]}


def test_slow_answers_are_taken_back() -> None:
    def slow(pod: Pod) -> None:
        pod.slow_share = 0.9

    outcome = play(canaries(World(seed=1).populate(), slow))
    assert outcome.verdict is Verdict.ROLLBACK
    assert "canary.slow_share" in outcome.summary


def test_memory_that_stays_beyond_its_limit_is_taken_back() -> None:
    world = World(seed=1).populate()

    def grow() -> None:
        world.running(Track.CANARY)[0].memory = 4e9

    world.at(10, grow)
    outcome = play(world)
    assert outcome.verdict is Verdict.ROLLBACK
    assert "canary.memory" in outcome.summary


@pytest.mark.parametrize("state", ["up", "hung", "refused"])
def test_a_crash_loop_is_taken_back_even_while_the_metrics_hang(state: str) -> None:
    world = World(seed=1).populate()

    def crash() -> None:
        world.running(Track.CANARY)[0].waiting = "CrashLoopBackOff"

    def outage() -> None:
        world.metrics_state = state

    world.at(10, outage)
    world.at(20, crash)
    crashed = world.now + 20
    outcome = play(world)
    assert outcome.verdict is Verdict.ROLLBACK
    assert world.writes[-1][0] - crashed < 7


def test_a_restart_is_taken_back_and_restarts_before_the_stage_are_not() -> None:
    world = World(seed=1).populate()
    for pod in world.running(Track.CANARY):
        pod.restarts = 4
    assert play(world).verdict is Verdict.PROCEED

    def restart() -> None:
        world.running(Track.CANARY)[0].restarts += 1

    world.at(5, restart)
    outcome = play(world, 25)
    assert outcome.verdict is Verdict.ROLLBACK
    assert "canary.restarts" in outcome.summary


# What cannot be told, or not be measured


def test_little_traffic_extends_and_then_holds() -> None:
    world = World(seed=1, rate=2.0).populate()
    outcome = play(world)
    assert outcome.verdict is Verdict.HOLD
    assert outcome.exit_code == 10
    assert outcome.details.model_dump(mode="json")["extended_seconds"] == pytest.approx(60, abs=2)
    assert any("extended" in line for line in world.said)
    assert set(world.weights.values()) == {10}


def test_no_traffic_at_all_never_proceeds() -> None:
    assert play(World(seed=1, rate=0.0).populate()).verdict is Verdict.HOLD


def test_an_extension_ends_as_soon_as_there_is_enough() -> None:
    outcome = play(World(seed=1, rate=25.0).populate())
    extended = outcome.details.model_dump(mode="json")["extended_seconds"]
    assert outcome.verdict is Verdict.PROCEED
    assert isinstance(extended, float)
    assert 0 < extended < 60


@pytest.mark.parametrize("state", ["down", "refused", "hung"])
@pytest.mark.parametrize("outage", [30.0, 120.0])
def test_an_outage_in_a_healthy_stage_is_waited_out(state: str, outage: float) -> None:
    world = World(seed=2).populate()

    def fall() -> None:
        world.metrics_state = state

    def rise() -> None:
        world.metrics_state = "up"

    world.at(15, fall)
    world.at(15 + outage, rise)
    plan = rollout(duration="60s", max_extension="3m")
    outcome = play(world, of=release(plan))
    assert outcome.verdict is Verdict.PROCEED, outcome.summary
    assert any("no metrics" in line for line in world.said)
    assert any("back" in line for line in world.said)
    assert world.now - world.writes[0][0] >= 15 + (outage if outage > 60 else 0)


def test_errors_during_an_outage_are_found_when_the_metrics_are_back() -> None:
    world = World(seed=2).populate()

    def fall() -> None:
        world.metrics_state = "down"
        for pod in world.running(Track.CANARY):
            pod.error_share = 0.5

    def rise() -> None:
        world.metrics_state = "up"

    world.at(15, fall)
    world.at(75, rise)
    back = world.now + 75
    assert play(world, of=release(rollout(duration="2m"))).verdict is Verdict.ROLLBACK
    assert world.writes[-1][0] - back < 7


def test_an_outage_is_said_within_a_tick() -> None:
    world = World(seed=2).populate()
    heard: list[float] = []
    fell = world.now + 15.3

    def fall() -> None:
        world.metrics_state = "refused"

    def listen() -> None:
        if any("no metrics" in line for line in world.said) and not heard:
            heard.append(world.now)

    world.at(15.3, fall)
    for tenth in range(40):
        world.at(15.3 + tenth / 10, listen)
    world.at(30, lambda: setattr(world, "metrics_state", "up"))
    play(world)
    assert heard
    assert heard[0] - fell <= 1.1


def test_metrics_that_stay_away_hold_without_taking_traffic_off() -> None:
    world = World(seed=2).populate()
    world.at(20, lambda: setattr(world, "metrics_state", "refused"))
    outcome = play(world, of=release(rollout()), env=environment(outage="2m"))
    assert outcome.verdict is Verdict.HOLD
    assert world.now - world.writes[0][0] == pytest.approx(140, abs=5)
    assert set(world.weights.values()) == {10}


def test_pods_that_are_not_scraped_any_more_do_not_pass() -> None:
    world = World(seed=2).populate(canary=2)

    def blind() -> None:
        world.running(Track.CANARY)[0].scrapable = False

    world.at(20, blind)
    outcome = play(world)
    assert outcome.verdict is Verdict.HOLD
    assert any("old" in check.reason for check in outcome.checks)


def test_an_api_server_that_is_away_does_not_stop_the_looking() -> None:
    world = World(seed=2).populate()
    world.at(10, lambda: setattr(world, "kubernetes_up", False))
    world.at(40, lambda: setattr(world, "kubernetes_up", True))
    assert play(world).verdict is Verdict.PROCEED
    assert any("cannot read the pods" in line for line in world.said)


def test_a_gateway_that_ignores_the_weight_holds() -> None:
    world = World(seed=2, rate=100.0).populate()
    world.at(0.1, lambda: world.followed[SERVICES[0]].append((world.now + 1.0, 60)))
    outcome = play(world)
    assert outcome.verdict is Verdict.HOLD
    assert "canary.traffic_share" in outcome.summary


def test_a_pod_that_appears_late_counts_from_its_first_request() -> None:
    """Its series is born long after the shift, and its first sample already holds errors."""
    for share, verdict in ((0.0, Verdict.PROCEED), (1.0, Verdict.ROLLBACK)):
        world = World(seed=3).populate(canary=2)
        late = world.running(Track.CANARY)[1]
        gone = late.name

        def replace(world: World = world, late: Pod = late, share: float = share) -> None:
            successor = world.replace_pod(late)
            successor.ready_after, successor.error_share = 20.0, share

        world.at(10, replace)
        began = world.now
        outcome = play(world)
        assert outcome.verdict is verdict, outcome.summary
        assert gone not in {pod.name for pod in world.running()}
        if share:
            assert 30 < world.now - began < 45, "it serves from 30 s on"


# The past


def test_a_predecessor_of_the_same_version_does_not_count_against_its_successor() -> None:
    """Rolled back for errors a moment ago, deployed again, repaired by configuration alone."""
    world = canaries(World(seed=6).populate(), failing(1.0))
    assert play(world).verdict is Verdict.ROLLBACK
    world.new_pods = lambda pod: None
    for pod in world.running(Track.CANARY):
        world.replace_pod(pod)
    world.journal.append(world.entry("deploy", Phase.INTENT))
    world.journal.append(world.entry("skip", Phase.RESULT, weight=10))
    world.advance(3)
    assert play(world).verdict is Verdict.PROCEED


def test_errors_of_another_version_on_the_canary_track_do_not_count() -> None:
    world = World(seed=6, rate=60.0).populate()
    leftovers = [world.start_pod(service, Track.CANARY, OLD) for service in SERVICES]
    for pod in leftovers:
        pod.error_share, pod.former = 1.0, True
    outcome = play(world)
    assert outcome.verdict is Verdict.PROCEED
    assert all(pod.bad > 50 for pod in leftovers)


def test_a_release_that_was_rolled_back_gets_no_traffic_until_it_is_deployed_again() -> None:
    world = canaries(World(seed=6).populate(), failing(1.0))
    play(world)
    writes = len(world.writes)
    with pytest.raises(RefusedError):
        play(world)
    assert len(world.writes) == writes


# Killed and started again; others


class Killed(BaseException):
    """Stands for a process that ends without a word."""


def kill() -> None:
    raise Killed


def test_a_run_that_was_killed_goes_on_in_its_stage() -> None:
    world = World(seed=8).populate()
    world.at(30, kill)
    with pytest.raises(Killed):
        play(world)
    shifted = world.writes[0][0]
    outcome = play(world)
    assert outcome.verdict is Verdict.PROCEED
    assert [weight for _, weight in world.writes] == [10] * len(SERVICES)
    assert 60 <= world.now - shifted < 70
    counted = [c.samples for c in outcome.checks if c.id == "canary.error_rate"]
    assert all(n is not None and n > 150 for n in counted), "the first half counts too"


def test_a_run_that_was_killed_in_an_outage_waits_for_the_metrics_and_goes_on() -> None:
    world = World(seed=8).populate()
    world.at(20, lambda: setattr(world, "metrics_state", "refused"))
    world.at(25, kill)
    with pytest.raises(Killed):
        play(world)
    world.at(40, lambda: setattr(world, "metrics_state", "up"))
    outcome = play(world)
    assert outcome.verdict is Verdict.PROCEED
    assert [weight for _, weight in world.writes] == [10] * len(SERVICES)


def test_errors_from_before_the_kill_count_after_it() -> None:
    world = World(seed=8).populate()
    world.at(3, lambda: canaries(world, failing(1.0)) and None)
    world.at(3.5, kill)
    world.at(4.5, lambda: canaries(world, failing(0.0)) and None)
    with pytest.raises(Killed):
        play(world)
    assert play(world).verdict is Verdict.ROLLBACK


def test_restarts_from_before_the_kill_count_after_it() -> None:
    world = World(seed=8).populate()

    def restart() -> None:
        world.running(Track.CANARY)[0].restarts += 1

    world.at(2.9, restart)
    world.at(2.95, kill)
    with pytest.raises(Killed):
        play(world)
    outcome = play(world)
    assert outcome.verdict is Verdict.ROLLBACK
    assert "canary.restarts" in outcome.summary


def test_a_lock_that_another_run_takes_ends_the_gate() -> None:
    world = World(seed=8).populate()
    world.at(20, lambda: setattr(world, "lock_holder", "another"))
    with pytest.raises(LockedError):
        play(world)
    assert set(world.weights.values()) == {10}
    SimulatedLock(world, Run(id="another", owner="x")).release()


def test_nothing_is_touched_while_the_metrics_are_away_before_the_first_stage() -> None:
    world = World(seed=8, metrics_state="refused").populate()
    with pytest.raises(UnreachableError):
        play(world)
    assert not world.writes


def test_between_stages_an_outage_is_waited_for_before_traffic_is_raised() -> None:
    world = World(seed=8).populate()
    play(world)
    writes = len(world.writes)
    world.metrics_state = "down"
    world.at(30, lambda: setattr(world, "metrics_state", "up"))
    raised = world.now + 30
    assert play(world, 25).verdict is Verdict.PROCEED
    assert world.writes[writes][0] >= raised


def test_an_unknown_stage_and_missing_routes_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="12"):
        play(World().populate(), 12)
    world = World().populate()
    del world.weights[SERVICES[0]]
    with pytest.raises(UsageError, match=SERVICES[0]):
        play(world)


def test_a_canary_that_cannot_come_up_is_taken_off_before_its_weight_rises() -> None:
    world = World(seed=8).populate(stable=4)

    def stuck(pod: Pod) -> None:
        pod.waiting = "ImagePullBackOff"

    assert play(world).verdict is Verdict.PROCEED
    world.new_pods = stuck
    outcome = play(world, 50)
    assert outcome.verdict is Verdict.ROLLBACK
    assert "ImagePullBackOff" in outcome.summary
    assert set(world.weights.values()) == {0}


def test_a_canary_that_does_not_become_ready_in_time_holds_at_its_weight() -> None:
    world = World(seed=8).populate(stable=4)
    assert play(world).verdict is Verdict.PROCEED

    def slow(pod: Pod) -> None:
        pod.ready_after = 1000

    world.new_pods = slow
    outcome = play(world, 50)
    assert outcome.verdict is Verdict.HOLD
    assert set(world.weights.values()) == {10}


def test_the_loan_of_traffic_is_extended_while_somebody_looks() -> None:
    world = World(seed=8).populate()
    play(world, of=release(rollout(duration="5m")))
    until = world.annotations[SERVICES[0]]["traffic-until"]
    assert datetime.fromisoformat(until).timestamp() > world.now
    assert world.annotations[SERVICES[0]]["release"] == NEW
