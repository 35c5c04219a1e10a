"""No moment with traffic is unobserved, and hands from outside are noticed and named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from day_world import DayWorld, SimulatedCharts, Unattended
from world import (
    NEW,
    OLD,
    RUN,
    SERVICES,
    SimulatedJournal,
    World,
    context,
    deployment,
    release,
    rollout,
)

from tarsrelease.context import Context
from tarsrelease.model.cluster import Revision
from tarsrelease.model.errors import LockedError, RefusedError, StoppedError, UsageError
from tarsrelease.model.evidence import Record
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import ExitCode, Outcome, Verdict
from tarsrelease.model.rollout import Service
from tarsrelease.steps.abort import abort
from tarsrelease.steps.canary_deploy import deploy
from tarsrelease.steps.canary_gate import gate
from tarsrelease.steps.hold import hold
from tarsrelease.steps.promote import promote
from tarsrelease.steps.resume import resume
from tarsrelease.steps.rollback import rollback
from tarsrelease.steps.status import status

SHORT = release(rollout(duration="60s", max_extension="60s"))
ALICE = Lifting(by="alice", reason="errors in the shop")
STABLE_OLD, STABLE_NEW = {(Track.STABLE, OLD)}, {(Track.STABLE, NEW)}


def breaking(world: World, track: Track = Track.CANARY) -> None:
    """From now on this side answers with errors only."""
    for pod in world.running(track):
        pod.error_share = 1.0


def failed_requests(world: World) -> int:
    """Requests that users saw fail."""
    return sum(pod.bad for pod in world.pods)


# Item: while something else is waited for


def test_a_canary_that_waits_for_capacity_stays_evaluated() -> None:
    world = World(seed=1).populate(stable=4)
    assert gate(context(world, SHORT), 10).verdict is Verdict.PROCEED

    def never_ready(pod: Any) -> None:
        pod.ready_after = 1e9

    world.new_pods = never_ready  # a quota, or no node
    world.at(5, lambda: breaking(world))
    began = world.now
    outcome = gate(context(world, SHORT), 50)
    assert outcome.verdict is Verdict.ROLLBACK
    assert "canary.error_rate" in outcome.summary
    assert world.now - began < 25
    assert set(world.weights.values()) == {0}


class SlowCharts(SimulatedCharts):
    """Helm's upgrade of stable starts pods that do not become ready; the old ones stay."""

    def upgrade(
        self,
        release: str,
        chart: str,
        values: Sequence[Mapping[str, Any]],
        *,
        values_from: str | None,
        deadline: float,
        wait: bool = True,
    ) -> None:
        if release == "tars-canary":
            return super().upgrade(
                release, chart, values, values_from=values_from, deadline=deadline, wait=wait
            )
        for service in SERVICES:
            self.world.start_pod(service, Track.STABLE, NEW).ready_after = 1e9
        self.world.at(10.0, lambda: breaking(self.world))
        self._append(release, NEW)
        return None


def test_a_canary_that_fails_while_stable_is_upgraded_loses_its_traffic() -> None:
    day = DayWorld()
    day.charts = SlowCharts(day.world)
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.ROLLBACK
    assert "while stable is upgraded" in outcome.summary
    assert day.weights == {0}
    assert day.serving() == STABLE_OLD
    # At 100 % of 99 requests a second, for 44 s, it had been thousands.
    assert failed_requests(day.world) < 2000


def test_a_canary_that_fails_at_half_the_traffic_of_a_promotion_loses_it() -> None:
    day = DayWorld()
    day.at_stage("promote-50", lambda: breaking(day.world), after=3.0)
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.DONE
    assert day.serving() == STABLE_NEW
    rows = {row.name: row for row in outcome.details.stages}
    assert rows["promote-50"].verdict == "rollback"
    assert rows["promote-50"].seconds < 20


