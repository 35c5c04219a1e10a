"""Protect: all traffic leaves a canary that fails badly, whatever stable had earlier."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from functools import cache
from statistics import median

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_gate_pods import PodPages
from world import Pod, RecordedProgress, World, context, environment, release, rollout

from tarsrelease.gates.protection import chances
from tarsrelease.model.checks import CompareCheck
from tarsrelease.model.environment import Environment
from tarsrelease.model.journal import Phase
from tarsrelease.model.measurement import Track
from tarsrelease.model.notice import Event, Notice
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.model.release import Run
from tarsrelease.model.rollout import Rollout
from tarsrelease.steps.canary_gate import gate
from tarsrelease.steps.canary_gate_wait import wait

LIMITS = [
    {"kind": "proportion", "id": "canary.error_rate", "sli": "errors", "below": "1.5%"},
    {"kind": "ready", "id": "canary.ready"},
    {"kind": "restarts", "id": "canary.restarts"},
]
COMPARE = CompareCheck(kind="compare", id="canary.compare", sli="errors")


def compared(plan: Rollout) -> Rollout:
    """The same, with a comparison in every stage but the last."""
    stages = [
        stage
        if stage.weight == 100
        else stage.model_copy(update={"checks": (*stage.checks, COMPARE)})
        for stage in plan.stages
    ]
    return plan.model_copy(update={"stages": tuple(stages)})


SHORT = compared(rollout(LIMITS, duration="60s", max_extension="60s"))
ONLY_LIMITS = rollout(LIMITS, duration="60s", max_extension="60s")
LONG = rollout(LIMITS, duration="20m")
SCRAPE = {"one scrape": 15.0, "one minute": 60.0, "five minutes": 300.0}


def failing(world: World, share: float) -> World:
    """This share of the canary's requests fails from now on."""

    def fault(pod: Pod) -> None:
        pod.error_share = share

    for pod in world.running(Track.CANARY):
        fault(pod)
    world.new_pods = fault
    return world


@cache
def _after_an_incident(seconds: float, seed: int, scrape: float) -> World:
    world = World(seed=seed, rate=100.0, scrape_interval=scrape).populate(stable=2)
    ill = world.running(Track.STABLE)[::2]  # one of two pods of each service
    for pod in ill:
        pod.error_share = 1.0
    world.advance(seconds)
    for pod in ill:
        pod.error_share = 0.0
    world.advance(600.0)
    return world


def after_an_incident(seconds: float, seed: int = 1, scrape: float = 15.0) -> World:
    """One of two pods of stable failed everything for so long, ten minutes ago."""
    return deepcopy(_after_an_incident(seconds, seed, scrape))


def play(world: World, weight: int = 10, of: Rollout = SHORT, scrape: str = "5s") -> Outcome:
    """One stage."""
    return gate(context(world, release(of), environment(scrape)), weight)


def seconds_with_traffic(world: World) -> float:
    """From the first shift until the canary had no traffic."""
    shifted = next(at for at, to in world.writes if to > 0)
    return next((at for at, to in world.writes if to == 0 and at > shifted), 1e9) - shifted


def result(outcome: Outcome) -> Check | None:
    """The result of the protection."""
    return next((c for c in outcome.checks if c.id == "canary.protection"), None)


def actions(world: World) -> list[str]:
    """The journal since the canary was deployed, without skips."""
    return [f"{e.action} {e.phase}" for e in world.journal[1:] if e.action != "skip"]


# An incident of the past is no shield


@pytest.mark.parametrize("incident", SCRAPE)
@pytest.mark.parametrize(
    ("weight", "share", "limit"),
    [(1, 1.0, 30.0), (10, 1.0, 15.0), (50, 1.0, 15.0), (50, 0.2, 60.0)],
)
def test_an_incident_of_stable_is_no_shield(
    incident: str, weight: int, share: float, limit: float
) -> None:
    world = failing(after_an_incident(SCRAPE[incident]), share)
    outcome = play(world, weight, LONG, "15s")
    assert outcome.verdict is Verdict.ROLLBACK, outcome.summary
    assert seconds_with_traffic(world) <= limit
    assert set(world.weights.values()) == {0}


