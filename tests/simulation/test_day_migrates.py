"""The day's database: before the canary, refusals before anything else, and honest ends."""

from __future__ import annotations

from typing import Any

import pytest
from day_world import DayWorld, SimulatedMigrator
from world import OLD, RUN, Unattended

from tarsrelease.model.errors import RefusedError, StoppedError, UnreachableError
from tarsrelease.model.journal import Phase
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import ExitCode, Outcome, Verdict
from tarsrelease.ports.clock import Task
from tarsrelease.steps.run import plan_release

STABLE_OLD = {(Track.STABLE, OLD)}


def a_day() -> DayWorld:
    day = DayWorld()
    day.has_migrations()
    return day


def rows(outcome: Outcome) -> list[dict[str, Any]]:
    found = outcome.details.model_dump(mode="json")["stages"]
    assert isinstance(found, list)
    return [row for row in found if row["name"].startswith("migrate")]


def journaled(day: DayWorld) -> list[tuple[str, Phase]]:
    return [(entry.action, entry.phase) for entry in day.world.journal[:4]]


def test_the_database_comes_before_the_canary_and_is_recorded() -> None:
    day = a_day()
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.DONE
    assert day.migrator.taken == ["plan", "up", "verify"]
    recorded = [each.step for each in day.evidence.outcomes]
    assert recorded[:6] == [
        *("verify", "check preflight", "migrate plan", "migrate up", "migrate verify"),
        "canary deploy",
    ]
    assert [row["name"] for row in rows(outcome)] == [
        *("migrate plan", "migrate up", "migrate verify"),
    ]
    assert journaled(day)[:3] == [
        *(("migrate", Phase.INTENT), ("migrate", Phase.RESULT)),
        ("deploy", Phase.INTENT),
    ]
    assert day.world.journal[1].facts.model_dump(mode="json")["statements"] == 4


def test_a_day_whose_lock_another_run_holds_ends_before_the_database_is_asked() -> None:
    day = a_day()
    day.world.lock_holder = "another"
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.LOCKED
    assert [each.step for each in day.evidence.outcomes] == ["verify", "run"]
    assert day.migrator.taken == []
    assert day.world.journal == []


def test_the_lock_is_held_from_the_migrations_to_the_end() -> None:
    day, held = a_day(), []
    validation = day.validation

    def validate() -> Task[Outcome]:
        held.append(day.world.lock_holder)
        return validation()

    def plan() -> Outcome:
        held.append(day.world.lock_holder)
        return SimulatedMigrator.plan(day.migrator)

    day.validation = validate
    day.migrator.plan = plan  # type: ignore[method-assign]
    assert day.play(Unattended()).exit_code is ExitCode.DONE
    assert held == [RUN.id, RUN.id]
    assert day.world.lock_holder is None


def test_a_preflight_that_says_no_ends_the_day_before_the_database_is_asked() -> None:
    day = a_day()
    outcome = day.play(Unattended(), preflight=Verdict.NO_GO)
    assert outcome.exit_code is ExitCode.NO
    assert day.migrator.taken == []
    assert day.world.journal == []


def test_a_day_whose_deploy_was_cut_off_does_not_look_at_what_it_left() -> None:
    """A canary that is half there is deploy's to see to, and no reason for a no."""
    day = a_day()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    upgrade, day.charts.upgrade = day.charts.upgrade, killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        day.play(Unattended())
    day.charts.upgrade = upgrade  # type: ignore[method-assign]
    assert day.play(Unattended(), preflight=Verdict.NO_GO).exit_code is ExitCode.DONE
    steps = [each.step for each in day.evidence.outcomes]
    assert steps.count("check preflight") == 1


def test_a_plan_that_refuses_ends_the_day_before_anything_is_touched() -> None:
    day = a_day()
    day.migrator.verdicts["plan"] = Verdict.NO_GO
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.NO
    assert day.migrator.taken == ["plan"]
    assert day.world.journal == []
    assert day.serving() == STABLE_OLD
    assert [check.id for check in outcome.checks] == ["migrate.plan"]


