"""24 hours after a promotion, on recorded samples: leaks, a short breach, and what is due."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

from contexts import assignment
from recorded_days import PROMOTED, STEP, Day
from world import environment, release

from tarsrelease.gates.stats.theil_sen import theil_sen
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.operations.kpis import Measuring
from tarsrelease.readiness.ga_day import HOUR, People
from tarsrelease.steps.watch_ga_day import watch_ga_day, watch_until

NOBODY = People()


def evaluated(day: Day, hours: float, people: People = NOBODY) -> Outcome:
    day.now = PROMOTED + hours * HOUR + STEP
    clock = SimpleNamespace(now=lambda: datetime.fromtimestamp(day.now, UTC))
    measuring = Measuring(assignment(release(), environment("150s"), clock), day)
    return watch_ga_day(measuring, PROMOTED, people)


def of(outcome: Outcome, check: str) -> list[Check]:
    return [each for each in outcome.checks if each.id == check]


def failed(outcome: Outcome) -> set[str]:
    return {check.id for check in outcome.checks if check.status is Status.FAIL}


def test_a_quiet_day_proceeds() -> None:
    outcome = evaluated(Day(), 24, People(tickets=2, tickets_before=2, alerts=0))
    assert outcome.verdict is Verdict.PROCEED, outcome.checks
    assert "+24 h, Release manager" in outcome.summary


@pytest.mark.parametrize("hours", [4, pytest.param(24, marks=pytest.mark.full)])
def test_a_leak_of_6_pct_an_hour_is_found_by_4_h(hours: float) -> None:
    day = Day(memory=lambda t: 2e8 * 1.06 ** (t / HOUR))
    found = of(evaluated(day, hours), "watch.memory_growth")
    assert {each.status for each in found} == {Status.FAIL}
    linear = Day(memory=lambda t: 2e8 * (1 + 0.06 * t / HOUR))
    assert "watch.memory_growth" in failed(evaluated(linear, 4))


@pytest.mark.parametrize(
    "hours", [2.5, 4, *(pytest.param(hours, marks=pytest.mark.full) for hours in (8, 12, 24))]
)
def test_a_leak_of_3_pct_an_hour_is_not_reported(hours: float) -> None:
    day = Day(memory=lambda t: 2e8 * 1.03 ** (t / HOUR))
    assert "watch.memory_growth" not in failed(evaluated(day, hours))


def test_a_breach_of_five_minutes_is_reported_at_the_next_evaluation_with_its_time() -> None:
    """30 of 600 requests of one service fail from +7 h to +7 h 5 min."""
    day = Day(failed=lambda t: 30.0 if 7 * HOUR < t <= 7 * HOUR + 300 else 0.0)
    assert not failed(evaluated(day, 6))
    for hours in (8, 24):
        found = of(evaluated(day, hours), "watch.breaches")
        assert {each.status for each in found} == {Status.FAIL}
        assert all("2027-01-15 15:00 UTC to 2027-01-15 15:05 UTC" in each.reason for each in found)
        assert all("7h after the promotion" in each.reason for each in found)
    outcome = evaluated(day, 8)
    assert outcome.verdict is Verdict.NO_GO
    assert any("incident P" in line for line in outcome.details.lines)


def test_one_failed_request_is_no_breach() -> None:
    day = Day(failed=lambda t: 1.0 if 7 * HOUR < t <= 7 * HOUR + STEP else 0.0)
    assert evaluated(day, 8, People(0, 0, 0)).verdict is Verdict.PROCEED


def test_what_people_count_is_asked_for_from_4_h_on() -> None:
    day = Day()
    assert not of(evaluated(day, 3), "watch.support_tickets")
    [asked] = of(evaluated(day, 4), "watch.support_tickets")
    assert asked.status is Status.SKIPPED
    more = evaluated(day, 4, People(tickets=9, tickets_before=3, alerts=1))
    assert failed(more) == {"watch.support_tickets", "watch.pagerduty_alerts"}


def test_a_count_that_fails_is_an_error_and_never_a_pass() -> None:
    people = People(0, 0, None, {"watch.pagerduty_alerts": "PagerDuty: status 401"})
    outcome = evaluated(Day(), 4, people)
    [alerts] = of(outcome, "watch.pagerduty_alerts")
    assert (alerts.status, alerts.reason) == (Status.ERROR, "PagerDuty: status 401")
    assert outcome.verdict is Verdict.HOLD


def test_every_scheduled_check_has_its_role_and_checklist() -> None:
    outcome = evaluated(Day(), 8.5)
    table = outcome.details.table
    assert table is not None
    assert [(row[0], row[2], row[4]) for row in table.rows] == [
        ("+2 h", "SRE on call", "was due"),
        ("+4 h", "Support lead", "was due"),
        ("+8 h", "Engineering lead", "due now"),
        ("+12 h", "Release manager", "to come"),
        ("+24 h", "Release manager", "to come"),
    ]


def test_until_evaluates_again_and_again() -> None:
    day = Day()
    day.now = PROMOTED + 2 * HOUR
    said: list[str] = []

    def sleep(seconds: float) -> None:
        day.now += seconds

    clock = SimpleNamespace(now=lambda: datetime.fromtimestamp(day.now, UTC), sleep=sleep)
    plain = assignment(release(), environment("150s"), clock)
    measuring = Measuring(plain, day)
    object.__setattr__(plain.people, "progress", SimpleNamespace(say=said.append))
    outcome = watch_until(measuring, PROMOTED, NOBODY, until=4 * HOUR, every=HOUR)
    assert len(said) == 3
    assert "due: +4 h, Support lead" in outcome.summary


def test_outliers_do_not_move_the_slope() -> None:
    points = [(x, 2 * x + 5 + (1000 if x % 5 == 0 else 0)) for x in map(float, range(50))]
    fitted = theil_sen(points)
    assert fitted is not None
    assert fitted[0] == pytest.approx(2, abs=0.01)
    assert theil_sen([(1.0, 1.0), (1.0, 3.0)]) is None
