"""The targets of a fleet in an outcome's text: few one by one, many by wave."""

from __future__ import annotations

from datetime import UTC, datetime

from tarsrelease.model.details import Details, TargetRow
from tarsrelease.model.outcome import ExitCode, Outcome, Verdict
from tarsrelease.report.fleet_rows import MANY
from tarsrelease.report.markdown import outcome_markdown
from tarsrelease.report.text import outcome_text


def outcome(rows: list[TargetRow]) -> Outcome:
    now = datetime(2026, 11, 27, tzinfo=UTC)
    return Outcome(
        step="status",
        release="1.0.1",
        environment="production",
        verdict=Verdict.PROCEED,
        exit_code=ExitCode.DONE,
        summary="it is known",
        details=Details(targets=tuple(rows)),
        started_at=now,
        finished_at=now,
    )


def row(number: int, at: str, weight: int | None, exit_code: int = 0) -> TargetRow:
    return TargetRow(
        target=f"t{number:04d}",
        wave=1 if number < 10 else 2,
        exit_code=exit_code,
        verdict="proceed" if exit_code == 0 else None,
        at=at,
        weight=weight,
        summary=f"summary of {number}",
    )


def test_a_few_targets_have_a_row_each() -> None:
    text = outcome_text(outcome([row(n, "stage", 10) for n in range(MANY)]))
    assert text.count("summary of") == MANY
    assert " 10 % █░░░░░░░░░" in text


def test_a_thousand_targets_have_a_row_per_wave_a_map_and_the_problems() -> None:
    rows = [row(n, "promoted", 0) for n in range(10)]
    rows += [row(n, "stage", 50) for n in range(10, 970)]
    rows += [row(n, "", None, 69) for n in range(970, 1000)]
    shown = outcome(rows)
    text = outcome_text(shown)
    lines = text.splitlines()
    assert len(lines) < 80
    wave_1, wave_2 = (line for line in lines if line.lstrip().startswith(("1 ", "2 ")))
    assert wave_1.split() == ["1", "10", "0", "%", "10", "promoted"]
    assert wave_2.split()[1:] == ["990", "50", "%", "960", "stage,", "30", "unreachable"]
    assert "wave 1   ✓✓✓✓✓✓✓✓✓✓" in lines
    drawn = "".join(line[9:] for line in lines if line[9:] and set(line[9:]) <= set("▅!"))
    assert drawn == "▅" * 960 + "!" * 30
    assert text.count("summary of") == 20
    assert "and 10 more" in text
    assert "✓✓✓✓✓✓✓✓✓✓" in outcome_markdown(shown)