def test_at_all_traffic_one_failing_pod_of_two_is_protected_after_an_incident() -> None:
    world = after_an_incident(60.0)
    play(world, 50, rollout(LIMITS, duration="30s", max_extension="30s"), "15s")
    world.running(Track.CANARY)[-1].error_share = 1.0
    world.new_pods = lambda pod: setattr(pod, "error_share", 1.0)
    world.writes.clear()
    play(world, 100, LONG, "15s")
    assert seconds_with_traffic(world) <= 30.0


def test_a_pod_of_stable_that_is_ill_at_the_same_time_protects_nobody() -> None:
    world = failing(World(seed=2).populate(), 0.4)
    for pod in world.running(Track.STABLE)[::2]:
        pod.error_share = 1.0
    world.advance(10.0)
    outcome = play(world)
    assert result(outcome) is None
    assert "protect result" not in actions(world)


# Five percent against a tenth of one


class _GoneError(Exception):
    """The canary has no traffic any more; nothing after it matters."""


class OnlyUntilGone(World):
    """A world that ends when the canary has lost its traffic."""

    def set_weight(self, service: str, weight: int) -> None:
        super().set_weight(service, weight)
        if weight == 0 and self.writes[0][1] > 0:
            raise _GoneError


def five_percent(seed: int, scrape: float = 5.0, metrics: str = "prometheus") -> float:
    """Seconds with traffic of a canary with ten requests a second for each service.

    One service fails 5 %, everything else 0.1 %.
    """
    world = OnlyUntilGone(seed=seed, rate=100.0, scrape_interval=scrape)
    world.new_pods = lambda pod: setattr(pod, "error_share", 0.001)
    world.populate(stable=2)
    for pod in world.running(Track.STABLE):
        pod.error_share = 0.001
    world.advance(300.0)
    world.running(Track.CANARY)[0].error_share = 0.05
    env: Environment = environment(f"{scrape:g}s").model_copy(update={"metrics": metrics})
    made = context(world, release(SHORT), env)
    if metrics != "prometheus":
        pages = PodPages(world)
        samples = pages if metrics == "pods" else made.metrics.samples
        made = replace(made, metrics=replace(made.metrics, samples=samples, direct=pages))
    with suppress(_GoneError):
        gate(made, 10)
    return seconds_with_traffic(world)


@pytest.mark.parametrize(
    ("scrape", "metrics"), [(5.0, "prometheus"), (60.0, "pods"), (60.0, "both")]
)
def test_five_percent_errors_lose_their_traffic_within_seconds(scrape: float, metrics: str) -> None:
    taken = [five_percent(seed, scrape, metrics) for seed in range(12)]
    assert median(taken) <= 8.0
    assert max(taken) <= 15.0


# One more try


def brief(seed: int = 1, until: float = 12.0) -> World:
    """A canary that fails everything for a while, after an incident of stable: no proof."""
    world = failing(after_an_incident(60.0, seed, 5.0), 1.0)
    world.at(until, lambda: failing(world, 0.0) and None)
    return world


def test_a_canary_that_is_well_again_passes_the_second_try() -> None:
    world = brief()
    outcome = play(world, 10, ONLY_LIMITS)
    assert outcome.verdict is Verdict.PROCEED, outcome.summary
    assert set(world.weights.values()) == {10}
    found = result(outcome)
    assert found is not None
    assert found.status is Status.PASS
    assert "to protect users" in outcome.summary
    written = [to for _, to in world.writes]
    assert written == [10] * 3 + [0] * 3 + [10] * 3
    shifts = [at for at, to in world.writes if to == 10]
    gone = next(at for at, to in world.writes if to == 0)
    assert shifts[-1] - gone >= 60.0
    kept = actions(world)
    at = kept.index("protect result")
    assert kept[at + 1] == "gate intent", "the second try is recorded before it begins"
    assert outcome.details.model_dump(mode="json")["seconds_from_shift_to_protection"] <= 15.0


def test_a_second_protection_in_the_same_stage_is_a_rollback() -> None:
    world = failing(after_an_incident(60.0, scrape=5.0), 1.0)
    outcome = play(world, 10, ONLY_LIMITS)
    assert outcome.verdict is Verdict.ROLLBACK
    assert set(world.weights.values()) == {0}
    assert actions(world).count("protect result") == 2
    found = result(outcome)
    assert found is not None
    assert found.status is Status.FAIL
    assert "second time" in outcome.summary


def test_it_is_the_second_one_too_if_the_first_was_in_another_run() -> None:
    world = failing(after_an_incident(60.0, scrape=5.0), 1.0)
    world.journal.append(world.entry("protect", Phase.RESULT, weight=10, reason="before"))
    outcome = play(world, 10, ONLY_LIMITS)
    assert outcome.verdict is Verdict.ROLLBACK
    assert [to for _, to in world.writes if to] == [10] * 3


