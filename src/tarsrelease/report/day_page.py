"""One page about a whole release from its evidence, with its steps in order of time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tarsrelease.model.details import StageRow
from tarsrelease.model.evidence import Record
from tarsrelease.model.format import count, duration
from tarsrelease.model.outcome import Outcome, Verdict, exit_code_of
from tarsrelease.model.step_details import GateDetails, ReportDayDetails
from tarsrelease.report.results import headline

STEP = "report day"
_MESSAGES = ("messages", "notify send")
STEP_HEADER = ("began", "step", "result", "took", "what")


def whole_day(records: Iterable[Record]) -> Outcome | None:
    """The outcome that summarizes the release; None if there is no record.

    Its verdict is always proceed, because it only reports; the summary has the result. Records
    that a job lost are missing here; `report evidence` names them.
    """
    ordered = sorted(records, key=lambda record: (record.outcome.started_at, record.number))
    steps = [record.outcome for record in ordered]
    if not steps:
        return None
    overrides = [line for step in steps for line in step.details.overrides]
    return Outcome(
        step=STEP,
        release=next((step.release for step in steps if step.release), None),
        environment=next((step.environment for step in steps if step.environment), None),
        verdict=Verdict.PROCEED,
        exit_code=exit_code_of(Verdict.PROCEED),
        summary=f"{_ended_as(steps)}; the evidence has {count(len(steps), 'step')}",
        details=ReportDayDetails(
            steps=tuple(_row(step) for step in steps),
            stages=tuple(row for step in steps if (row := _stage_row(step))),
            overrides=tuple(dict.fromkeys(overrides)),
        ),
        started_at=min(step.started_at for step in steps),
        finished_at=max(step.finished_at for step in steps),
    )


def step_rows(outcome: Outcome) -> Sequence[Sequence[str]]:
    """The rows of the table of steps, as `whole_day` put them into an outcome."""
    details = ReportDayDetails.of(outcome.details)
    return details.steps if details else ()


def _row(step: Outcome) -> tuple[str, ...]:
    gate = GateDetails.of(step.details)
    return (
        f"{step.started_at:%H:%M:%S}",
        f"{step.step} ({gate.stage})" if gate and gate.stage else step.step,
        headline(step),
        duration((step.finished_at - step.started_at).total_seconds()),
        step.summary,
    )


def _stage_row(step: Outcome) -> StageRow | None:
    gate = GateDetails.of(step.details)
    if gate is None or gate.stage is None:
        return None
    return StageRow.made(
        gate.stage,
        gate.weight,
        str(step.verdict) if step.verdict else headline(step).lower(),
        (step.finished_at - step.started_at).total_seconds(),
        step.checks,
        gate,
    )


def _ended_as(steps: Sequence[Outcome]) -> str:
    """The result of the release: that of the last step that decided it."""
    for step in reversed(steps):
        done = step.verdict is Verdict.PROCEED
        if step.step == "promote" and done:
            return f"{step.release} was promoted"
        if step.step == "rollback":
            return (
                f"{step.release} was rolled back"
                if done
                else f"the rollback ended {headline(step)}"
            )
    last = next((step for step in reversed(steps) if step.step not in _MESSAGES), steps[-1])
    return f"neither promoted nor rolled back; the last step, {last.step}, ended {headline(last)}"
