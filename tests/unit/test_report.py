"""Reports: the verdict last in text, what did not pass before it; no cell can break out."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsrelease.adapters.terminal.live import LiveProgress, bar_height
from tarsrelease.adapters.terminal.plain import PlainProgress
from tarsrelease.adapters.terminal.progress import NoProgress, progress_on
from tarsrelease.model.format import duration, percent, size
from tarsrelease.model.outcome import (
    Check,
    ErrorDetail,
    ExitCode,
    Observed,
    Outcome,
    Status,
    Verdict,
    exit_code_of,
)
from tarsrelease.report.markdown import outcome_markdown
from tarsrelease.report.sparkline import sparkline
from tarsrelease.report.table import markdown_cell, text_table
from tarsrelease.report.text import outcome_text

T = datetime(2026, 1, 1, tzinfo=UTC)


def check(
    status: Status = Status.PASS,
    *,
    name: str = "canary.error_rate",
    service: str | None = "web",
    samples: int | None = 100,
    value: float = 0.004,
) -> Check:
    return Check(
        id=name,
        status=status,
        service=service,
        observed=Observed(value=value, unit="share"),
        expected="< 2 %",
        reason="because it was measured",
        samples=samples,
        needed=149,
    )


def outcome(
    verdict: Verdict | None = Verdict.PROCEED,
    *checks: Check,
    error: ErrorDetail | None = None,
    code: ExitCode | None = None,
    **details: object,
) -> Outcome:
    return Outcome(
        step="canary gate",
        release="1.0.1",
        environment="production",
        verdict=verdict,
        exit_code=code if code is not None else exit_code_of(verdict or Verdict.PROCEED),
        summary="what happened",
        checks=checks,
        error=error,
        details=details,
        started_at=T,
        finished_at=T + timedelta(seconds=83),
        next="do this",
    )


ERROR = ErrorDetail(doing="asking", found="two\nlines", expected="an answer", next="ask again")


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_last_line_is_the_result(verdict: Verdict) -> None:
    text = outcome_text(outcome(verdict, check()))
    last = text.splitlines()[-1]
    assert last.startswith(f"{verdict.value.upper()}  canary gate · 1.0.1 → production: what")
    assert f"exit code {exit_code_of(verdict):d}" in text


@pytest.mark.parametrize("code", [code for code in ExitCode if code is not ExitCode.DONE])
def test_an_error_has_four_labelled_lines(code: ExitCode) -> None:
    text = outcome_text(outcome(None, error=ERROR, code=code))
    lines = text.split("\n\n")[-1].splitlines()
    assert not lines[0].startswith("EXIT")  # every code has a word of its own
    assert [line.split()[0] for line in lines[1:4]] == ["doing", "found", "lines"]
    assert lines[4:6] == ["  expected  an answer", "  next      ask again"]
    assert text.count("ask again") == 1


def test_what_did_not_pass_comes_before_the_counts_and_the_gravest_first() -> None:
    passed, failed = check(), check(Status.FAIL, name="canary.slow")
    unsure = check(Status.INCONCLUSIVE, name="canary.few")
    skipped = check(Status.SKIPPED, name="canary.none")
    text = outcome_text(outcome(Verdict.HOLD, passed, unsure, skipped, failed))
    assert text.splitlines()[-1].endswith("(1 NOT CHECKED)")
    places = [text.index(f"  {word} canary.") for word in ("FAIL", "INCONCLUSIVE", "SKIPPED")]
    assert places == sorted(places)
    assert places[-1] < text.index("Checks: 1 pass, 1 fail, 1 inconclusive, 1 NOT CHECKED")
    assert "100 of 149" in text


def test_a_rollback_shows_what_failed_and_counts_the_rest() -> None:
    failed, unsure = check(Status.FAIL), check(Status.INCONCLUSIVE, name="canary.few")
    shown = outcome(Verdict.ROLLBACK, failed, unsure, check(Status.SKIPPED, name="canary.none"))
    text = outcome_text(shown)
    assert "FAIL canary.error_rate" in text
    assert "canary.few" not in text
    assert "canary.none" not in text
    assert "Checks: 1 fail, 1 inconclusive, 1 NOT CHECKED (--verbose lists all)" in text
    assert "INCONCLUSIVE canary.few" in outcome_text(shown, verbose=True)


def test_results_that_passed_are_counted_and_listed_on_request() -> None:
    shown = outcome(Verdict.PROCEED, check(), check(name="canary.slow"), phases={"shift": 0.4})
    text = outcome_text(shown)
    assert "canary.slow" not in text
    assert "Checks: 2 pass (--verbose lists all)" in text
    assert "✓ pass  canary.slow" in outcome_text(shown, verbose=True)
    markdown = outcome_markdown(shown)
    folded = markdown[markdown.index("<details>") : markdown.index("</details>")]
    assert "2 passed" in folded
    assert "canary.slow" in folded


def test_a_reason_in_the_verdict_is_not_repeated() -> None:
    failed = check(Status.FAIL).model_copy(update={"reason": "7 of 9 requests bad"})
    other = check(Status.FAIL, service="api")
    shown = outcome(Verdict.ROLLBACK, failed, other).model_copy(
        update={"summary": f"{failed.id} of web: {failed.reason}"}
    )
    text = outcome_text(shown)
    assert text.count("7 of 9 requests bad") == 1
    assert "FAIL canary.error_rate of api is 0.4 %, expected < 2 %: because" in text


def test_a_reason_in_the_steps_own_table_is_not_repeated() -> None:
    failed = check(Status.FAIL).model_copy(update={"reason": "no scrape for 40s"})
    other = check(Status.FAIL, service="api")
    table = {"header": ("", "service", "why"), "rows": (("✗", "web", failed.reason),)}
    text = outcome_text(outcome(Verdict.NO_GO, failed, other, table=table))
    assert text.count("no scrape for 40s") == 1
    assert "FAIL canary.error_rate of api is 0.4 %, expected < 2 %: because" in text
    assert "2 fail" in text


def test_services_that_only_lack_requests_share_a_line() -> None:
    few = [
        check(Status.INCONCLUSIVE, service=name, samples=samples)
        for name, samples in (("web", 40), ("api", 20))
    ]
    text = outcome_text(outcome(Verdict.HOLD, *few))
    assert "  INCONCLUSIVE canary.error_rate of web, api: 20 of 149 required requests\n" in text


def test_results_with_the_same_reason_share_a_line() -> None:
    missing = [check(Status.SKIPPED, name=name, service=None) for name in ("chart.a", "chart.b")]
    text = outcome_text(outcome(Verdict.PROCEED, *missing))
    assert "  SKIPPED chart.a; chart.b: because it was measured\n" in text
    assert text.count("because it was measured") == 1


def test_stages_overrides_plan_and_phases_are_shown() -> None:
    stage = {"name": "canary-10", "weight": 10, "verdict": "proceed", "seconds": 23.4}
    shown = outcome(
        Verdict.PROCEED,
        check(),
        stages=[{**stage, "requests": 712, "checks": [check()] * 13}],
        overrides=["stage_duration = 20 s"],
        plan=["first", "second"],
        phases={"shift": 0.4},
    )
    for text in (outcome_text(shown, verbose=True), outcome_markdown(shown)):
        for part in ("canary-10", "712", "13 pass", "first", "second"):
            assert part in text
    assert "stage_duration = 20 s" in outcome_text(shown)
    assert "shift 0.4s" in outcome_text(shown, verbose=True)


def test_details_of_another_shape_do_not_break_the_report() -> None:
    odd = outcome(Verdict.PROCEED, check(), stages="x", overrides=3, plan={}, phases=[1])
    assert outcome_text(odd)
    assert outcome_markdown(odd)
    assert "canary-1" not in outcome_text(outcome(Verdict.PROCEED, stages=[None, 3]))


@given(st.text())
def test_a_cell_stays_a_cell(text: str) -> None:
    cell = markdown_cell(text)
    assert "\n" not in cell
    assert "\r" not in cell
    assert "|" not in cell.replace("\\|", "").replace("\\\\", "")
    assert "<" not in cell.replace("<br>", "")


def test_columns_are_aligned_and_empty_ones_left_out() -> None:
    lines = text_table(("a", "b", "c"), [("1", "", "x"), ("22", "", "y")], indent="")
    assert lines == ["a   c", "1   x", "22  y"]


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.004, "0.4 %"),
        (0.0123, "1.23 %"),
        (0.123, "12.3 %"),
        (0.9994, "99.94 %"),
        (0.99995, "99.995 %"),
        (1e-9, "< 0.001 %"),
        (1 - 1e-9, "> 99.999 %"),
    ],
)
def test_a_share_is_never_rounded_to_none_or_all(share: float, shown: str) -> None:
    assert percent(share) == shown


def test_quantities() -> None:
    assert [duration(s) for s in (0.0051, 0.35, 9.96, 12.4, 59.9, 200, 7500)] == [
        "5.1ms",
        "0.35s",
        "10s",
        "12s",
        "1m",
        "3m20s",
        "2h5m",
    ]
    assert [size(b) for b in (12, 2.5e9, 23e6)] == ["12 B", "2.5 GB", "23 MB"]


def test_a_sparkline_has_one_bar_a_value() -> None:
    assert sparkline([0, 1, None, 0.5]) == "▁█ ▅"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([]) == ""
    assert bar_height(Observed(value=0.99, unit="share")) == pytest.approx(0.01)
    assert bar_height(Observed(value=3, unit="count")) is None


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_are_few_until_something_changes() -> None:
    stream, time = io.StringIO(), Time()
    progress = PlainProgress(stream, monotonic=time)
    for second in range(20):
        time.now = float(second)
        unsure = check(Status.INCONCLUSIVE, samples=second)
        progress.evaluated("canary-1", 1, second, 20, checks=[unsure])
    calm = stream.getvalue().splitlines()
    assert len(calm) == 4
    assert "(canary.error_rate of web has 5 of 149 requests)" in calm[1]
    progress.evaluated("canary-1", 1, 20, 20, checks=[check(Status.FAIL, value=1.0)])
    news = stream.getvalue().splitlines()[4:]
    assert len(news) == 2
    assert news[1].endswith("FAIL canary.error_rate of web: 100 %, limit < 2 %")
    progress.evaluated("canary-1", 1, 20, 20, checks=[check(Status.PASS)])
    assert "PASS canary.error_rate" in stream.getvalue().splitlines()[-1]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_who_gets_which_progress() -> None:
    terminal = Terminal()
    assert isinstance(progress_on(terminal, variables={"TERM": "xterm"}), LiveProgress)
    for variables in ({"GITHUB_ACTIONS": "true"}, {"CI": "true"}, {"TERM": "dumb"}):
        assert isinstance(progress_on(terminal, variables=variables), PlainProgress)
    assert isinstance(progress_on(terminal, verbose=True, variables={}), PlainProgress)
    assert isinstance(progress_on(io.StringIO(), variables={}), PlainProgress)
    assert isinstance(progress_on(terminal, quiet=True, variables={}), NoProgress)


def test_the_live_view_shows_a_stage_and_leaves_a_line() -> None:
    terminal, time = Terminal(), Time()
    progress = LiveProgress(terminal, monotonic=time)
    progress.console.width = 120
    progress.evaluated(
        "canary-10", 10, 4, 20, checks=[check(), check(Status.FAIL, name="canary.slow")]
    )
    drawn = terminal.getvalue()
    for part in (
        "canary-10",
        "10 % of traffic",
        "4s of 20s",
        "16s left",
        "canary.slow",
        "0.4 %",
    ):
        assert part in drawn
    progress.evaluated("canary-25", 25, 1, 20, checks=[check()])
    assert "canary-10: 10 % of traffic, 4s: 1 pass, 1 fail" in terminal.getvalue()
    progress.close()
    assert "canary-25: 25 % of traffic, 1s: 1 pass" in terminal.getvalue()
    progress.say("after")
    assert terminal.getvalue().endswith("after\n")
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h")


def test_the_live_view_stands_back_while_a_person_is_asked() -> None:
    terminal = Terminal()
    progress = LiveProgress(terminal, monotonic=Time())
    progress.evaluated("canary-10", 10, 4, 20, checks=[check()])
    with progress.paused():
        terminal.write("proceed? ")
        asked = terminal.getvalue()
        progress.evaluated("canary-10", 10, 8, 20, checks=[check()])
        assert terminal.getvalue() == asked
    progress.evaluated("canary-10", 10, 12, 20, checks=[check()])
    assert "12s of 20s" in terminal.getvalue().removeprefix(asked)
    progress.close()