def test_up_that_gives_way_holds_the_day_and_the_next_one_goes_on() -> None:
    day = a_day()
    day.migrator.verdicts["up"] = Verdict.HOLD
    assert day.play(Unattended()).exit_code is ExitCode.HOLD
    assert day.serving() == STABLE_OLD
    day.migrator.verdicts["up"] = Verdict.PROCEED
    assert day.play(Unattended()).exit_code is ExitCode.DONE


def test_errors_keep_their_exit_codes() -> None:
    words = {"doing": "migrating", "found": "x", "expected": "y", "next_step": "z"}
    for error, code in (
        (RefusedError(**words), ExitCode.NO),
        (StoppedError(**words), ExitCode.STOPPED),
        (UnreachableError(**words), ExitCode.UNREACHABLE),
    ):
        day = a_day()
        day.migrator.error = error
        outcome = day.play(Unattended())
        assert outcome.exit_code is code
        assert rows(outcome)[-1]["verdict"] is None
        assert day.serving() == STABLE_OLD
        assert journaled(day) == [("migrate", Phase.INTENT)]


def test_a_schema_that_is_not_as_promised_after_statements_were_applied_is_a_stop() -> None:
    day = a_day()
    day.migrator.verdicts["verify"] = Verdict.NO_GO
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.STOPPED
    assert outcome.error is not None
    assert "4 statements were applied" in outcome.error.doing
    assert [check.id for check in outcome.checks] == ["migrate.verify"]
    assert day.serving() == STABLE_OLD
    # Nothing was left to apply: then nothing was changed, and the answer is a plain no.
    day.migrator.statements = 0
    assert day.play(Unattended()).exit_code is ExitCode.NO


def test_an_error_of_the_canary_after_the_schema_was_widened_is_a_stop() -> None:
    for statements, code in ((4, ExitCode.STOPPED), (0, ExitCode.NO)):
        day = a_day()
        day.migrator.statements = statements
        day.charts.histories.clear()
        assert day.play(Unattended()).exit_code is code


def test_a_day_without_migrations_or_without_a_database_says_so() -> None:
    for keep, said in (("manifest", "names no database"), ("database", "no expand migration")):
        day, other = a_day(), DayWorld()
        if keep == "manifest":
            day.environment = other.environment
        else:
            day.release = other.release
        outcome = day.play(Unattended())
        assert outcome.exit_code is ExitCode.DONE
        assert day.migrator.taken == []
        [row] = rows(outcome)
        assert [check["status"] for check in row["checks"]] == ["skipped"]
        assert said in row["checks"][0]["reason"]


def test_a_day_that_goes_on_does_not_migrate_again() -> None:
    day = a_day()
    day.world.rate = 0.05
    assert day.play(Unattended()).exit_code is ExitCode.HOLD
    day.migrator.taken.clear()
    day.world.rate = 33.0
    assert day.play(Unattended()).exit_code is ExitCode.DONE
    assert day.migrator.taken == []


def planned(day: DayWorld) -> Outcome:
    return plan_release(day.context(), day.migrator)


def test_the_days_plan_shows_the_statements_before_the_canary() -> None:
    day = a_day()
    outcome = planned(day)
    assert outcome.exit_code is ExitCode.DONE
    lines = outcome.details.model_dump(mode="json")["plan"]
    assert isinstance(lines, list)
    migrating = [number for number, line in enumerate(lines) if line.startswith("migrate: ")]
    installing = [number for number, line in enumerate(lines) if line.startswith("helm install")]
    assert "CREATE INDEX" in lines[migrating[0]]
    assert max(migrating) < min(installing)
    assert day.migrator.taken == ["plan"]
    day.migrator.verdicts["plan"] = Verdict.NO_GO
    refused = planned(day)
    assert refused.exit_code is ExitCode.NO
    assert [check.id for check in refused.checks] == ["migrate.plan"]
    bare = DayWorld()
    outcome = planned(bare)
    assert outcome.exit_code is ExitCode.DONE
    lines = outcome.details.model_dump(mode="json")["plan"]
    assert isinstance(lines, list)
    assert "migrate: nothing; 1.0.1 has no expand migration" in lines
