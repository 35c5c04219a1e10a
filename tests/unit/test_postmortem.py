"""Post-mortem and lessons from the evidence, and their empty templates."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tarsrelease.model.details import Point
from tarsrelease.model.outcome import Check, Observed, Outcome, Status, Verdict, exit_code_of
from tarsrelease.model.step_details import GateDetails, RollbackDetails
from tarsrelease.report.postmortem import BLANK, facts_of, graphs, lessons, postmortem

ROOT = Path(__file__).parents[2]
T = datetime(2026, 12, 1, 9, tzinfo=UTC)


def outcome(step: str, minute: int, verdict: Verdict, **more: object) -> Outcome:
    at = T + timedelta(minutes=minute)
    facts = {
        "step": step,
        "release": "1.0.1",
        "environment": "production",
        "verdict": verdict,
        "exit_code": exit_code_of(verdict),
        "summary": f"{step} ended",
        "started_at": at,
        "finished_at": at + timedelta(seconds=30),
    }
    return Outcome.model_validate(facts | more)


FAILED = Check(
    id="canary.error_rate",
    status=Status.FAIL,
    service="api",
    observed=Observed(value=0.12, unit="share"),
    expected="< 1 %",
    reason="12 % | <b>of</b> requests",
)
DAY = [
    outcome("verify", 0, Verdict.PROCEED),
    outcome(
        "gate",
        2,
        Verdict.ROLLBACK,
        summary="canary-10: error rate 12 %",
        checks=(FAILED,),
        details=GateDetails(
            stage="canary-10",
            weight=10,
            history=tuple(
                Point(elapsed=float(n), values={"canary.error_rate/api": n / 100}) for n in range(5)
            ),
        ),
    ),
    outcome(
        "rollback",
        3,
        Verdict.PROCEED,
        summary="rolled back to 1.0.0 | done",
        details=RollbackDetails(traffic_moved_at="2026-12-01T09:03:01.166502Z"),
    ),
]


def test_the_timeline_and_the_failed_checks_are_filled_in() -> None:
    text = postmortem(facts_of(DAY))
    assert "| 09:02:00 | gate canary-10 | " in text
    assert "| canary.error\\_rate | api | 12 % | \\< 1 % |" in text
    assert "rolled back to 1.0.0 \\| done" in text
    assert "| Rollback | 30s; all traffic was on stable at 09:03:01 |" in text
    assert "[names]" in text
    assert "![The release over time](graphs.svg)" in text


def test_the_lessons_name_what_went_well_and_what_failed() -> None:
    text = lessons(facts_of(DAY))
    assert "- verify: verify ended" in text
    assert "- canary.error\\_rate api: 12 %, expected \\< 1 %" in text


def test_the_graphs_show_traffic_and_measurements() -> None:
    drawn = graphs(DAY)
    ElementTree.fromstring(drawn)
    assert "traffic on the canary" in drawn
    assert "canary.error_rate" in drawn


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("incident_postmortem_template.md", postmortem(BLANK)),
        ("lessons_learned_template.md", lessons(BLANK)),
    ],
)
def test_the_templates_in_the_docs_are_those_of_the_program(file: str, text: str) -> None:
    assert (ROOT / "docs" / "runbooks" / file).read_text() == text
