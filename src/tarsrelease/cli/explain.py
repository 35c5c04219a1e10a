"""From an evidence folder to the explanation of one gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from tarsrelease.adapters.files.evidence_file import read_segments
from tarsrelease.adapters.matplotlib.plots import Panel, draw
from tarsrelease.gates.study.explain import LAW, counterfactuals, proportion_of
from tarsrelease.model.errors import UsageError
from tarsrelease.model.evidence import Record
from tarsrelease.model.format import reading
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict, exit_code_of
from tarsrelease.model.step_details import ExplainDetails, GateDetails
from tarsrelease.report.charts import Points, mermaid_chart, text_chart


def explain(evidence: Path, stage: int | None, plot: Path | None) -> Outcome:
    """Explain the last recorded gate (of `stage`, if given); draw it into `plot`."""
    started_at = datetime.now(UTC)
    record, details = _chosen(_records(evidence), evidence, stage)
    gate = record.outcome
    alpha = details.alpha_per_check or 0.01
    sentences = {_name(check): counterfactuals(check, alpha) for check in gate.checks}
    curves = _curves(details)
    if plot is not None:
        draw(plot, gate.summary, _panels(gate, curves))
    name = details.stage or gate.step
    verdict = Verdict.PROCEED
    return Outcome(
        step="canary explain",
        release=gate.release,
        environment=gate.environment,
        verdict=verdict,
        exit_code=exit_code_of(verdict),
        summary=f"record {record.number} of {record.at:%Y-%m-%d %H:%M:%S} UTC, {name}: "
        f"{gate.verdict or 'error'}: {gate.summary}",
        details=ExplainDetails(
            law=LAW,
            verdict=str(gate.verdict),
            alpha_per_check=alpha,
            explained={name: tuple(found) for name, found in sentences.items()},
            lines=tuple(_lines(gate, sentences, curves)),
            charts=tuple(_charts(gate, curves)),
            history=details.history,
        ),
        started_at=started_at,
        finished_at=datetime.now(UTC),
    )


def _records(evidence: Path) -> list[Record]:
    segments = (
        {evidence.name: evidence.read_bytes()} if evidence.is_file() else read_segments(evidence)
    )
    found = []
    for name, content in segments.items():
        for number, line in enumerate(content.splitlines(), 1):
            try:
                found.append(Record.model_validate_json(line))
            except ValidationError as problem:
                raise UsageError(
                    doing=f"reading {name}",
                    found=f"line {number} is not a record ({problem.error_count()} mistakes)",
                    expected="evidence that tarsrelease recorded",
                    next_step="check it with `tarsrelease report evidence`",
                ) from problem
    return sorted(found, key=lambda record: record.at)


def _chosen(
    records: Sequence[Record], evidence: Path, stage: int | None
) -> tuple[Record, GateDetails]:
    gates = [
        (record, gate) for record in records if (gate := GateDetails.of(record.outcome.details))
    ]
    wanted = None if stage is None else f"canary-{stage}"
    fitting = [found for found in gates if wanted is None or found[1].stage == wanted]
    if fitting:
        return fitting[-1]
    stages = ", ".join(sorted({str(gate.stage) for _, gate in gates}))
    raise UsageError(
        doing=f"finding a gate in {evidence}",
        found=f"no gate of {wanted}; recorded: {stages}" if gates else "no recorded gate",
        expected="the recorded outcome of a canary gate",
        next_step="choose a recorded stage with --stage"
        if gates
        else "name the evidence folder of a release that ran a stage",
    )


def _name(check: Check) -> str:
    return f"{check.id}/{check.service}" if check.service else check.id


def _curves(gate: GateDetails) -> dict[str, Points]:
    """The observed values over the stage, by check and service."""
    found: dict[str, list[tuple[float, float]]] = {}
    for point in gate.history:
        for name, value in point.values.items():
            found.setdefault(name, []).append((point.elapsed, value))
    return dict(found)


def _limit(check: Check) -> float | None:
    """The limit in the unit of the observed value; for ``at_least``, that of the good share."""
    found = proportion_of(check)
    if found is None:
        return None
    return 1 - found.limit if found.inclusive else found.limit


def _lines(
    gate: Outcome, sentences: Mapping[str, Sequence[str]], curves: Mapping[str, Points]
) -> list[str]:
    lines = []
    for check in _worst_first(gate.checks):
        name = _name(check)
        lines.append(f"{check.label.upper()} {name} (expected {check.expected})")
        lines += [f"  {sentence}" for sentence in sentences[name]]
        if len(curves.get(name, ())) > 1:
            top = max(value for _, value in curves[name])
            unit = check.observed.unit if check.observed else ""
            lines.append(f"  {text_chart(curves[name])} up to {reading(top, unit)}")
    return lines


def _charts(gate: Outcome, curves: Mapping[str, Points]) -> list[str]:
    """Mermaid charts of the results that decided; if all passed, of the most serious one."""
    shown = [check for check in _worst_first(gate.checks) if len(curves.get(_name(check), ())) > 1]
    deciding = [check for check in shown if check.status is not Status.PASS][:4] or shown[:1]
    return [
        "\n".join(
            mermaid_chart(
                f"{_name(check)} (advisory)" if check.advisory else _name(check),
                check.observed.unit if check.observed else "",
                curves[_name(check)],
                _limit(check),
            )
        )
        for check in deciding
    ]


def _worst_first(checks: Sequence[Check]) -> list[Check]:
    order = (Status.FAIL, Status.ERROR, Status.INCONCLUSIVE, Status.PASS, Status.SKIPPED)
    return sorted(checks, key=lambda check: (check.advisory, order.index(check.status)))


def _panels(gate: Outcome, curves: Mapping[str, Points]) -> list[Panel]:
    """One panel per check id, one line per service."""
    panels = {}
    for check in _worst_first(gate.checks):
        lines = {
            name.partition("/")[2] or name: points
            for name, points in curves.items()
            if name.partition("/")[0] == check.id
        }
        if lines and check.id not in panels:
            unit = check.observed.unit if check.observed else ""
            panels[check.id] = Panel(
                f"{check.id} (advisory)" if check.advisory else check.id,
                "seconds since the shift",
                unit,
                lines,
                _limit(check),
            )
    return list(panels.values())
