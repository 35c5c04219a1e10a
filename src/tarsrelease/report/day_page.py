"""One page about a whole release from its evidence, with its steps in order of time. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from tarsrelease.model.details import StageRow, TargetRow
from tarsrelease.model.evidence import Record
from tarsrelease.model.format import count, duration
from tarsrelease.model.outcome import Outcome, Verdict, exit_code_of
from tarsrelease.model.step_details import GateDetails, ReportDayDetails
from tarsrelease.report.fleet_rows import MANY, target_of
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
    targets = _targets(steps)
    told = _told(steps, targets)
    return Outcome(
        step=STEP,
        release=next((step.release for step in steps if step.release), None),
        environment=_environment(steps),
        verdict=Verdict.PROCEED,
        exit_code=exit_code_of(Verdict.PROCEED),
        summary=f"{_ended_as_fleet(targets) if targets else _ended_as(steps)}; "
        f"the evidence has {count(len(steps), 'step')}",
        details=ReportDayDetails(
            targets=targets,
            steps=tuple(_row(step) for step in told),
            stages=tuple(row for step in told if (row := _stage_row(step))),
            overrides=tuple(dict.fromkeys(overrides)),
        ),
        started_at=min(step.started_at for step in steps),
        finished_at=max(step.finished_at for step in steps),
    )


def _environment(steps: Sequence[Outcome]) -> str | None:
    names = [step.environment for step in steps if step.environment]
    whole = dict.fromkeys(name.partition("/")[0] for name in names)
    return names[0] if len(set(names)) == 1 else next(iter(whole), None)


def _targets(steps: Sequence[Outcome]) -> tuple[TargetRow, ...]:
    """How the release ended at each target; empty unless there are several."""
    by_target: dict[str, list[Outcome]] = {}
    for step in steps:
        if target := target_of(step):
            by_target.setdefault(target, []).append(step)
    if len(by_target) < 2:
        return ()
    found = []
    for name, own in sorted(by_target.items()):
        deciding = [step for step in own if step.step in _DECIDING] or own
        done = deciding[-1].exit_code == 0
        at = _DECIDING.get(deciding[-1].step, "") if done else ""
        found.append(
            TargetRow(
                target=name,
                exit_code=int(deciding[-1].exit_code),
                verdict=deciding[-1].verdict,
                at=at,
                summary=_ended_as(own),
            )
        )
    return tuple(found)


_DECIDING = {"promote": "promoted", "rollback": "rolled back"}


def _ended_as_fleet(targets: Sequence[TargetRow]) -> str:
    counted = Counter(row.at or "neither promoted nor rolled back" for row in targets)
    said = ", ".join(f"{number} {word}" for word, number in counted.most_common())
    return f"{count(len(targets), 'target')}: {said}"


def _told(steps: Sequence[Outcome], targets: Sequence[TargetRow]) -> list[Outcome]:
    """All steps; of many targets only those of the whole release, and of targets without a
    promotion."""
    if len(targets) <= MANY:
        return list(steps)
    well = {row.target for row in targets if row.at == "promoted"}
    return [step for step in steps if target_of(step) not in well]


def step_rows(outcome: Outcome) -> Sequence[Sequence[str]]:
    """The rows of the table of steps, as `whole_day` put them into an outcome."""
    details = ReportDayDetails.of(outcome.details)
    return details.steps if details else ()


def _row(step: Outcome) -> tuple[str, ...]:
    gate = GateDetails.of(step.details)
    target = target_of(step)
    name = f"{step.step} ({gate.stage})" if gate and gate.stage else step.step
    return (
        f"{step.started_at:%H:%M:%S}",
        f"{target}: {name}" if target else name,
        headline(step),
        duration((step.finished_at - step.started_at).total_seconds()),
        step.summary,
    )


def _stage_row(step: Outcome) -> StageRow | None:
    gate = GateDetails.of(step.details)
    if gate is None or gate.stage is None:
        return None
    target = target_of(step)
    return StageRow.made(
        f"{target}: {gate.stage}" if target else gate.stage,
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
