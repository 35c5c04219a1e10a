"""The migrations of a release in `run`: plan, up and verify.

A plan that refuses ends the release before anything is changed. After `up` has applied something,
a failed verify is a stop (exit 12): the wider schema harms nobody, and the next run continues
there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from tarsrelease.context import Assignment
from tarsrelease.model.environment import Environment
from tarsrelease.model.journal import Entry, MigrateFacts, Phase
from tarsrelease.model.outcome import ErrorDetail, ExitCode, Outcome, Status, Verdict
from tarsrelease.model.release import Release
from tarsrelease.model.step_details import AppliedDetails
from tarsrelease.operations.migrations.outcome import left_alone
from tarsrelease.operations.snapshot import refuse_other_bytes
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


class MigratePhase:
    """What a release does to the database before its canary; `applied` counts statements so far."""

    def __init__(self, assignment: Assignment, journal: Journal, migrator: Migrator) -> None:
        self._assignment, self._journal, self._migrator = assignment, journal, migrator
        self.applied = 0

    def steps(self) -> Sequence[tuple[str, Callable[[], Outcome]]]:
        """Names and steps, in order; each may only run if the one before it proceeded."""
        reason = why_not(self._assignment.release, self._assignment.environment)
        if reason is not None:
            return [("migrate", partial(left_alone, self._assignment, "migrate", reason))]
        return [
            ("migrate plan", self._migrator.plan),
            ("migrate up", self._up),
            ("migrate verify", self._verify),
        ]

    def _up(self) -> Outcome:
        outcome = journaled(self._assignment, self._journal, "expand", self._migrator.up)
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
    """Why there is nothing to migrate before the canary; None if there is something."""
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
    details = AppliedDetails.of(outcome.details)
    return details.statements if details else 0


def journaled(
    assignment: Assignment, journal: Journal, direction: str, act: Callable[[], Outcome]
) -> Outcome:
    """Run `act` between its two entries in the cluster's journal.

    `direction` is ``expand``, ``contract`` or ``down``. Raises RefusedError if the journal says
    that another bundle of this version was deployed, and what the journal raises, before anything
    is changed; like every other step, one that ends in an error has no second entry.
    The database's own history lists the statements.
    """

    def note(phase: Phase, facts: MigrateFacts) -> None:
        journal.append(
            Entry(
                at=assignment.clock.now(),
                run=assignment.run.id,
                release=assignment.release.version,
                step="migrate",
                action=release_journal.MIGRATE,
                phase=phase,
                facts=facts,
                identity=assignment.release.identity,
            )
        )

    release = assignment.release
    refuse_other_bytes(f"migrating {release.version}", release, journal.entries())
    note(Phase.INTENT, MigrateFacts(direction=direction))
    outcome = act()
    note(
        Phase.RESULT,
        MigrateFacts(
            direction=direction, verdict=str(outcome.verdict), statements=statements(outcome)
        ),
    )
    return outcome
