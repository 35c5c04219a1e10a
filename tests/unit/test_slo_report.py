"""report slo: seven recorded days, capacity and cost by hand computation, and what is not known."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

from contexts import assignment
from recorded_days import PROMOTED, STEP, Day
from world import SERVICES, environment, release

from tarsrelease.adapters.kubernetes.reservations import parse_quantity
from tarsrelease.gates.measure.pod_hours import used_by
from tarsrelease.model.capacity import Reserved
from tarsrelease.model.errors import UsageError
from tarsrelease.model.measurement import Sample, Series
from tarsrelease.model.outcome import Outcome, Status, Verdict
from tarsrelease.model.slo_report import SloReport
from tarsrelease.model.step_details import SloReportDetails
from tarsrelease.operations.kpis import Measuring
from tarsrelease.readiness.ga_day import HOUR
from tarsrelease.readiness.slo_report import Prices, capacity, cost
from tarsrelease.report.slo_pages import slo_html, slo_markdown
from tarsrelease.steps.report_slo import Reservations, report_slo

DAY = 24 * HOUR
TARGETS = release().rollout.objectives.targets


def made(day: Day, days: float = 7) -> tuple[Outcome, SloReport]:
    clock = SimpleNamespace(now=lambda: datetime.fromtimestamp(day.now, UTC))
    measuring = Measuring(assignment(release(), environment("150s"), clock), day)
    outcome = report_slo(measuring, days * DAY, Reservations({}))
    details = SloReportDetails.of(outcome.details)
    assert details is not None
    return outcome, details.slo_report


def status(outcome: Outcome, check_id: str) -> Status:
    return next(check.status for check in outcome.checks if check.id == check_id)


def week(hours: float = 7 * 24 + 1, bad_day: int = -1) -> Day:
    """The last seven days; on one of them, 6 of 600 requests of the first service fail."""
    end = PROMOTED + hours * HOUR

    def failed(since: float) -> float:
        return 6.0 if bad_day >= 0 and int(since / DAY) == bad_day else 0.0

    return Day(failed=failed, hours=hours, now=end + STEP)


@pytest.fixture(scope="module")
def bad_week() -> tuple[Outcome, SloReport]:
    return made(week(bad_day=4))


def test_a_bad_day_is_found_with_its_time_and_the_budget_that_it_took(
    bad_week: tuple[Outcome, SloReport],
) -> None:
    outcome, found = bad_week
    availability = next(row for row in found.compliance if row.kpi == "availability_pct")
    # Parts begin at 09:00, the bad day an hour earlier: its first hour spoils no part.
    assert (availability.parts, availability.met) == (7, 6)
    assert availability.worst_at == "2027-01-19 09:00 UTC"
    share = 6 / (600 * len(SERVICES))
    assert found.budget.failed / found.budget.requests == pytest.approx(share / 7, rel=0.01)
    left = 1 - share / 7 / (1 - TARGETS.availability)
    assert found.budget.remaining_share == pytest.approx(left, rel=0.02)
    assert found.budget_lasts_days == pytest.approx(30 / (1 - left), rel=0.02)
    assert status(outcome, "slo.recorded") is Status.PASS
    assert status(outcome, "slo.budget") is (Status.PASS if left > 0 else Status.FAIL)


def test_the_pages_have_everything_and_need_nothing(bad_week: tuple[Outcome, SloReport]) -> None:
    _, found = bad_week
    html, markdown = slo_html(found, TARGETS), slo_markdown(found)
    for title in ("Compliance", "Error budget", "Parts", "Trend"):
        assert f"<h2>{title}</h2>" in html
        assert f"## {title}" in markdown
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "<script" not in html
    again = SloReport.model_validate_json(found.model_dump_json(by_alias=True))
    assert again == found


def test_days_that_are_not_recorded_are_said_and_not_guessed() -> None:
    outcome, found = made(week(hours=30))
    assert (outcome.verdict, int(outcome.exit_code)) == (Verdict.HOLD, 10)
    [check] = [check for check in outcome.checks if check.id == "slo.recorded"]
    assert check.status is Status.INCONCLUSIVE
    assert "the first sample is of 2027-01-15" in check.reason
    assert found.kpis.duration_seconds == pytest.approx(30 * HOUR, abs=2 * HOUR)
    assert found.asked_seconds == 7 * DAY
    assert "that were asked for" in slo_markdown(found)


def test_nothing_recorded_is_refused() -> None:
    empty = week()
    empty.series = []
    with pytest.raises(UsageError, match="no sample of this time"):
        made(empty)


def pod(name: str, *values: float) -> Series:
    samples = tuple(Sample(3600.0 * n, value) for n, value in enumerate(values))
    return Series({"pod": name, "container": "main"}, samples)


def test_capacity_and_cost_are_those_of_the_samples() -> None:
    """Two pods of half a core each for two hours; another Deployment's pod is not counted."""
    names = [f"shop-web-7c9-{each}" for each in ("aaaaa", "bbbbb")]
    cpu = [pod(names[0], 0, 1800, 3600), pod(names[1], 0, 1800, 3600), pod("shop-web-x-7c9-c", 9)]
    memory = [pod(names[0], 1e9, 2e9, 1e9), pod(names[1], 1e9, 1e9, 1e9)]
    used = used_by(["shop-web"], cpu, memory, 3)
    own = Reserved(
        deployment="shop-web",
        cpu_request=1.0,
        cpu_limit=None,
        memory_request=2e9,
        memory_limit=4e9,
    )
    [room] = capacity(used, {"shop-web": own})
    assert (room.pods, room.cpu_mean, room.cpu_peak) == (2, 1.0, 1.0)
    assert (room.cpu_peak_share, room.memory_peak_share) == (0.5, 0.75)
    [spent] = cost(used, {"shop-web": own}, 7200, Prices(0.1, 0.01))
    assert (spent.pod_hours, spent.core_hours_requested, spent.core_hours_used) == (4, 4, 2)
    assert (spent.core_hours_limited, spent.gb_hours_requested) == (None, 8)
    assert spent.gb_hours_limited == 16
    assert spent.price == pytest.approx(4 * 0.1 + 8 * 0.01)
    [unknown] = cost(used, {}, 7200, Prices(0.1, 0.01))
    assert (unknown.price, unknown.core_hours_requested) == (None, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [("250m", 0.25), ("2", 2.0), ("64Mi", 64 * 2**20), ("1G", 1e9), ("1e3", 1e3), ("1n", 1e-9)],
)
def test_kubernetes_quantities(text: str, value: float) -> None:
    assert parse_quantity(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "1 Gi", "one", "1Q"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no Kubernetes quantity"):
        parse_quantity(text)
