"""`canary gate --wait`: how a wait with traffic on the canary ends, and what it changes."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache

import pytest
from test_gate import SHORT, canaries, failing, play
from world import RUN, SERVICES, World, context, deployment, environment, release

from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import LockedError, RefusedError, UnreachableError, UsageError
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.model.release import Run
from tarsrelease.rollout.stage_list import with_stages
from tarsrelease.steps.canary_gate_wait import wait

OTHER = Run(id="run-2", owner="another job")


@cache
def _waiting() -> World:
    world = World(seed=1).populate()
    play(world)
    assert set(world.weights.values()) == {10}
    return world


def waiting() -> World:
    """A world of its own whose 10 % stage has proceeded, and now waits for an approval."""
    return deepcopy(_waiting())


def watch(
    world: World,
    weight: int | None = 10,
    limit: float | None = None,
    env: Environment | None = None,
    run: Run = OTHER,
) -> Outcome:
    """Watch the wait, as a job beside the approval does."""
    return wait(context(world, release(SHORT), env, run), weight, limit)


def journaled(world: World, action: str, phase: Phase, **facts: object) -> Callable[[], None]:
    """Somebody writes that entry."""

    def append() -> None:
        world.journal.append(world.entry(action, phase, **facts))

    return append


# Somebody acts


def test_an_image_changed_by_hand_takes_the_traffic_off_and_is_named() -> None:
    world = waiting()
    name = deployment(SERVICES[0], Track.CANARY)
    world.at(20, lambda: world.images.update({name: ("ghcr.io/tars-ai/other:1",)}))
    began = world.now
    outcome = watch(world)
    assert outcome.verdict is Verdict.HOLD
    assert "has other images, ghcr.io/tars-ai/other:1, by somebody" in outcome.summary
    assert set(world.weights.values()) == {0}
    assert world.now - began < 30


@pytest.mark.parametrize(
    ("action", "phase", "said"),
    [
        ("gate", Phase.INTENT, "a stage has begun"),
        ("shift", Phase.INTENT, "is being shifted"),
        ("lift", Phase.RESULT, "was lifted"),
        ("promote", Phase.INTENT, "promotion has begun"),
        ("resume", Phase.RESULT, "was resumed"),
        ("rollback", Phase.INTENT, "rolled back"),
        ("abort", Phase.RESULT, "aborted"),
        ("deploy", Phase.INTENT, "deployed again"),
    ],
)
def test_a_wait_ends_quietly_when_somebody_acts(action: str, phase: Phase, said: str) -> None:
    world = waiting()
    writes, entries, came = len(world.writes), len(world.journal), world.now + 20
    world.at(20, journaled(world, action, phase))
    outcome = watch(world)
    assert outcome.exit_code == 0
    assert said in outcome.summary
    assert 0 <= world.now - came < 4
    assert len(world.writes) == writes
    assert len(world.journal) == entries + 1, "the wait itself wrote nothing"
    assert world.lock_holder is None


def test_entries_of_another_release_end_nothing() -> None:
    world = waiting()
    foreign = world.entry("promote", Phase.INTENT).model_copy(update={"release": "0.9.0"})
    world.at(10, lambda: world.journal.append(foreign))
    world.at(30, journaled(world, "promote", Phase.INTENT))
    began = world.now
    assert watch(world).exit_code == 0
    assert world.now - began > 29


def test_traffic_that_somebody_took_off_ends_the_wait_before_the_journal_says_so() -> None:
    world = waiting()

    def off() -> None:
        for service in SERVICES:
            world.set_weight(service, 0)
            world.annotations[service] = {"stage": "off", "run": "run-9", "release": "1.0.1"}

    world.at(20, off)
    outcome = watch(world)
    assert outcome.exit_code == 0
    assert outcome.details.model_dump(mode="json")["over"] == "traffic taken off"
    assert outcome.details.model_dump(mode="json")["by"] == "run-9"


def test_the_next_stage_is_entered_while_the_wait_watches_and_the_lock_is_free() -> None:
    """The real gate of the next stage, played within the wait: nothing keeps it from starting."""
    world = waiting()
    verdicts: list[Verdict | None] = []
    world.at(20, lambda: verdicts.append(play(world, 25).verdict))
    outcome = watch(world)
    assert outcome.exit_code == 0
    assert verdicts == [Verdict.PROCEED]
    assert set(world.weights.values()) == {25}


def test_a_wait_that_starts_when_all_is_over_ends_at_once() -> None:
    world = waiting()
    play(world, 25)
    now = world.now
    outcome = watch(world, weight=10)
    assert outcome.exit_code == 0
    assert "canary-25 has started since" in outcome.summary
    assert world.now == now


def test_a_stage_of_the_days_own_choosing_is_watched_without_being_told_of_it() -> None:
    world = World(seed=1).populate()
    own = with_stages(SHORT, [7, 100])
    play(world, 7, of=release(own))
    world.at(10, lambda: canaries(world, failing(1.0)) and None)
    assert watch(world, weight=7).exit_code == 11
    assert set(world.weights.values()) == {0}


def test_no_stage_that_waits_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="no stage"):
        watch(World(seed=1).populate())


# The canary turns bad


def test_a_failure_takes_the_traffic_off_at_once_and_is_a_rollback() -> None:
    world = waiting()
    broke = world.now + 60
    world.at(60, lambda: canaries(world, failing(1.0)) and None)
    outcome = watch(world)
    assert outcome.exit_code == 11
    assert set(world.weights.values()) == {0}
    # The minutes that went well before count, too: it takes a little longer than in a stage.
    assert world.writes[-1][0] - broke < 15
    assert world.lock_holder is None
    with pytest.raises(RefusedError):
        play(world, 25)
    assert watch(world).exit_code == 11, "run again, it says the same"
    assert watch(world, run=Run(id="run-3", owner="x")).exit_code == 0, "another finds it over"


def test_a_restart_while_waiting_is_a_failure_and_those_before_the_stage_are_none() -> None:
    world = World(seed=1).populate()
    for pod in world.running(Track.CANARY):
        pod.restarts = 2
    play(world)
    began = world.now

    def restart() -> None:
        world.running(Track.CANARY)[0].restarts += 1

    world.at(20, restart)
    outcome = watch(world)
    assert outcome.exit_code == 11
    assert "canary.restarts" in outcome.summary
    assert 19 < world.now - began < 23


def test_a_failure_takes_the_lock_from_whoever_is_about_to_go_on() -> None:
    """A stage that makes room has the lock, and its traffic would rise in a moment."""
    world = waiting()
    world.lock_holder = "run-7"
    world.at(10, lambda: canaries(world, failing(1.0)) and None)
    assert watch(world).exit_code == 11
    with pytest.raises(LockedError):
        context(world, run=Run(id="run-7", owner="x")).cluster.lock.check()


# Nobody comes


def test_a_wait_that_is_too_long_takes_the_traffic_off_and_is_no_rollback() -> None:
    world = waiting()
    verdict_at = world.journal[-1].at.timestamp()
    env = environment(wait="100s")
    assert environment().limits.wait == 1800, "the default"
    outcome = watch(world, env=env)
    assert outcome.exit_code == 10
    assert set(world.weights.values()) == {0}
    assert world.writes[-1][0] - verdict_at == pytest.approx(100, abs=2)
    assert "not a rollback" in outcome.summary
    off = [entry for entry in world.journal if entry.action == "take-off"]
    assert "not a rollback" in str(off[-1].facts.model_dump(mode="json")["reason"])
    last = world.journal[-1]
    assert (last.action, last.facts.model_dump(mode="json")["verdict"]) == ("wait", "hold")
    assert watch(world).exit_code == 10, "run again, it says the same"
    assert play(world, 25).verdict is Verdict.PROCEED, "an approval that comes later still counts"


def test_the_limit_counts_from_the_verdict_however_often_the_watch_is_started_again() -> None:
    world = waiting()
    verdict_at = world.journal[-1].at.timestamp()

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    world.at(50, kill)
    with pytest.raises(Killed):
        watch(world, limit=100.0)
    assert watch(world, limit=100.0).exit_code == 10
    assert world.writes[-1][0] - verdict_at == pytest.approx(100, abs=2)


def test_a_wait_that_is_too_long_leaves_the_traffic_to_a_run_that_is_acting() -> None:
    world = waiting()
    world.at(90, lambda: setattr(world, "lock_holder", "run-7"))
    world.at(140, journaled(world, "shift", Phase.INTENT))
    outcome = watch(world, limit=100.0)
    assert outcome.exit_code == 0
    assert set(world.weights.values()) == {10}
    assert any("waiting longer" in line for line in world.said)


def test_the_loan_of_traffic_is_extended_as_long_as_the_wait_lasts() -> None:
    world = waiting()
    loans: list[float] = []

    def read() -> None:
        state = context(world).cluster.routes.read(release(SHORT).rollout.services)[0]
        assert state.traffic_until is not None
        loans.append(state.traffic_until.timestamp() - world.now)

    for tenth in range(1, 15):
        world.at(10.0 * tenth, read)
    world.at(150, journaled(world, "promote", Phase.INTENT))
    watch(world)
    assert len(loans) == 14
    assert min(loans) > 20


# What cannot be seen


@pytest.mark.parametrize(("then", "code", "weight"), [("hold", 0, 10), ("traffic-off", 10, 0)])
def test_an_outage_of_the_metrics_is_waited_out_or_takes_the_traffic_off(
    then: str, code: int, weight: int
) -> None:
    world = waiting()
    limits = environment().limits.model_copy(update={"after_metrics_outage": then})
    env = environment().model_copy(update={"limits": limits})
    world.at(10, lambda: setattr(world, "metrics_state", "down"))
    world.at(220, lambda: setattr(world, "metrics_state", "up"))
    world.at(240, journaled(world, "promote", Phase.INTENT))
    outcome = watch(world, env=env)
    assert outcome.exit_code == code
    assert set(world.weights.values()) == {weight}
    if code:
        assert "no metrics" in outcome.summary


def test_an_api_server_that_is_away_ends_nothing() -> None:
    world = waiting()
    world.at(10, lambda: setattr(world, "kubernetes_up", False))
    world.at(40, lambda: setattr(world, "kubernetes_up", True))
    world.at(60, journaled(world, "gate", Phase.INTENT, weight=25))
    began = world.now
    assert watch(world).exit_code == 0
    assert world.now - began > 59


def test_a_stage_that_held_for_want_of_traffic_stays_watched() -> None:
    world = World(seed=1, rate=2.0).populate()
    assert play(world).verdict is Verdict.HOLD
    assert isinstance(world.journal[-1], Entry)
    world.at(10, lambda: canaries(world, failing(1.0)) and None)
    assert watch(world).exit_code == 11
    assert world.journal[-1].run == OTHER.id
    assert world.journal[-1].run != RUN.id


# The API server is away when the wait begins


def test_a_wait_that_begins_during_an_outage_takes_the_traffic_off_a_failing_canary() -> None:
    world = canaries(waiting(), failing(1.0))
    world.kubernetes_up = False
    world.at(110.0, lambda: setattr(world, "kubernetes_up", True))
    assert watch(world).verdict is Verdict.ROLLBACK
    assert set(world.weights.values()) == {0}


def test_a_wait_that_reads_nothing_says_that_nobody_evaluates_the_canary() -> None:
    world = waiting()
    world.kubernetes_up = False
    with pytest.raises(UnreachableError) as raised:
        watch(world)
    assert "traffic that nobody evaluates" in raised.value.detail.next
    assert "tarsrelease rollback" in raised.value.detail.next