def test_an_ill_pod_of_stable_at_half_the_traffic_of_a_promotion_gives_it_to_the_canary() -> None:
    day = DayWorld(plan=rollout(weights=(10, 100), duration="1m"))
    failed_before: list[int] = []

    def ill() -> None:
        failed_before.append(failed_requests(day.world))
        for service in SERVICES:
            own = [pod for pod in day.world.running(Track.STABLE) if pod.service == service]
            own[0].error_share = 1.0

    day.at_stage("promote-50", ill, after=3.0)
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.STOPPED
    assert day.weights == {100}
    # In two minutes at 50 % it had been a quarter of 99 requests a second: thousands.
    assert failed_requests(day.world) - failed_before[0] < 700


def test_stable_that_fails_in_the_bake_gives_the_traffic_back_to_the_canary() -> None:
    plan = rollout(weights=(10, 100), duration="1m")
    longer = plan.promotion.model_copy(update={"bake": 600.0})
    day = DayWorld(plan=plan.model_copy(update={"promotion": longer}))
    day.at_stage("promote-0", lambda: breaking(day.world, Track.STABLE), after=400.0)
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.STOPPED
    assert day.weights == {100}
    assert failed_requests(day.world) < 2000


# Item: hands from outside


def test_a_weight_raised_by_hand_is_lowered_and_named() -> None:
    world = World(seed=1).populate()
    world.at(10, lambda: world.edit(SERVICES[0], 60, "kubectl-edit"))
    outcome = gate(context(world, SHORT), 10)
    assert outcome.verdict is Verdict.PROCEED
    assert set(world.weights.values()) == {10}
    named = [check for check in outcome.checks if check.id == "routes.weight"]
    assert "60 % by kubectl-edit" in named[0].reason
    assert [entry.action for entry in world.journal].count("restore") == 1


def test_a_weight_lowered_by_hand_holds_the_stage_and_is_named() -> None:
    world = World(seed=1).populate()
    world.at(10, lambda: world.edit(SERVICES[0], 0, "kubectl-edit"))
    outcome = gate(context(world, SHORT), 10)
    assert outcome.verdict is Verdict.HOLD
    assert "0 % by kubectl-edit" in outcome.summary
    assert world.weights[SERVICES[0]] == 0, "traffic is never raised against a person"


def test_a_route_that_is_deleted_right_after_a_shift_is_restored() -> None:
    world = World(seed=1).populate()
    context_ = context(world, SHORT)
    routes, deleted = context_.cluster.routes, list[str]()
    shift = routes.shift

    def shifted(services: Sequence[Service], weight: int, notes: Mapping[str, str]) -> None:
        shift(services, weight, notes)
        if not deleted:
            deleted.append(SERVICES[1])
            world.deleted.add(SERVICES[1])

    routes.shift = shifted  # type: ignore[method-assign]
    assert gate(context_, 10).verdict is Verdict.PROCEED
    assert not world.deleted
    assert any("was deleted; writing it again" in line for line in world.said)


def test_a_deleted_route_is_restored() -> None:
    world = World(seed=1).populate()
    world.at(10, lambda: world.deleted.add(SERVICES[1]))
    outcome = gate(context(world, SHORT), 10)
    assert outcome.verdict is Verdict.PROCEED
    assert not world.deleted
    assert any("was deleted" in line for line in world.said)


def test_replicas_lowered_by_hand_hold_the_stage_and_are_named() -> None:
    day = DayWorld()
    name = deployment(SERVICES[0], Track.CANARY)
    day.at_stage("canary-100", lambda: day.world.set_replicas(name, 1))
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.HOLD
    assert f"deployment/{name} was scaled to 1 by somebody" in outcome.summary


CANARY = deployment(SERVICES[0], Track.CANARY)


def other_image(world: World) -> None:
    """Somebody gives the canary an image that does not exist; its old pod stays."""
    world.images[CANARY] = ("ghcr.io/tars-ai/nothing:0",)
    world.start_pod(SERVICES[0], Track.CANARY, NEW).waiting = "ImagePullBackOff"


