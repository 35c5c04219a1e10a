"""The day on a virtual clock: who is asked, what follows from the answers, and where it ends."""

from __future__ import annotations

import pytest
from day_world import Absent, DayWorld, Silent, There, Unattended, lasting
from world import NEW, OLD, rollout

from tarsrelease.model.errors import UsageError
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import ExitCode, Outcome, Status, Verdict
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.suite import SuiteResult, SuiteTest
from tarsrelease.operations.outcome import StepReport
from tarsrelease.ports.clock import Task
from tarsrelease.rollout.stage_list import played, with_duration, with_stages
from tarsrelease.steps.validate import judged, not_validated

STABLE_OLD, STABLE_NEW = {(Track.STABLE, OLD)}, {(Track.STABLE, NEW)}
WITH_CANARY = {(Track.STABLE, OLD), (Track.CANARY, NEW)}


def with_approval() -> Rollout:
    """A person is asked before 100 %."""
    plan = rollout(weights=(10, 100), duration="1m")
    stages = tuple(
        stage.model_copy(update={"approval": stage.weight == 100}) for stage in plan.stages
    )
    return plan.model_copy(update={"stages": stages})


def breaking(day: DayWorld) -> None:
    """From now on the canary answers with errors."""
    for pod in day.world.running(Track.CANARY):
        pod.error_share = 1.0


def test_a_healthy_release_is_promoted_and_every_step_is_recorded() -> None:
    day = DayWorld()
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.DONE
    assert day.serving() == STABLE_NEW
    assert day.weights == {0}
    steps = [each.step for each in day.evidence.outcomes]
    assert steps == [
        *("verify", "check preflight", "migrate", "canary deploy"),
        *("gate", "gate", "validate", "promote", "run"),
    ]
    rows = outcome.details.model_dump(mode="json")["stages"]
    assert isinstance(rows, list)
    names = ["migrate", "canary-10", "canary-100", "promote-50", "promote-0"]
    assert [row["name"] for row in rows] == names
    # Played again, there is nothing left to be done.
    again = day.play(Unattended())
    assert again.exit_code is ExitCode.DONE
    assert day.serving() == STABLE_NEW


def test_a_bundle_that_does_not_verify_changes_nothing() -> None:
    day = DayWorld()
    outcome = day.play(Unattended(), Verdict.NO_GO)
    assert outcome.exit_code is ExitCode.NO
    assert day.serving() == STABLE_OLD
    assert day.world.journal == []


def test_errors_end_rolled_back_and_a_repaired_canary_passes_afterwards() -> None:
    day = DayWorld()
    day.world.new_pods = lambda pod: setattr(pod, "error_share", 1.0)
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.ROLLBACK
    assert day.serving() == STABLE_OLD
    assert {check.id for check in outcome.checks} >= {
        "canary.error_rate",
        "rollback.traffic_share",
        "rollback.error_rate",
        "rollback.pods",
        "rollback.health",
    }
    day.world.new_pods = lambda pod: None
    assert day.play(Unattended()).exit_code is ExitCode.DONE
    assert day.serving() == STABLE_NEW


def test_a_hold_that_nobody_can_decide_leaves_the_canary_without_traffic() -> None:
    day = DayWorld(rate=0.05)
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.HOLD
    assert day.weights == {0}
    assert day.serving() == WITH_CANARY
    # With traffic, the day goes on from the stage that held.
    day.world.rate = 33.0
    again = day.play(Unattended())
    assert again.exit_code is ExitCode.DONE
    assert [each.step for each in day.evidence.outcomes].count("canary deploy") == 1


def test_a_person_lifts_a_hold_and_the_stage_is_looked_at_again() -> None:
    day = DayWorld(rate=0.05)
    day.at_stage("canary-10", lambda: setattr(day.world, "rate", 33.0), after=659.0)
    person = There(True)
    outcome = day.play(person)
    assert len(person.questions) == 1
    assert outcome.exit_code is ExitCode.DONE
    rows = outcome.details.model_dump(mode="json")["stages"]
    assert isinstance(rows, list)
    assert [row["verdict"] for row in rows[1:3]] == ["hold", "proceed"]