def test_a_run_that_is_killed_in_the_quiet_period_is_continued_with_the_rest_of_it() -> None:
    world = brief()

    def killed() -> None:
        raise KeyboardInterrupt

    world.at(40.0, killed)
    with pytest.raises(KeyboardInterrupt):
        play(world, 10, ONLY_LIMITS)
    gone = next(at for at, to in world.writes if to == 0)
    assert play(world, 10, ONLY_LIMITS).verdict is Verdict.PROCEED
    again = [at for at, to in world.writes if to == 10][-1]
    assert 60.0 <= again - gone <= 66.0


@pytest.mark.parametrize("what", ["smoke", "pod"])
def test_the_canary_is_evaluated_without_users_meanwhile(what: str) -> None:
    world = brief()

    def breaks() -> None:
        if what == "smoke":
            world.smoke_status = 500
        else:
            world.running(Track.CANARY)[0].restarts += 1

    world.at(40.0, breaks)
    outcome = play(world, 10, ONLY_LIMITS)
    assert outcome.verdict is Verdict.ROLLBACK
    assert ("canary.smoke" if what == "smoke" else "canary.restarts") in outcome.summary
    assert [to for _, to in world.writes if to] == [10] * 3, "no second try"


# People


class Posted:
    """An outbox that keeps when each notice was posted."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.notices: list[tuple[float, Notice]] = []

    def post(self, notice: Notice) -> None:
        """The port `Outbox`."""
        self.notices.append((self._world.now, notice))


def test_people_hear_of_a_protection_when_it_happens() -> None:
    world = brief()
    made = context(world, release(ONLY_LIMITS), environment())
    outbox = Posted(world)
    made = replace(made, people=replace(made.people, outbox=outbox))
    assert gate(made, 10).verdict is Verdict.PROCEED
    gone = next(at for at, to in world.writes if to == 0)
    posted = [(at, notice) for at, notice in outbox.notices if notice.event is Event.PROTECTED]
    [(at, notice)] = posted
    assert at - gone <= 1.0
    assert notice.about == "canary-10"
    assert "canary.error_rate" in notice.reason


def test_a_second_protection_is_announced_as_the_rollback_that_it_is() -> None:
    world = failing(after_an_incident(60.0, scrape=5.0), 1.0)
    made = context(world, release(ONLY_LIMITS), environment())
    outbox = Posted(world)
    made = replace(made, people=replace(made.people, outbox=outbox))
    assert gate(made, 10).verdict is Verdict.ROLLBACK
    events = [notice.event for _, notice in outbox.notices]
    assert events == [Event.STAGE, Event.PROTECTED, Event.STAGE, Event.ROLLBACK_STARTED]


class Shown(RecordedProgress):
    """Progress that keeps when it was shown, and at which weight."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.weights: list[tuple[float, int | None]] = []

    def evaluated(
        self,
        stage: str,
        weight: int | None,
        elapsed: float,
        planned: float,
        *,
        checks: Iterable[Check],
    ) -> None:
        self.weights.append((self.world.now, weight))


def test_progress_in_the_quiet_period_shows_that_the_canary_has_no_traffic() -> None:
    world = brief()
    progress = Shown(world)
    gate(context(world, release(ONLY_LIMITS), environment(), progress=progress), 10)
    gone = next(at for at, to in world.writes if to == 0)
    again = [at for at, to in world.writes if to == 10][-1]
    quiet = [weight for at, weight in progress.weights if gone < at < again]
    assert len(quiet) >= 10
    assert set(quiet) == {0}


def person(world: World, action: str) -> Callable[[], None]:
    """A person holds, resumes or aborts the release."""

    def append() -> None:
        world.journal.append(world.entry(action, Phase.RESULT, by="alice", reason="a call"))

    return append


def test_a_hold_in_the_quiet_period_is_obeyed_until_it_ends() -> None:
    world = brief()
    began = world.now
    world.at(30.0, person(world, "hold"))
    world.at(300.0, person(world, "resume"))
    outcome = play(world, 10, ONLY_LIMITS)
    assert outcome.verdict is Verdict.PROCEED, outcome.summary
    second = [at for at, to in world.writes if to == 10][-1]
    assert 300.0 <= second - began <= 310.0


