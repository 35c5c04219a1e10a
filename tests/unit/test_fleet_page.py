"""One page for a release to many targets."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from tarsrelease.model.details import Details, TargetRow
from tarsrelease.model.evidence import Record
from tarsrelease.model.outcome import ExitCode, Outcome, Verdict
from tarsrelease.report.day_page import whole_day
from tarsrelease.report.fleet_page import FleetBoard, fleet_content, fleet_page
from tarsrelease.report.markdown import outcome_markdown

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>"


def outcome(environment: str, step: str, summary: str, rows: tuple[TargetRow, ...] = ()) -> Outcome:
    return Outcome(
        step=step,
        release="1.0.1",
        environment=environment,
        verdict=Verdict.PROCEED,
        exit_code=ExitCode.DONE,
        summary=summary,
        details=Details(targets=rows),
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=90),
    )


def row(number: int) -> TargetRow:
    away = number % 100 == 99
    return TargetRow(
        target=f"t{number:04d}",
        wave=1 if number < 10 else 2,
        exit_code=69 if away else 0,
        verdict=None if away else "proceed",
        at="" if away else "promoted" if number < 10 else "a stage runs",
        weight=None if away else 0 if number < 10 else 50,
        summary=HOSTILE,
        next="check the network" if away else "",
    )


def board(count: int) -> FleetBoard:
    """A page about that many targets; every hundredth does not answer."""
    rows = tuple(map(row, range(count)))
    steps = [outcome(f"production/{each.target}", "canary gate", HOSTILE) for each in rows]
    return FleetBoard(
        application="shop",
        release="1.0.1",
        environment="production",
        status=outcome("production", "status", "", rows),
        recorded=tuple(steps),
    )


def test_every_target_is_in_the_map_and_has_its_row() -> None:
    shown = fleet_page(board(1000), NOW)
    linked = re.findall(r'href="#(at-t\d+)"', shown)
    assert linked == re.findall(r'<tr id="(at-t\d+)">', shown)
    assert len(linked) == 1000
    assert "980 a stage runs, 10 promoted, 10 unreachable" in shown
    assert "Not in order: 10 of 1000" in shown
    assert "Wave 2: 990 targets, canary 50 %" in " ".join(shown.split())
    assert shown.count("<details open>") == 1, "the large wave is folded"
    assert len(shown) < 1_000_000


def test_what_anybody_wrote_is_text_and_nothing_is_loaded() -> None:
    shown = fleet_page(board(3), NOW)
    assert HOSTILE not in shown
    assert "&lt;script&gt;alert(1)" in shown
    assert not re.findall(r"https?://", shown)
    assert "<script" not in shown
    assert "canary gate" in fleet_content(board(3))
    assert '<script nonce="n">' in fleet_page(board(3), NOW, nonce="n")


def records(count: int) -> list[Record]:
    """The evidence of a release that was promoted at all targets but the last."""
    found = []
    for number in range(count):
        for step in ("canary deploy", "rollback" if number == count - 1 else "promote"):
            found.append(
                Record(
                    format="tarsrelease/evidence/v2",
                    number=len(found) + 1,
                    at=NOW,
                    run="run-1",
                    segment="run-1",
                    previous=None,
                    outcome=outcome(f"production/t{number:04d}", step, "done"),
                )
            )
    return found


def test_the_report_of_a_day_has_every_target() -> None:
    few = whole_day(records(3))
    assert few is not None
    assert few.environment == "production"
    assert few.summary.startswith("3 targets: 2 promoted, 1 rolled back; ")
    text = outcome_markdown(few)
    assert "t0000: promote" in text
    assert "| t0002 |" in text
    many = whole_day(records(1000))
    assert many is not None
    assert many.summary.startswith("1000 targets: 999 promoted, 1 rolled back; ")
    text = outcome_markdown(many)
    assert "t0999: rollback" in text, "the steps of the target that is not promoted"
    assert "t0000: promote" not in text
