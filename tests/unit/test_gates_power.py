"""The chance of a proof against simulated canaries, and plans against traffic that is known."""

from __future__ import annotations

import sys
from itertools import pairwise
from math import inf
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

from contexts import assignment
from world import EPOCH, SERVICES, environment, release, rollout

from tarsrelease.gates.stats.power import detection, fewest_bad, time_to
from tarsrelease.gates.stats.sequential_test import log_evidence_above, proof_needs
from tarsrelease.gates.study.stage_lengths import not_planned, plan_stages, rates
from tarsrelease.model.checks import DriftCheck
from tarsrelease.model.errors import UsageError
from tarsrelease.model.measurement import Sample, Series
from tarsrelease.model.outcome import Status, Verdict
from tarsrelease.steps.canary_plan import plan_canary

ALPHA = 1.6e-4


@pytest.mark.parametrize("limit", [0.001, 0.005, 0.02])
@pytest.mark.parametrize("total", [50, 3_000, 200_000])
def test_the_boundary_is_the_first_proof(limit: float, total: int) -> None:
    bad = fewest_bad(total, limit, ALPHA)
    assert log_evidence_above(bad, total, limit) >= proof_needs(ALPHA)
    assert log_evidence_above(bad - 1, total, limit) < proof_needs(ALPHA)


def test_too_few_requests_prove_nothing() -> None:
    assert fewest_bad(0, 0.01, ALPHA) == inf
    assert fewest_bad(2, 0.5, ALPHA) == inf
    assert detection(0, 1.0, 0.01, ALPHA, seconds=600, interval=5) == ((600, 0.0),)


@pytest.mark.parametrize(
    ("rate", "share", "limit"),
    [(5.0, 0.02, 0.01), (50.0, 0.01, 0.005), (1.0, 0.06, 0.015), (3.0, 1.0, 0.02)],
)
def test_the_chance_is_that_of_simulated_canaries(rate: float, share: float, limit: float) -> None:
    """4 000 Poisson canaries, totals at their means; the interval is four standard errors."""
    curve = detection(rate, share, limit, ALPHA, seconds=600, interval=30)
    random = np.random.default_rng(7)
    bad = random.poisson(rate * 30 * share, (4000, 20)).cumsum(axis=1)
    bounds = np.array([fewest_bad(rate * 30 * look, limit, ALPHA) for look in range(1, 21)])
    proven = (bad >= bounds).cumsum(axis=1) > 0
    for look in (0, 4, 9, 19):
        chance = curve[look][1]
        seen = float(proven[:, look].mean())
        assert abs(seen - chance) < 4 * max(chance * (1 - chance) / 4000, 1e-6) ** 0.5 + 1e-3
    assert all(later[1] >= earlier[1] for earlier, later in pairwise(curve))


def test_a_doubling_at_half_a_percent_is_found_within_a_stage() -> None:
    """The case that the docs promise: 10 % of 500 requests a second, ten minutes."""
    curve = detection(50, 0.01, 0.005, ALPHA, seconds=600, interval=5)
    assert curve[-1][1] >= 0.95
    assert (time_to(curve, 0.5) or inf) < (time_to(curve, 0.95) or inf) <= 600


def test_rates_are_of_blocks_as_long_as_the_stage() -> None:
    slots = [(0.0, 60.0)] * 50 + [(0.0, 600.0)] * 50
    assert rates(slots, 60.0, 600.0) == (pytest.approx(5.5), pytest.approx(1.0))
    assert rates([], 60.0, 600.0) == (0.0, 0.0)


def recorded(rate: float, bad: float = 0.0, minutes: int = 120) -> dict:
    slots = [(60 * rate * bad, 60 * rate)] * minutes
    return {(sli, name): slots for sli in ("errors", "fast") for name in SERVICES}


def test_a_stage_decides_when_its_requests_come_in_time() -> None:
    """1.5 % needs 199 requests at 95 %: at 1 % of 20 a second that takes 995 s of 1 200."""
    found = plan_stages(rollout(weights=(1, 100)), recorded(20), slot=60, scrape_interval=5)
    first = next(each for each in found if each.check == "canary.error_rate")
    assert (first.stage, first.needed) == ("canary-1", 199)
    assert first.seconds == pytest.approx(995)
    assert all(each.decides for each in found)
    assert len(found) == 2 * 2 * len(SERVICES)
    slower = plan_stages(rollout(weights=(1, 100)), recorded(16), slot=60, scrape_interval=5)
    assert [e.decides for e in slower if e.check == "canary.error_rate"] == [False] * 3 + [True] * 3