def test_a_hold_that_nobody_ends_holds_the_stage_without_traffic() -> None:
    world = brief()
    world.at(30.0, person(world, "hold"))
    env = environment(wait="5m")
    outcome = gate(context(world, release(ONLY_LIMITS), env), 10)
    assert outcome.verdict is Verdict.HOLD
    assert set(world.weights.values()) == {0}
    assert [to for _, to in world.writes if to] == [10] * 3


def test_a_hold_is_no_reason_to_leave_users_on_a_failing_canary() -> None:
    world = brief()
    world.at(2.0, person(world, "hold"))
    world.at(200.0, person(world, "resume"))
    outcome = play(world, 10, ONLY_LIMITS)
    assert seconds_with_traffic(world) <= 15.0
    assert outcome.verdict is Verdict.PROCEED, outcome.summary


def test_an_abort_in_the_quiet_period_is_obeyed_at_once() -> None:
    world = brief()
    began = world.now
    world.at(30.0, person(world, "abort"))
    outcome = play(world, 10, ONLY_LIMITS)
    assert outcome.verdict is Verdict.ROLLBACK
    assert "aborted by alice" in outcome.summary
    assert world.now - began <= 33.0


def test_a_weight_raised_by_hand_in_the_quiet_period_is_lowered() -> None:
    world = brief()
    world.at(30.0, lambda: world.edit("dashboard-api", 10, "kubectl-edit"))
    assert play(world, 10, ONLY_LIMITS).verdict is Verdict.PROCEED
    raised = next(at for at, to in world.writes if to == 10 and at > world.writes[3][0])
    lowered = next(at for at, to in world.writes if to == 0 and at > raised)
    assert lowered - raised <= 2.0


# While a person decides


OTHER = Run(id="run-2", owner="another job")


def waiting(share: float) -> World:
    """The 10 % stage has proceeded and waits; then the canary starts to fail."""
    world = World(seed=3, rate=100.0).populate()
    play(world)
    world.at(20.0, lambda: failing(world, share) and None)
    return world


def test_a_wait_protects_and_holds_the_stage() -> None:
    world = waiting(0.2)
    began = world.now
    outcome = wait(context(world, release(SHORT), run=OTHER), 10, None)
    assert set(world.weights.values()) == {0}
    gone = next(at for at, to in world.writes if to == 0) - began
    assert 20.0 <= gone <= 20.0 + 15.0
    assert world.lock_holder is None
    if outcome.verdict is Verdict.HOLD:
        assert result(outcome) is not None
        assert [e.facts.verdict for e in world.journal if e.action == "gate"][-1] == "hold"
        again = wait(context(world, release(SHORT), run=OTHER), 10, None)
        assert again.verdict is Verdict.HOLD, "run again, it says the same"


# Laws


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(
    changes=st.lists(
        st.tuples(st.floats(0.0, 150.0), st.sampled_from([0.0, 0.02, 0.06, 0.3])), max_size=4
    ),
    weight=st.sampled_from([1, 10, 50, 100]),
    seed=st.integers(0, 3),
)
def test_after_a_protection_only_a_recorded_second_try_gives_traffic(
    changes: list[tuple[float, float]], weight: int, seed: int
) -> None:
    world = World(seed=seed, rate=100.0).populate()
    for at, share in changes:
        world.at(at, lambda share=share: failing(world, share) and None)
    outcome = play(world, weight)
    protected = [e for e in world.journal if e.action == "protect"]
    assert len(protected) <= 2
    assert len(protected) < 2 or outcome.verdict is Verdict.ROLLBACK
    for entry in protected:
        at = entry.at.timestamp()
        later = [w for w in world.writes if w[0] > at]
        raised = next((t for t, to in later if to > 0), None)
        tries = [
            e.at.timestamp()
            for e in world.journal
            if e.action == "gate" and e.phase is Phase.INTENT and e.at.timestamp() > at
        ]
        # The journal has whole microseconds.
        assert raised is None or (tries and tries[0] <= raised + 1e-6)
        assert raised is None or raised - at >= 60.0
    assert max(to for _, to in world.writes) == weight, "never more than the stage's weight"


def test_the_chance_is_divided_over_stages_services_and_checks() -> None:
    one = compared(rollout(LIMITS, weights=(10, 100)))
    five = compared(rollout(LIMITS))
    assert chances(one)["compare"] > chances(five)["compare"] > 0