def test_an_image_changed_by_hand_holds_the_stage_until_it_is_undone() -> None:
    day = DayWorld()
    day.world.images[CANARY] = ("ghcr.io/tars-ai/dashboard-api:1.0.1",)
    day.at_stage("canary-10", lambda: other_image(day.world), after=10.0)
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.HOLD
    assert f"deployment/{CANARY} has other images, ghcr.io/tars-ai/nothing:0, by" in outcome.summary
    assert day.weights == {0}
    again = gate(day.context(), 10)
    assert again.verdict is Verdict.HOLD
    assert "has other images" in again.summary
    assert day.weights == {0}
    day.world.images[CANARY] = ("ghcr.io/tars-ai/dashboard-api:1.0.1",)
    for pod in day.world.running(Track.CANARY):
        pod.gone = day.world.now if pod.waiting else None
    assert gate(day.context(), 10).verdict is Verdict.PROCEED


def test_an_environment_changed_by_hand_holds_the_stage_until_it_is_undone() -> None:
    day = DayWorld()
    day.world.settings[CANARY] = "as installed"
    day.at_stage("canary-10", lambda: day.world.settings.update({CANARY: "set by hand"}))
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.HOLD
    assert f"deployment/{CANARY} has other commands, environment" in outcome.summary
    assert day.weights == {0}
    assert gate(day.context(), 10).verdict is Verdict.HOLD
    day.world.settings[CANARY] = "as installed"
    assert gate(day.context(), 10).verdict is Verdict.PROCEED


def test_requests_that_fail_on_an_image_changed_by_hand_are_a_rollback() -> None:
    world = World(seed=1).populate()
    world.images[CANARY] = ("ghcr.io/tars-ai/dashboard-api:1.0.1",)
    context_ = context(world, SHORT)
    breaking(world)
    world.at(0.5, lambda: other_image(world))
    outcome = gate(context_, 10)
    assert set(world.weights.values()) == {0}
    assert outcome.verdict in (Verdict.ROLLBACK, Verdict.HOLD)


def hot_fix(day: DayWorld) -> None:
    """Somebody upgrades stable with Helm."""
    history = day.charts.histories["tars"]
    history[-1] = history[-1].model_copy(update={"status": "superseded"})
    fixed = Revision(number=2, status="deployed", chart="tars-1.0.0", app_version=OLD)
    history.append(fixed)


def test_a_hot_fix_of_stable_stops_the_promotion_and_survives_a_rollback() -> None:
    day = DayWorld()
    day.at_stage("canary-100", lambda: hot_fix(day))
    outcome = day.play(Unattended())
    assert outcome.exit_code is not ExitCode.DONE
    assert "revision 2 of stable" in outcome.summary
    resume(day.context(), ALICE)
    day.at_stage("promote-50", lambda: breaking(day.world, Track.STABLE), after=1.0)
    day.play(Unattended())
    day.world.new_pods = lambda pod: None
    rollback(day.context(), "stable failed")
    restored = [line for line in day.world.said if line.startswith("stable: ")]
    assert restored
    assert "revision 2" in restored[-1]


def test_a_hot_fix_of_stable_holds_the_next_stage_until_a_person_accepts_it() -> None:
    day = DayWorld()
    day.at_stage("canary-10", lambda: hot_fix(day))
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.HOLD
    assert "revision 2 of tars" in outcome.summary
    assert day.weights == {0}
    resume(day.context(), ALICE)
    assert day.play(Unattended()).exit_code is ExitCode.DONE


# Item: persons


class AbortedAtTheIntent(SimulatedJournal):
    """A person aborts between the intent of a shift and the write."""

    def append(self, entry: Entry) -> None:
        super().append(entry)
        if entry.action == "shift" and entry.phase is Phase.INTENT:
            super().append(self.world.entry("abort", Phase.RESULT, by="alice", reason="errors"))


def test_a_stage_that_is_aborted_right_before_its_shift_gets_no_traffic() -> None:
    world = World(seed=1).populate()
    with pytest.raises(StoppedError, match="was rolled back"):
        gate(context(world, SHORT, journal=AbortedAtTheIntent(world)), 10)
    assert set(world.weights.values()) == {0}


