"""The record of a release: the outcomes of its steps, one row per stage, the final outcome."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tarsrelease.context import Context
from tarsrelease.model.details import StageRow
from tarsrelease.model.errors import ReleaseError, StoppedError
from tarsrelease.model.format import duration
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict, exit_code_of
from tarsrelease.model.overrides import describe_overrides
from tarsrelease.model.rollout import Stage
from tarsrelease.model.step_details import GateDetails, RunDetails
from tarsrelease.ports.evidence import Evidence

STEP = "run"


def stage_row(stage: Stage, outcome: Outcome) -> StageRow:
    """The stage's row of the report."""
    seconds = (outcome.finished_at - outcome.started_at).total_seconds()
    return StageRow.made(
        stage.name, stage.weight, str(outcome.verdict), seconds, outcome.checks, outcome.details
    )


def migration_row(outcome: Outcome) -> StageRow:
    """The row of a migration step in the same table, without traffic and requests."""
    return StageRow(
        name=outcome.step,
        verdict=outcome.verdict,
        seconds=(outcome.finished_at - outcome.started_at).total_seconds(),
        checks=outcome.checks,
    )


def failed_step(context: Context, step: str, error: ReleaseError, started_at: datetime) -> Outcome:
    """The outcome of a step that raised ReleaseError."""
    return Outcome(
        step=step,
        release=context.release.version,
        environment=context.environment.name,
        verdict=None,
        exit_code=error.exit_code,
        summary=error.detail.found.splitlines()[0],
        error=error.detail,
        started_at=started_at,
        finished_at=context.clock.now(),
        next=error.detail.next,
    )


class ReleaseRecord:
    """Collects outcomes, adds each to the evidence at once, and closes the release."""

    def __init__(self, context: Context, evidence: Evidence | None) -> None:
        self._context, self._evidence = context, evidence
        self._started_at = context.clock.now()
        self._phases: dict[str, float] = {}
        self._last: Outcome | None = None
        self._not_validated: tuple[Check, ...] = ()
        self.stages: list[StageRow] = []
        self.rolled_back = False

    @property
    def in_a_line(self) -> str:
        """The duration so far, and each stage's verdict."""
        took = (self._context.clock.now() - self._started_at).total_seconds()
        stages = ", ".join(f"{row.name} {row.verdict}" for row in self.stages if row.verdict)
        return f"{duration(took)}: {stages}" if stages else duration(took)

    def add(self, outcome: Outcome) -> None:
        """Record a step's outcome.

        Raises StoppedError if a step that proceeded cannot be recorded: the release goes no
        further without its evidence. What leads to safety goes on; it is reported.
        """
        took = (outcome.finished_at - outcome.started_at).total_seconds()
        gate = GateDetails.of(outcome.details)
        name = (gate.stage if gate else None) or outcome.step
        self._phases[name] = round(self._phases.get(name, 0.0) + took, 3)
        self._last = outcome
        if outcome.step.startswith("migrate"):
            self.stages.append(migration_row(outcome))
        if outcome.step == "validate":
            skipped = (check for check in outcome.checks if check.status is Status.SKIPPED)
            self._not_validated = tuple(skipped)
        problem = self._not_recorded(outcome)
        if problem is None or outcome.verdict is not Verdict.PROCEED or self.rolled_back:
            return
        raise StoppedError(
            doing=f"recording {outcome.step}",
            found=problem.detail.found,
            expected=problem.detail.expected,
            next_step=f"{problem.detail.next}; then run the same command again: it goes on from "
            "here",
        ) from problem

    def _not_recorded(self, outcome: Outcome) -> ReleaseError | None:
        """Add the outcome to the evidence; why it is not there, which is reported."""
        if self._evidence is None:
            return None
        try:
            self._evidence.append(outcome)
        except ReleaseError as problem:
            self._context.say(f"NOT RECORDED: {outcome.step}: {problem}")
            return problem
        return None

    def close(
        self,
        verdict: Verdict,
        summary: str,
        *,
        checks: Sequence[Check] | None = None,
        details: RunDetails | None = None,
        next_step: str,
    ) -> Outcome:
        """The release's outcome with this verdict.

        `checks` default to those of the last step, and what `validate` did not check.
        """
        last = self._last.checks if self._last is not None else ()
        last = (*last, *(check for check in self._not_validated if check not in last))
        return self._recorded(
            Outcome(
                step=STEP,
                release=self._context.release.version,
                environment=self._context.environment.name,
                verdict=verdict,
                exit_code=exit_code_of(verdict),
                summary=summary,
                checks=tuple(last if checks is None else checks),
                details=self._details(details),
                started_at=self._started_at,
                finished_at=self._context.clock.now(),
                next=next_step,
            )
        )

    def close_like(
        self,
        outcome: Outcome,
        *,
        checks: Sequence[Check] | None = None,
        details: RunDetails | None = None,
        next_step: str | None = None,
    ) -> Outcome:
        """The release's outcome with the step's verdict or error, and its exit code."""
        return self._recorded(
            Outcome(
                step=STEP,
                release=self._context.release.version,
                environment=self._context.environment.name,
                verdict=outcome.verdict,
                exit_code=outcome.exit_code,
                summary=f"{outcome.step}: {outcome.summary}",
                checks=outcome.checks if checks is None else tuple(checks),
                error=outcome.error,
                details=self._details(details),
                started_at=self._started_at,
                finished_at=self._context.clock.now(),
                next=outcome.next if next_step is None else next_step,
            )
        )

    def _details(self, more: RunDetails | None) -> RunDetails:
        return RunDetails(
            phases=dict(self._phases),
            stages=tuple(self.stages),
            overrides=describe_overrides(self._context.environment.overrides),
            **(more.given() if more else {}),
        )

    def _recorded(self, outcome: Outcome) -> Outcome:
        self._not_recorded(outcome)
        return outcome
