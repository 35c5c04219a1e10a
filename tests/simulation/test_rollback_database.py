"""rollback --with-database on the simulated day: traffic and code first, whatever the database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from day_world import DayWorld
from world import NEW, OLD, Unattended

from tarsrelease.model.errors import RefusedError
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Check, ExitCode, Outcome, Status, Verdict, exit_code_of
from tarsrelease.operations.undo_migrations import rollback_with_database
from tarsrelease.steps.rollback import rollback

Down = Callable[[], Outcome]


class Undoing:
    """A day that stands in its 10 % stage, and what undoing its migrations comes to."""

    def __init__(self) -> None:
        self.day = DayWorld(rate=0.05)
        self.day.play(Unattended())
        self.day.world.rate = 33.0
        self.asked_at: set[tuple[Track, str]] | None = None

    def undone(self) -> Outcome:
        return self._outcome(Verdict.PROCEED, "4 statements undone")

    def held(self) -> Outcome:
        return self._outcome(Verdict.HOLD, "gave way at 1")

    def not_approved(self) -> Outcome:
        self._outcome(Verdict.PROCEED, "")
        raise RefusedError(doing="asking", found="no approval", expected="a yes", next_step="ask")

    def breaks_what_serves(self) -> Outcome:
        for pod in self.day.world.running(Track.STABLE):
            pod.error_share = 1.0
        return self._outcome(Verdict.PROCEED, "4 statements undone")

    def _outcome(self, verdict: Verdict, summary: str) -> Outcome:
        self.asked_at = self.day.serving()
        now = datetime.fromtimestamp(self.day.world.now, UTC)
        good = verdict is Verdict.PROCEED
        check = Check(
            id="migrate.undone",
            status=Status.PASS if good else Status.INCONCLUSIVE,
            expected="nothing of it is applied",
            reason=summary,
        )
        return Outcome(
            step="migrate down",
            release=NEW,
            environment="simulated",
            verdict=verdict,
            exit_code=exit_code_of(verdict),
            summary=summary,
            checks=(check,),
            details={"lost": ["7 rows"]},
            started_at=now,
            finished_at=now,
        )

    def roll_back(self, down: Down) -> Outcome:
        onto = self.day.context()
        return rollback_with_database(
            onto, roll_back=lambda: rollback(onto, "asked for"), down=down
        )


def test_the_database_comes_after_the_code_and_the_proof_is_made_again() -> None:
    case = Undoing()
    outcome = case.roll_back(case.undone)
    assert outcome.exit_code is ExitCode.DONE
    assert case.asked_at == {(Track.STABLE, OLD)}
    ids = [check.id for check in outcome.checks]
    assert "migrate.undone" in ids
    assert ids.count("rollback.pods") == 1
    assert outcome.details.model_dump(mode="json")["database"] == {
        "lost": ["7 rows"],
        "summary": "4 statements undone",
    }


@pytest.mark.parametrize("how", ["held", "not_approved", "breaks_what_serves"])
def test_a_database_that_is_not_as_asked_is_a_stop_after_a_rollback(how: str) -> None:
    case = Undoing()
    outcome = case.roll_back(getattr(case, how))
    assert outcome.exit_code is ExitCode.STOPPED
    assert outcome.error is not None
    assert outcome.error.next
    assert case.day.serving() == {(Track.STABLE, OLD)}
    assert case.day.weights == {0}


def test_a_rollback_without_its_proof_leaves_the_database_alone() -> None:
    case = Undoing()
    for pod in case.day.world.running(Track.STABLE):
        pod.error_share = 1.0
    outcome = case.roll_back(case.undone)
    assert outcome.exit_code is ExitCode.STOPPED
    assert case.asked_at is None