def test_a_hold_keeps_the_stage_until_it_is_resumed() -> None:
    world = World(seed=1).populate()
    of = context(world, SHORT)
    world.at(10, lambda: hold(of, ALICE) and None)
    charts = SimulatedCharts(world)
    world.at(400, lambda: resume(context(world, SHORT, charts=charts), ALICE) and None)
    began = world.now
    outcome = gate(of, 10)
    assert outcome.verdict is Verdict.PROCEED
    assert world.now - began > 390
    assert set(world.weights.values()) == {10}


def test_a_hold_that_nobody_resumes_moves_the_traffic_to_stable_in_the_end() -> None:
    world = World(seed=1).populate()
    of = context(world, SHORT)
    world.at(10, lambda: hold(of, ALICE) and None)
    outcome = gate(of, 10)
    assert outcome.verdict is Verdict.HOLD
    assert "held by alice" in outcome.summary
    assert set(world.weights.values()) == {0}


def test_no_stage_begins_while_a_person_holds() -> None:
    world = World(seed=1).populate()
    of = context(world, SHORT)
    gate(of, 10)
    hold(of, ALICE)
    charts = SimulatedCharts(world)
    world.at(100, lambda: resume(context(world, SHORT, charts=charts), ALICE) and None)
    began = world.now
    assert gate(of, 25).verdict is Verdict.PROCEED
    raised = [at for at, weight in world.writes if weight == 25]
    assert raised[0] - began >= 100


def test_an_abort_moves_the_traffic_and_a_running_release_rolls_back() -> None:
    day = DayWorld()
    moved: list[float] = []

    def aborting() -> None:
        abort(day.context(), ALICE)
        moved.append(day.world.now)
        assert day.weights == {0}

    day.at_stage("canary-10", aborting)
    outcome = day.play(Unattended())
    assert moved
    assert outcome.exit_code is ExitCode.ROLLBACK
    assert "aborted by alice" in outcome.summary
    assert day.serving() == STABLE_OLD


def test_status_says_who_holds_and_until_when() -> None:
    day = DayWorld()
    day.at_stage("canary-10", lambda: hold(day.context(), ALICE) and None)
    found: list[Outcome] = []
    day.at_stage("canary-10", lambda: found.append(status(day.context())), after=20.0)
    day.at_stage("canary-10", lambda: abort(day.context(), ALICE) and None, after=30.0)
    day.play(Unattended())
    assert "alice" in found[0].summary
    assert "until" in found[0].summary


# Item: journal, lock and evidence


def test_a_stage_before_its_turn_is_refused_unless_a_person_skips() -> None:
    world = World(seed=1).populate()
    world.journal[:] = [entry for entry in world.journal if entry.action != "skip"]
    of = context(world, SHORT)
    with pytest.raises(RefusedError, match="no verdict of canary-50"):
        gate(of, 100)
    assert set(world.weights.values()) == {0}
    outcome = gate(of, 100, skipping=Lifting(by="alice", reason="tested elsewhere"))
    assert outcome.verdict is Verdict.PROCEED
    assert [entry.facts.by for entry in world.journal if entry.action == "skip"] == ["alice"]


def test_a_deleted_journal_is_named_with_the_way_on() -> None:
    world = World(seed=1).populate()
    of = context(world, SHORT)
    gate(of, 10)
    world.journal.clear()
    with pytest.raises(RefusedError, match=r"has no deploy of 1\.0\.1") as refused:
        gate(of, 25)
    assert "tarsrelease rollback" in refused.value.detail.next
    assert set(world.weights.values()) == {10}