def test_a_person_rejects_a_hold() -> None:
    day = DayWorld(rate=0.05)
    day.at_stage("canary-10", lambda: setattr(day.world, "rate", 33.0), after=659.0)
    outcome = day.play(There(False))
    assert outcome.exit_code is ExitCode.ROLLBACK
    assert day.serving() == STABLE_OLD


def test_nobody_to_approve_takes_the_traffic_off() -> None:
    day = DayWorld(plan=with_approval())
    outcome = day.play(Absent())
    assert outcome.exit_code is ExitCode.HOLD
    assert day.weights == {0}
    assert day.serving() == WITH_CANARY


@pytest.mark.parametrize(
    ("yes", "code", "serving"),
    [(True, ExitCode.DONE, STABLE_NEW), (False, ExitCode.ROLLBACK, STABLE_OLD)],
)
def test_an_approval_decides(yes: bool, code: ExitCode, serving: set[tuple[Track, str]]) -> None:
    day = DayWorld(plan=with_approval())
    person = There(yes)
    assert day.play(person).exit_code is code
    assert person.questions == ["Take 1.0.1 to 100 %?"]
    assert day.serving() == serving


def test_a_canary_that_fails_while_a_person_thinks_is_rolled_back() -> None:
    day = DayWorld(plan=with_approval())
    day.at_stage("canary-10", lambda: breaking(day), after=100.0)
    person = Silent()
    try:
        outcome = day.play(person)
    finally:
        person.over.set()
    assert person.questions
    assert outcome.exit_code is ExitCode.ROLLBACK
    assert "while waiting for a person" in outcome.summary
    assert day.serving() == STABLE_OLD


def test_a_wait_that_is_too_long_takes_the_traffic_off_and_is_no_rollback() -> None:
    day = DayWorld(plan=with_approval())
    person = Silent()
    try:
        outcome = day.play(person)
    finally:
        person.over.set()
    assert outcome.exit_code is ExitCode.HOLD
    assert "no answer within 5m" in outcome.summary
    assert day.weights == {0}
    assert day.serving() == WITH_CANARY
    assert not [entry for entry in day.world.journal if entry.action == "rollback"]


@pytest.mark.parametrize(("then", "said"), [("hold", "no answer"), ("traffic-off", "no metrics")])
def test_metrics_that_go_away_while_a_person_thinks_are_waited_out_or_end_it(
    then: str, said: str
) -> None:
    day = DayWorld(plan=with_approval())
    limits = day.environment.limits.model_copy(
        update={"after_metrics_outage": then, "metrics_outage": 60.0, "wait": 120.0}
    )
    day.environment = day.environment.model_copy(update={"limits": limits})
    day.at_stage("canary-10", lambda: setattr(day.world, "metrics_state", "refused"), after=70.0)
    person = Silent()
    try:
        outcome = day.play(person)
    finally:
        person.over.set()
    assert outcome.exit_code is ExitCode.HOLD
    assert said in outcome.summary
    assert day.weights == {0}


def test_another_run_that_takes_the_lock_is_left_alone() -> None:
    day = DayWorld()
    day.at_stage("canary-10", lambda: setattr(day.world, "lock_holder", "another"))
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.LOCKED
    assert day.weights == {10}, "where its traffic is, is that run's business now"


def test_an_error_in_a_stage_takes_the_traffic_off() -> None:
    day = DayWorld()

    def break_down() -> None:
        day.world.metrics_state = "down"
        day.world.at(400.0, lambda: setattr(day.world, "metrics_state", "up"))

    day.at_stage("canary-10", break_down)
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.HOLD  # 3 minutes without metrics
    assert day.weights == {0}


@pytest.mark.parametrize("on", [True, False])
def test_stable_gets_the_feature_flags_that_the_canary_was_proven_with(on: bool) -> None:
    flags = {"featureFlags": {"search": True}}
    day = DayWorld()
    plan = day.release.rollout.model_copy(update={"feature_flags": flags})
    update: dict[str, object] = {"rollout": plan, "feature_flags": flags if on else {}}
    day.release = day.release.model_copy(update=update)
    assert day.play(Unattended()).exit_code is ExitCode.DONE
    for release in ("tars-canary", "tars"):
        assert (flags in day.charts.given[release]) is on


