"""The day's heading "migrate": plan, up, verify, in the order and with the ends that a day needs.

A plan that refuses ends the day before anything is touched. After `up` has applied something, an
end that is not good is a stop (exit 12): the schema is wider than before, which harms nobody, and
the day goes on from there when it is run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from tarsrelease.model.environment import Environment
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.outcome import ErrorDetail, ExitCode, Outcome, Status, Verdict
from tarsrelease.model.release import Release, Run
from tarsrelease.operations.migrations.outcome import left_alone
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Journal
from tarsrelease.rollout import release_journal

_AGAIN = "correct it, then run the same again: what is applied stays applied and is not repeated"


class Migrator(Protocol):
    """One release's expand migrations in one environment."""

    def plan(self) -> Outcome:
        """What `up` would do; see `plan.plan`."""

    def up(self) -> Outcome:
        """Apply what is left; see `up.up`."""

    def verify(self) -> Outcome:
        """Does the schema keep what the manifest promises; see `verify.verify`."""


class DayMigration:
    """What a day does to the database before its canary; `applied` counts statements so far."""

    def __init__(
        self,
        release: Release,
        environment: Environment,
        run: Run,
        migrator: Migrator,
        *,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._release, self._environment, self._run = release, environment, run
        self._migrator, self._journal, self._clock = migrator, journal, clock
        self.applied = 0

    def steps(self) -> Sequence[tuple[str, Callable[[], Outcome]]]:
        """Names and steps, in order; each may only be taken where the one before proceeded."""
        reason = why_not(self._release, self._environment)
        if reason is not None:
            arguments = ("migrate", self._release, self._environment, reason)
            return [("migrate", partial(left_alone, *arguments, clock=self._clock))]
        return [
            ("migrate plan", self._migrator.plan),
            ("migrate up", self._up),
            ("migrate verify", self._verify),
        ]

    def _up(self) -> Outcome:
        outcome = journaled(
            self._migrator.up,
            "expand",
            self._release,
            self._run,
            journal=self._journal,
            clock=self._clock,
        )
        self.applied = statements(outcome)
        return outcome

    def _verify(self) -> Outcome:
        outcome = self._migrator.verify()
        if outcome.verdict is Verdict.PROCEED or not self.applied:
            return outcome
        failed = [check for check in outcome.checks if check.status is not Status.PASS]
        return outcome.model_copy(
            update={
                "verdict": None,
                "exit_code": ExitCode.STOPPED,
                "error": ErrorDetail(
                    doing=f"verifying the schema after {self.applied} statements were applied",
                    found="; ".join(check.reason for check in failed) or outcome.summary,
                    expected="the schema that the manifest promises",
                    next=_AGAIN,
                ),
                "next": _AGAIN,
            }
        )


def why_not(release: Release, environment: Environment) -> str | None:
    """Why there is nothing for a day to migrate; None where there is."""
    files = [one.file for one in release.manifest.migrations if one.phase == "expand"]
    if not files:
        return f"{release.version} has no expand migration"
    if environment.database is None:
        return (
            f"environment {environment.name} names no database, so {', '.join(files)} must have "
            "been applied by other means"
        )
    return None


def statements(outcome: Outcome) -> int:
    """How many statements this `up` applied."""
    count = outcome.details.get("statements", 0)
    return count if isinstance(count, int) else 0


def journaled(
    act: Callable[[], Outcome],
    direction: str,
    release: Release,
    run: Run,
    *,
    journal: Journal,
    clock: Clock,
) -> Outcome:
    """Do it between its two entries in the cluster's journal.

    `direction` is ``expand``, ``contract`` or ``down``. Raises what the journal raises before
    anything was changed; an end in an error has no second entry, as for every other step. What
    was applied, statement by statement, stands in the database's own history.
    """

    def note(phase: Phase, **facts: object) -> None:
        journal.append(
            Entry(
                at=clock.now(),
                run=run.id,
                release=release.version,
                step="migrate",
                action=release_journal.MIGRATE,
                phase=phase,
                facts={"direction": direction, **facts},
            )
        )

    note(Phase.INTENT)
    outcome = act()
    note(Phase.RESULT, verdict=str(outcome.verdict), statements=statements(outcome))
    return outcome
