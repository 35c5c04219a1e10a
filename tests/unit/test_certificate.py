"""The certification package: from evidence to metrics, pages and a folder that verifies."""

from __future__ import annotations

import hashlib
import json
import runpy
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tarsrelease.adapters.files.certification import write_package
from tarsrelease.adapters.files.evidence_file import EvidenceFile
from tarsrelease.model.details import Details, Point
from tarsrelease.model.evidence import Record
from tarsrelease.model.kpis import KpiReport, Tally
from tarsrelease.model.outcome import Check, Observed, Outcome, Status, Verdict, exit_code_of
from tarsrelease.model.slo_report import SloReport
from tarsrelease.model.step_details import (
    GateDetails,
    KpiDetails,
    SloReportDetails,
    ValidateDetails,
)
from tarsrelease.readiness.slo_alerts import budget
from tarsrelease.report.certificate import certificate, certified, plot
from tarsrelease.report.certificate_pages import certificate_html, certificate_markdown

ROOT = Path(__file__).parents[2]
BEGIN = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def step(
    name: str,
    minutes: float,
    *checks: Check,
    verdict: Verdict = Verdict.PROCEED,
    details: Details | None = None,
) -> Outcome:
    return Outcome(
        step=name,
        release="1.0.1",
        environment="production",
        verdict=verdict,
        exit_code=exit_code_of(verdict),
        summary=f"{name} is <b>done</b>",
        checks=checks,
        details=details or Details(),
        started_at=BEGIN + timedelta(minutes=minutes),
        finished_at=BEGIN + timedelta(minutes=minutes + 1),
    )


def check(check_id: str, status: Status = Status.PASS, **more: object) -> Check:
    return Check.model_validate(
        {
            "id": check_id,
            "status": status,
            "expected": "< 1 %",
            "reason": "0.2 %",
            "source": "metrics",
            "observed": Observed(value=0.002, unit="share"),
            **more,
        }
    )


def gate(weight: int, minutes: float, points: int = 10) -> Outcome:
    details = GateDetails(
        weight=weight,
        stage=f"canary-{weight}",
        shifted_at=(BEGIN + timedelta(minutes=minutes)).isoformat(),
        history=tuple(
            Point(elapsed=5.0 * n, values={"canary.error_rate/web": 0.001 * (n % 5)})
            for n in range(points)
        ),
    )
    return step("canary gate", minutes, check("canary.error_rate", service="web"), details=details)


def suite(failed: int = 0) -> Outcome:
    tests = [
        check(
            "validation.test",
            Status.FAIL if n < failed else Status.PASS,
            source=f"suite::test_tars_100{1 + n % 5}_number_{n}",
        )
        for n in range(210)
    ]
    details = ValidateDetails(target="stable", marks=(), tests=210, seconds=9.0)
    return step("validate", 50, *tests, details=details)


def day(*more: Outcome) -> list[Record]:
    steps = [
        step("canary deploy", 0),
        *(gate(weight, 5 + n * 10) for n, weight in enumerate((1, 10, 25, 50, 100))),
        *more,
        step("promote", 60),
    ]
    return [
        Record(
            schema="tarsrelease/evidence/v2",
            number=n,
            at=each.finished_at,
            run="1",
            segment="s",
            previous=None,
            identity="ab" * 32,
            outcome=each,
        )
        for n, each in enumerate(steps)
    ]


def results(records: list[Record]) -> dict[str, tuple[str, str]]:
    found = certificate(records)
    assert found is not None
    return {metric.name: (metric.value, metric.result) for metric in found.metrics}


SLOS = ("slo.availability", "slo.error_rate", "slo.latency_p95")
BUSINESS = (
    *("slo.reconnection", "slo.dashboard_load"),
    *("watch.breaches", "watch.support_tickets", "watch.pagerduty_alerts"),
)


def whole_day(*, without: str = "", last: Status = Status.PASS) -> list[Record]:
    """A release of which every metric is measured, except that of the check `without`."""
    measured = [check(each, last) for each in (*SLOS, *BUSINESS) if each != without]
    people = step("check environments", 1, check("environments.two_people"))
    return day(people, suite(), step("migrate up", 2), step("watch", 1500, *measured))


