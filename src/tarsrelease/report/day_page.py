"""The whole day from its evidence: every step in the order of time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tarsrelease.model.evidence import Record
from tarsrelease.model.format import duration
from tarsrelease.model.outcome import Outcome, Verdict, exit_code_of
from tarsrelease.report.results import headline

STEP = "report day"
STEP_HEADER = ("began", "step", "result", "took", "what")


def whole_day(records: Iterable[Record]) -> Outcome | None:
    """One outcome for the page of the day; None where there is no record.

    It reports, so its verdict is proceed whatever the day came to; the summary says that. What a
    job lost of its evidence is missing here, and `report evidence` names it.
    """
    ordered = sorted(records, key=lambda record: (record.outcome.started_at, record.number))
    steps = [record.outcome for record in ordered]
    if not steps:
        return None
    overrides = [
        line
        for step in steps
        if isinstance(lines := step.details.get("overrides"), list)
        for line in lines
    ]
    return Outcome(
        step=STEP,
        release=next((step.release for step in steps if step.release), None),
        environment=next((step.environment for step in steps if step.environment), None),
        verdict=Verdict.PROCEED,
        exit_code=exit_code_of(Verdict.PROCEED),
        summary=f"{_ended_as(steps)}; {len(steps)} steps are in the evidence",
        details={
            "steps": [_row(step) for step in steps],
            "stages": [_stage_row(step) for step in steps if "stage" in step.details],
            "overrides": list(dict.fromkeys(overrides)),
        },
        started_at=min(step.started_at for step in steps),
        finished_at=max(step.finished_at for step in steps),
    )


def step_rows(outcome: Outcome) -> list[list[str]]:
    """The rows of the table of steps, as `whole_day` put them into an outcome."""
    rows = outcome.details.get("steps")
    if not isinstance(rows, list):
        return []
    return [[str(cell) for cell in row] for row in rows if isinstance(row, list)]


def _row(step: Outcome) -> list[str]:
    stage = step.details.get("stage")
    took = (step.finished_at - step.started_at).total_seconds()
    return [
        f"{step.started_at:%H:%M:%S}",
        f"{step.step} ({stage})" if isinstance(stage, str) else step.step,
        headline(step),
        duration(took),
        step.summary,
    ]


def _stage_row(step: Outcome) -> dict[str, object]:
    counted = [
        check.samples
        for check in step.checks
        if check.needed is not None and check.samples is not None
    ]
    row: dict[str, object] = {
        "name": step.details["stage"],
        "weight": step.details.get("weight"),
        "verdict": str(step.verdict) if step.verdict else headline(step).lower(),
        "seconds": (step.finished_at - step.started_at).total_seconds(),
        "requests": min(counted, default=0),
        "checks": [check.model_dump(mode="json") for check in step.checks],
    }
    more = ("seconds_from_shift_to_verdict", "seconds_from_verdict_to_write")
    return row | {key: step.details[key] for key in more if key in step.details}


def _ended_as(steps: Sequence[Outcome]) -> str:
    """How the day ended: the last step that decided it."""
    for step in reversed(steps):
        done = step.verdict is Verdict.PROCEED
        if step.step == "promote" and done:
            return f"{step.release} is promoted"
        if step.step == "rollback":
            return (
                f"{step.release} is rolled back" if done else f"the rollback ended {headline(step)}"
            )
    last = steps[-1]
    return f"neither promoted nor rolled back; the last step, {last.step}, ended {headline(last)}"
