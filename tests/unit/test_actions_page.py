"""What a step's page shows, and what it is cut to; how a step ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from runner_reader import commands

from tarsrelease.actions.main import ends_with
from tarsrelease.actions.runner import annotation_lines, masks, outputs
from tarsrelease.model.outcome import (
    Check,
    ExitCode,
    Observed,
    Outcome,
    Status,
    Verdict,
    exit_code_of,
)
from tarsrelease.report.page import LARGEST_PAGE, cut, outcome_page, remarks

T = datetime(2026, 1, 1, tzinfo=UTC)


def gate(verdict: Verdict, status: Status, **details: object) -> Outcome:
    """A stage that was observed, with one check of two services."""
    checks = tuple(
        Check(
            id="canary.error_rate",
            status=status,
            service=service,
            observed=Observed(value=0.03, unit="share"),
            expected="below 2 %",
            reason=f"3 % of 1000 requests | {service}\n<b>",
            window=60,
            samples=1000,
        )
        for service in ("web", "api")
    )
    return Outcome(
        step="canary gate",
        release="1.0.1",
        environment="production",
        verdict=verdict,
        exit_code=exit_code_of(verdict),
        summary="canary.error_rate of web",
        checks=checks,
        details=details,
        started_at=T,
        finished_at=T + timedelta(minutes=1),
    )


@pytest.mark.parametrize("verdict", list(Verdict))
def test_only_a_hold_can_let_the_job_go_on(verdict: Verdict) -> None:
    outcome = gate(verdict, Status.PASS)
    assert ends_with(outcome, {"on-hold": "fail"}) == exit_code_of(verdict)
    wanted = 0 if verdict in (Verdict.HOLD, Verdict.PROCEED) else exit_code_of(verdict)
    assert ends_with(outcome, {"on-hold": "continue"}) == wanted
    assert ends_with(gate(Verdict.HOLD, Status.PASS), {}) == ExitCode.HOLD


def looks(count: int) -> list[dict[str, object]]:
    return [
        {
            "elapsed": float(5 * number),
            "values": {
                "canary.error_rate/web": number / 1000,
                "canary.error_rate/api": number / 500,
            },
            "requests": {"web": 10 * number},
        }
        for number in range(count)
    ]


def test_a_stage_is_drawn_with_a_line_a_service_in_percent() -> None:
    page = outcome_page(gate(Verdict.ROLLBACK, Status.FAIL, history=looks(4)), evidence="evidence")
    assert "### ROLLBACK  canary gate · 1.0.1 → production" in page
    chart = page.split("```mermaid\n")[1].split("```")[0].splitlines()
    assert chart == [
        "xychart-beta",
        '  title "canary.error_rate in percent: web, api"',
        '  x-axis "seconds since the shift" ["0", "5", "10", "15"]',
        '  y-axis "percent" 0 --> 0.6',
        "  line [0, 0.1, 0.2, 0.3]",
        "  line [0, 0.2, 0.4, 0.6]",
    ]
    assert "<b>" not in page


def test_a_chart_is_thinned_and_keeps_the_last_look() -> None:
    page = outcome_page(gate(Verdict.PROCEED, Status.PASS, history=looks(500)))
    labels = page.split("[")[1].split("]")[0].split(", ")
    assert len(labels) <= 30
    assert labels[-1] == '"2495"'


def test_one_look_is_no_chart() -> None:
    assert "mermaid" not in outcome_page(gate(Verdict.HOLD, Status.ERROR, history=looks(1)))
    assert "mermaid" not in outcome_page(gate(Verdict.HOLD, Status.ERROR))


def test_a_page_stays_below_what_github_drops() -> None:
    long = "```\n" + "é" * 100 + "\n"
    page = cut(long * 20_000)
    assert len(page.encode()) <= LARGEST_PAGE < 2**20
    assert "Cut here" in page.splitlines()[-1]
    assert page.count("```") % 2 == 0
    assert len(cut("é" * 2_000_000).encode()) <= LARGEST_PAGE
    assert cut("short\n") == "short\n"


def test_remarks_are_the_result_and_every_check_that_was_not_passed() -> None:
    failed = list(remarks("canary-gate", gate(Verdict.ROLLBACK, Status.FAIL)))
    assert [(level, title) for level, title, _ in failed] == [
        ("error", "canary-gate: ROLLBACK"),
        ("error", "canary.error_rate"),
        ("error", "canary.error_rate"),
    ]
    held = list(remarks("canary-gate", gate(Verdict.HOLD, Status.INCONCLUSIVE)))
    assert {level for level, _, _ in held} == {"warning"}
    assert not list(remarks("canary-gate", gate(Verdict.PROCEED, Status.PASS)))
    warned = list(remarks("plan", gate(Verdict.PROCEED, Status.PASS, warnings=["it is late"])))
    assert warned == [("warning", "plan", "it is late")]


def test_annotations_survive_any_text_and_are_ten_a_level() -> None:
    texts = ["a,b:c::d\n::error::x\r%0A%25" * 2] * 12
    lines = annotation_lines(("error", text, text) for text in texts)
    assert len(lines) == 10
    assert all("\n" not in line and "\r" not in line for line in lines)
    found = commands("\n".join(lines))
    assert found[0].properties == {"title": texts[0]}
    assert found[0].message == texts[0]
    assert found[-1].message.startswith("3 more")


def test_a_secret_of_several_lines_is_masked_line_by_line() -> None:
    assert masks(["first line\n second\nno\n", "50%off"]) == [
        "::add-mask::50%25off",
        "::add-mask::first line",
        "::add-mask::second",
    ]


def test_an_output_cannot_end_its_own_block() -> None:
    text = outputs({"summary": "x\nend_\nverdict<<end_\nproceed\nend_\n", "verdict": "hold"})
    assert text.splitlines()[0].startswith("summary<<end_")
    delimiter = text.splitlines()[0].partition("<<")[2]
    assert len(delimiter) == 36
    assert text.count(delimiter) == 2