def test_a_gate_that_a_rollback_overtook_says_so_and_changes_nothing() -> None:
    world = World(seed=1).populate()

    def rolled_back() -> None:
        """As a rollback does it: traffic, lock, journal, and then the canary goes."""
        for service in SERVICES:
            world.set_weight(service, 0)
            world.annotations[service] = {"stage": "off", "run": "run-2", "release": NEW}
        entry = world.entry("rollback", Phase.INTENT, reason="requested by bob")
        world.journal.append(entry.model_copy(update={"run": "run-2"}))
        for service in SERVICES:
            world.set_replicas(deployment(service, Track.CANARY), 0)
        world.lock_holder = None  # it is done

    world.at(10, rolled_back)
    with pytest.raises(LockedError, match="rolled back") as caught:
        gate(context(world, SHORT), 10)
    assert "requested by bob" in caught.value.detail.found
    assert set(world.weights.values()) == {0}


def test_a_promotion_shifts_nothing_after_a_rollback_took_the_lock() -> None:
    day = DayWorld()
    day.at_stage("promote-50", lambda: setattr(day.world, "lock_holder", "another"), after=5.0)
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.LOCKED
    assert day.weights == {50}


def test_a_holder_that_lost_its_lock_changes_no_replicas() -> None:
    world = World(seed=1).populate(stable=4)

    of = context(world, SHORT)
    lock: Any = of.cluster.lock

    class Overtaken:
        """Taken by another right after it was acquired."""

        def __getattr__(self, name: str) -> Any:
            return getattr(lock, name)

        def acquire(self, *, preempt: bool = False) -> None:
            lock.acquire(preempt=preempt)
            world.lock_holder = "another"

    with pytest.raises(LockedError):
        gate(context(world, SHORT, lock=Overtaken()), 50)
    assert world.replicas[deployment(SERVICES[0], Track.CANARY)] == 1


def test_no_step_acts_with_other_bytes_than_were_deployed() -> None:
    """The chart exchanged or rollout.yaml loosened, and listed again: same version, other hash."""
    day = DayWorld()
    verified = day.release.model_copy(update={"identity": "a" * 64})
    loosened = day.release.model_copy(update={"identity": "b" * 64})

    def refused(step: Callable[[Context], Outcome], weight: int) -> None:
        day.release = loosened
        entries = len(day.world.journal)
        with pytest.raises(RefusedError, match="was deployed from a"):
            step(day.context())
        assert day.weights == {weight}
        assert len(day.world.journal) == entries
        assert day.world.lock_holder is None
        day.release = verified

    day.release = verified
    assert deploy(day.context()).verdict is Verdict.PROCEED
    refused(lambda of: gate(of, 10), 0)
    assert gate(day.context(), 10).verdict is Verdict.PROCEED
    refused(deploy, 10)
    assert gate(day.context(), 100).verdict is Verdict.PROCEED
    refused(promote, 100)
    assert promote(day.context()).verdict is Verdict.PROCEED
    assert day.serving() == STABLE_NEW


class FullDisk:
    """Evidence that takes some records and no more."""

    def __init__(self, room: int) -> None:
        self.room = room

    def append(self, outcome: Outcome) -> Record:
        if self.room == 0:
            raise UsageError(
                doing="recording evidence", found="disk full", expected="space", next_step="free"
            )
        self.room -= 1
        return Record(
            number=1,
            at=outcome.finished_at,
            run=RUN.id,
            segment="simulated",
            previous=None,
            outcome=outcome,
        )


@pytest.mark.parametrize("room", [3, 4, 5])
def test_a_disk_that_fills_up_leaves_the_traffic_safe_and_says_that_things_changed(
    room: int,
) -> None:
    """Room for verify, preflight, migrate (3), for the deploy (4) and for a stage (5)."""
    day = DayWorld()
    day.evidence = FullDisk(room)  # type: ignore[assignment]
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.STOPPED
    assert day.weights == {0}
    assert "disk full" in outcome.summary


def test_a_disk_that_is_full_does_not_keep_a_failing_canary() -> None:
    day = DayWorld()
    day.evidence = FullDisk(4)  # type: ignore[assignment]
    day.world.new_pods = lambda pod: setattr(pod, "error_share", 1.0)
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.ROLLBACK
    assert day.serving() == STABLE_OLD
    assert any("NOT RECORDED" in line for line in day.world.said)