def test_the_stages_of_the_day_are_in_the_journal_for_who_looks_later() -> None:
    day = DayWorld()
    chosen = with_duration(with_stages(day.release.rollout, (5, 100)), 90.0)
    day.release = day.release.model_copy(update={"rollout": chosen})
    assert day.play(Unattended()).exit_code is ExitCode.DONE
    found, flags = played(rollout(weights=(10, 100), duration="1m"), day.world.journal)
    assert [stage.weight for stage in found.stages] == [5, 100]
    assert flags == " --stages 5,100 --stage-duration 90s"


def suite_ends(day: DayWorld, *found: Status) -> None:
    """The release's suite ends with a test of each status; it must run before the promotion."""

    tests = tuple(
        SuiteTest(name=str(status), status=status, seconds=0.1, reason="so") for status in found
    )
    result = SuiteResult(suite="suite.py", tests=tests, seconds=1.0, trouble=None)

    def run() -> Task[Outcome]:
        assert day.weights == {100}
        assert day.serving() == WITH_CANARY
        report = StepReport(day.context(), "validate")
        yield 20.0
        return judged(report, result, Track.CANARY, ())

    day.validation = run


def test_a_failed_test_of_the_release_rolls_back_before_the_promotion() -> None:
    day = DayWorld()
    suite_ends(day, Status.PASS, Status.FAIL)
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.ROLLBACK
    assert day.serving() == STABLE_OLD
    assert {"validation.test", "rollback.traffic_share"} <= {check.id for check in outcome.checks}
    steps = [each.step for each in day.evidence.outcomes]
    assert steps[-3:] == ["validate", "rollback", "run"]
    [suite] = [each for each in day.evidence.outcomes if each.step == "validate"]
    assert 20 <= (suite.finished_at - suite.started_at).total_seconds() < 25
    assert not [entry for entry in day.world.journal if entry.action == "promote"]


@pytest.mark.parametrize("found", [Status.ERROR, Status.SKIPPED])
def test_tests_that_cannot_run_hold_and_the_release_goes_on_later(found: Status) -> None:
    day = DayWorld()
    suite_ends(day, Status.PASS, found)
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.HOLD
    assert "2 tests against canary" in outcome.summary
    assert (day.weights, day.serving()) == ({0}, WITH_CANARY)
    suite_ends(day, Status.PASS, Status.PASS)
    assert day.play(Unattended()).exit_code is ExitCode.DONE
    assert day.serving() == STABLE_NEW
    steps = [each.step for each in day.evidence.outcomes]
    assert (steps.count("canary deploy"), steps.count("validate")) == (1, 2)


def test_an_error_in_the_validation_stops_the_release_on_stable() -> None:
    day = DayWorld()

    def run() -> Task[Outcome]:
        yield 1.0
        raise UsageError(
            doing="d", found="the report cannot be written", expected="e", next_step="n"
        )

    day.validation = run
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.STOPPED
    assert (day.weights, day.serving()) == ({0}, WITH_CANARY)


def test_a_canary_that_fails_while_the_tests_run_is_rolled_back_at_once() -> None:
    day = DayWorld()
    at: dict[str, float] = {}

    def breaks() -> None:
        at["broken"] = day.world.now
        breaking(day)

    def run() -> Task[Outcome]:
        day.world.at(30.0, breaks)
        try:
            yield 250.0
            raise AssertionError("the tests are not waited for")
        finally:
            at["ended"] = day.world.now

    day.validation = run
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.ROLLBACK
    assert "while waiting for the release's own tests" in outcome.summary
    assert day.serving() == STABLE_OLD
    assert 0 < at["ended"] - at["broken"] < 20


def test_tests_that_are_left_out_are_recorded_as_not_checked() -> None:
    day = DayWorld()
    reason = "they were slow"
    day.validation = lambda: lasting(0.0, not_validated(day.context(), Track.CANARY, reason))
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.DONE
    assert "validation.complete" in {c.id for c in outcome.checks if c.status is Status.SKIPPED}
    [step] = [each for each in day.evidence.outcomes if each.step == "validate"]
    assert [check.status for check in step.checks] == [Status.SKIPPED]
    assert "NOT CHECKED" in step.summary
    assert "they were slow" in step.summary