def test_a_whole_release_is_certified_with_the_number_behind_each_metric() -> None:
    found = certificate(whole_day())
    assert found is not None
    assert (found.verdict, found.certified, found.unchecked) == ("CERTIFIED", True, ())
    assert found.headline == "CERTIFIED"
    assert certified(found, "x", ["a"]).exit_code == 0
    watch = step("watch", 1500, check("slo.availability"), check("watch.breaches"))
    records = day(suite(), watch)
    said = results(records)
    assert said["all canary gates passed"] == ("5 of 5", "PASS")
    assert said["validation suite"] == ("210 of 210", "PASS")
    assert said["hotfix TARS-1001"] == ("42 of 42", "PASS")
    assert said["availability"][1] == "PASS"
    assert said["p95 latency"] == ("-", "NOT CHECKED")


@pytest.mark.parametrize(
    ("missing", "metric"),
    [("slo.latency_p95", "p95 latency"), ("watch.support_tickets", "support tickets")],
)
def test_what_was_not_checked_is_named_in_the_verdict(missing: str, metric: str) -> None:
    records = whole_day(without=missing)
    found = certificate(records)
    assert found is not None
    assert (found.verdict, found.certified, found.unchecked) == (
        "NOT CERTIFIED YET",
        False,
        (metric,),
    )
    outcome = certified(found, "x", [])
    assert (outcome.verdict, int(outcome.exit_code)) == (Verdict.HOLD, 10)
    for text in (outcome.summary, certificate_markdown(found), certificate_html(found, "")):
        assert f"NOT CERTIFIED YET; NOT CHECKED: {metric}" in text


def test_a_person_accepts_what_was_not_checked_and_every_page_says_so() -> None:
    records = whole_day(without="watch.support_tickets")
    found = certificate(records, {"support tickets": "the desk is closed (Ada)"})
    assert found is not None
    assert found.certified
    outcome = certified(found, "x", [])
    assert int(outcome.exit_code) == 0
    [skipped] = [each for each in outcome.checks if each.status is Status.SKIPPED]
    assert skipped.reason == "NOT CHECKED, accepted: the desk is closed (Ada)"
    for text in (outcome.summary, certificate_markdown(found), certificate_html(found, "")):
        assert "CERTIFIED; accepted although NOT CHECKED: support tickets" in text
    for page in (certificate_markdown(found), certificate_html(found, "")):
        assert "the desk is closed (Ada)" in page


def test_a_failed_metric_is_not_accepted() -> None:
    found = certificate(whole_day(last=Status.FAIL), {"availability": "never mind (Ada)"})
    assert found is not None
    assert found.verdict == "NOT CERTIFIED"
    assert not any(metric.accepted for metric in found.metrics)


def test_the_baseline_and_the_canary_say_nothing_of_the_promoted_release() -> None:
    before = [step(name, 3, *map(check, SLOS)) for name in ("measure baseline", "measure slo")]
    found = certificate([*day(*before, suite())])
    assert found is not None
    assert {"availability", "error rate", "p95 latency"} <= set(found.unchecked)


def test_a_later_evaluation_without_an_answer_does_not_hide_an_earlier_one() -> None:
    asked = step("watch", 300, check("watch.support_tickets"))
    later = step("watch", 1500, check("watch.support_tickets", Status.SKIPPED, observed=None))
    assert results(day(suite(), asked, later))["support tickets"][1] == "PASS"


@pytest.mark.parametrize(
    ("begins", "hours", "result"),
    [
        (60.5, 0.5, "FAIL"),  # since the promotion
        (50, 24, "FAIL"),  # a day, measured some minutes before it is over
        (50, 0.5, "NOT CHECKED"),  # most of it is the canary's 100 %
        (-1000, 24, "NOT CHECKED"),  # the day before
    ],
)
def test_kpis_count_if_their_window_is_the_releases(
    begins: float, hours: float, result: str
) -> None:
    """The promotion is from 60 to 61 minutes; the old version's dashboards were slow."""
    kpis = KpiReport(
        requests=1,
        release="1.0.1",
        environment="production",
        start=(BEGIN + timedelta(minutes=begins)).isoformat(),
        end=(BEGIN + timedelta(minutes=begins + 60 * hours)).isoformat(),
        duration_seconds=3600 * hours,
    )
    slow = check("slo.dashboard_load", Status.FAIL)
    measured = step("measure kpi", 1510, slow, details=KpiDetails(kpis=kpis))
    assert results(day(suite(), measured))["dashboard load time"][1] == result
    report = SloReport(
        release="1.0.1",
        environment="production",
        asked_seconds=7 * 86400.0,
        kpis=kpis,
        compliance=(),
        budget=budget(0.999, Tally(bad=0, total=1000), 86400.0),
        budget_lasts_days=None,
        trends=(),
        capacity=(),
        cost=(),
    )
    reported = step("report slo", 1510, slow, details=SloReportDetails(slo_report=report))
    assert results(day(suite(), reported))["dashboard load time"][1] == result


