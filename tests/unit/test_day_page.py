"""One page of a day from the evidence of its jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tarsrelease.model.evidence import Record
from tarsrelease.model.outcome import Outcome, Verdict, exit_code_of
from tarsrelease.report.day_page import step_rows, whole_day
from tarsrelease.report.markdown import outcome_markdown

BEGAN = datetime(2026, 1, 1, 10, tzinfo=UTC)


def record(minute: int, step: str, verdict: Verdict, **details: object) -> Record:
    outcome = Outcome(
        step=step,
        release="1.0.1",
        environment="production",
        verdict=verdict,
        exit_code=exit_code_of(verdict),
        summary=f"{step} said {verdict} | <b>",
        details=details,
        started_at=BEGAN + timedelta(minutes=minute),
        finished_at=BEGAN + timedelta(minutes=minute, seconds=30),
    )
    return Record(number=1, at=BEGAN, run="r", segment="s", previous=None, outcome=outcome)


PROMOTED = [
    record(50, "promote", Verdict.PROCEED),
    record(10, "gate", Verdict.PROCEED, stage="canary-10", weight=10, overrides=["x: 1"]),
    record(0, "verify", Verdict.PROCEED, overrides=["x: 1"]),
]
BACK = [*PROMOTED[1:], record(60, "rollback", Verdict.PROCEED)]


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (PROMOTED, "1.0.1 was promoted; the evidence has 3 steps"),
        (BACK, "1.0.1 was rolled back"),
        ([*PROMOTED, *BACK[-1:]], "1.0.1 was rolled back"),
        ([record(0, "rollback", Verdict.NO_GO)], "the rollback ended NO-GO"),
        (PROMOTED[1:], "neither promoted nor rolled back; the last step, gate, ended PROCEED"),
    ],
)
def test_the_summary_says_how_the_day_ended(records: list[Record], said: str) -> None:
    page = whole_day(records)
    assert page is not None
    assert said in page.summary


def test_steps_stand_in_the_order_of_time_whatever_job_they_are_from() -> None:
    page = whole_day(PROMOTED)
    assert page is not None
    assert [row[1] for row in step_rows(page)] == ["verify", "gate (canary-10)", "promote"]
    assert page.details.model_dump(mode="json")["overrides"] == ["x: 1"]
    assert (page.finished_at - page.started_at) == timedelta(minutes=50, seconds=30)
    text = outcome_markdown(page)
    assert "| 10:10:00 | gate (canary-10) | PROCEED | 30s | gate said proceed \\| &lt;b> |" in text


def test_no_record_is_no_page() -> None:
    assert whole_day([]) is None