def test_a_stable_that_breaks_the_limit_itself_is_said() -> None:
    found = plan_stages(rollout(), recorded(100, bad=0.016), slot=60, scrape_interval=5)
    broken = {each.check for each in found if not each.decides}
    assert broken == {"canary.error_rate"}
    assert all("stable itself" in (each.trouble or "") for each in found if not each.decides)


def test_a_drift_is_planned_from_its_distance_and_what_stands_beside() -> None:
    """Within 5 % of a good share of 99 %: 59 requests, of stable's 5 % of the traffic, too."""
    staged = {"kind": "drift_from_staging", "id": "canary.staged", "sli": "errors", "within": "5%"}
    plan = rollout([staged], weights=(95, 100))
    beside = DriftCheck(kind="drift", id="canary.drift", sli="errors", within=0.05)
    first = plan.stages[0].model_copy(update={"checks": (*plan.stages[0].checks, beside)})
    plan = plan.model_copy(update={"stages": (first, plan.stages[1])})
    rows = plan_stages(plan, recorded(1, bad=0.01), slot=60, scrape_interval=5)
    found = {(each.stage, each.check): each for each in rows}
    assert {each.needed for each in rows} == {59}
    assert [each.limit for each in rows] == [pytest.approx(0.01 + 0.05 * 0.99)] * len(rows)
    assert found["canary-95", "canary.drift"].seconds == pytest.approx(59 / 0.05)
    assert found["canary-95", "canary.staged"].seconds == pytest.approx(59 / 0.95)
    assert found["canary-100", "canary.staged"].seconds == pytest.approx(59)
    assert not_planned(plan) == ()


class Past:
    """A day of counters that rise evenly, one pod a service; `down` leaves a service out."""

    def __init__(self, rate: float, down: str = "") -> None:
        self.rate = rate
        self.down = down
        self.asked: list[tuple[float, float]] = []

    def server_time(self) -> float:
        return EPOCH

    def recorded(
        self, selectors: list[str], start: float, end: float, step: float
    ) -> list[list[Series]]:
        self.asked.append((start, end))
        return self._answers(selectors, start, end, step)

    def between(self, selectors: list[str], start: float, end: float) -> list[list[Series]]:
        return self._answers(selectors, start, end, 5.0)

    def _answers(
        self, selectors: list[str], start: float, end: float, step: float
    ) -> list[list[Series]]:
        assert (end - start) / step < 11_000
        moments = np.arange(start, end + 1e-6, step)

        def series(selector: str) -> list[Series]:
            status, share = ("500", 0.0) if "5.." in selector else ("200", 1.0)
            own = {"deployment": "stable", "version": "1.0.0", "status": status}
            return [
                Series(
                    {"service": name, "pod": name, **own},
                    tuple(
                        Sample(float(t), share * round(self.rate * (t - EPOCH + 1e6)))
                        for t in moments
                    ),
                )
                for name in SERVICES
                if name != self.down
            ]

        return [series(selector) for selector in selectors]


def play(past: Past) -> object:
    ours = assignment(release(rollout(weights=(1, 100))), environment("5s"))
    return plan_canary(ours, past, 86400.0)


def test_the_plan_reads_a_day_in_pieces_and_finds_its_rate() -> None:
    past = Past(20.0)
    outcome = play(past)
    assert outcome.verdict is Verdict.PROCEED
    assert len(past.asked) > 3
    assert past.asked[0][0] == pytest.approx(EPOCH - 86400, abs=120)
    assert past.asked[-1][1] == pytest.approx(EPOCH, abs=120)
    rows = {
        row[0]: row
        for row in outcome.details.model_dump(mode="json")["table"]["rows"]
        if row[2] == "canary.error_rate"
    }
    assert float(rows["canary-1"][5]) == pytest.approx(0.2, rel=0.01)
    assert float(rows["canary-100"][5]) == pytest.approx(20, rel=0.01)


def test_the_answer_is_no_where_a_stage_cannot_decide() -> None:
    outcome = play(Past(5.0))
    assert outcome.verdict is Verdict.NO_GO
    assert outcome.exit_code == 1
    assert "canary-1 cannot decide" in outcome.summary
    outcome = play(Past(100.0, down=SERVICES[1]))
    failed = {check.service for check in outcome.checks if check.status is Status.FAIL}
    assert failed == {SERVICES[1]}
    assert outcome.verdict is Verdict.NO_GO


def test_nothing_recorded_is_no_plan() -> None:
    class Nothing(Past):
        def recorded(self, selectors: list[str], *_: float) -> list[list[Series]]:
            return [[] for _ in selectors]

    with pytest.raises(UsageError, match="no series of stable"):
        play(Nothing(1.0))