def test_what_the_release_does_not_have_is_no_metric_of_it() -> None:
    why = "no sli in rollout.yaml (objectives.slis)"
    skipped = check("slo.dashboard_load", Status.SKIPPED, observed=None, reason=why)
    records = day(suite(), step("measure kpi", 1500, check("slo.availability"), skipped))
    assert "dashboard load time" not in results(records)
    assert results(records)["WebSocket reconnections"][1] == "NOT CHECKED"


def test_a_failed_test_a_rollback_and_a_release_without_promotion_are_not_certified() -> None:
    failed = certificate(day(suite(failed=1)))
    assert failed is not None
    assert not failed.certified
    assert results(day(suite(failed=1)))["hotfix TARS-1001"] == ("41 of 42", "FAIL")
    back = certificate(day(step("rollback", 40)))
    assert back is not None
    assert not back.certified
    never = certificate(day(suite())[:-1])
    assert never is not None
    assert not never.certified
    assert certified(never, "x", []).verdict is Verdict.NO_GO
    assert certificate([]) is None


def test_the_page_needs_nothing_else_and_escapes_what_evidence_says() -> None:
    records = day(suite())
    found = certificate(records)
    assert found is not None
    page = certificate_html(found, plot(records))
    assert "<b>done</b>" not in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    for weight in (1, 10, 25, 50, 100):
        assert f"canary-{weight} PROCEED" in page
    assert "| deployment | all canary gates passed |" in certificate_markdown(found)


def test_24_hours_take_less_than_10_s_and_5_mb() -> None:
    long = [gate(100, 5 + n * 60, points=720) for n in range(24)]
    records = day(suite(), *long)
    began = time.monotonic()
    found = certificate(records)
    assert found is not None
    page = certificate_html(found, plot(records))
    assert time.monotonic() - began < 10
    assert len(page) < 5_000_000


def test_the_package_has_all_evidence_and_checksums(tmp_path: Path) -> None:
    names = write_package(
        tmp_path, {"certificate.html": "<p>x</p>", "certificate.md": "x"}, {"a/e.jsonl": b"{}\n"}
    )
    assert {"certificate.html", "certificate.md", "evidence/a/e.jsonl"} <= set(names)
    for line in (tmp_path / "SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True)
    if shutil.which("chromium"):
        assert (tmp_path / "certificate.pdf").read_bytes().startswith(b"%PDF")


def test_the_runbooks_script_certifies_what_was_recorded_between_its_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no browser: printing has its own test
    evidence, package = tmp_path / "evidence", tmp_path / "GA_CERTIFICATION"
    later = step("incident open", 3000)
    for outcome in (*(record.outcome for record in whole_day()), later):
        name = outcome.step.replace("canary gate", "gate")  # as the command records it
        EvidenceFile(evidence, "1", "s").append(outcome.model_copy(update={"step": name}))
    script = runpy.run_path(str(ROOT / "scripts" / "generate_ga_certification_package.py"))
    options = [
        f"--ga-start-time={BEGIN.isoformat()}",
        f"--ga-end-time={(BEGIN + timedelta(hours=26)).isoformat()}",
        f"--output-dir={package}/",
    ]
    assert script["main"]([*options, "--evidence", str(evidence)]) == 0
    found = json.loads((package / "certificate.json").read_text())
    assert found["verdict"] == "CERTIFIED"
    for line in (package / "SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((package / name).read_bytes()).hexdigest() == digest
    assert script["main"]([options[0], options[2], "--evidence", str(evidence)]) == 1


def test_the_json_says_its_format() -> None:
    found = certificate(day(suite()))
    assert found is not None
    assert json.loads(found.model_dump_json(by_alias=True))["schema"].endswith("certificate/v1")


@pytest.mark.parametrize("status", [Status.FAIL, Status.INCONCLUSIVE, Status.ERROR])
def test_what_did_not_pass_is_a_failed_metric(status: Status) -> None:
    records = day(suite(), step("watch", 1500, check("slo.availability", status)))
    assert results(records)["availability"][1] == "FAIL"
