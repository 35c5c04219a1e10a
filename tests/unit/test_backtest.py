"""Replays: the sampler's law, what a regression does, and what stable itself does not."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

from contexts import assignment
from world import EPOCH, SERVICES, environment, release, rollout

from tarsrelease.gates.study import slower_canary
from tarsrelease.gates.study.replay import binomial, interval, thinned
from tarsrelease.model.checks import DriftCheck
from tarsrelease.model.errors import UsageError
from tarsrelease.model.measurement import Sample, Series
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.model.rollout import Rollout
from tarsrelease.steps.canary_backtest import ITSELF, backtest

CHECKS = [{"kind": "proportion", "id": "canary.errors", "sli": "errors", "below": "1%"}]


@pytest.mark.parametrize(("number", "chance"), [(30, 0.3), (500, 0.01), (2000, 0.4), (90, 0.97)])
def test_the_sampler_is_binomial(number: int, chance: float) -> None:
    """Chi-square against scipy's chances, in cells of at least 20 expected."""
    random = Random(11)
    drawn = np.array([binomial(random, number, chance) for _ in range(3000)])
    law = stats.binom(number, chance)
    edges = np.unique(law.ppf(np.linspace(0.05, 0.95, 19)))
    cells = np.concatenate([[-1], edges, [number]])
    expected = np.diff(law.cdf(cells)) * len(drawn)
    seen = np.histogram(drawn, np.concatenate([[-0.5], edges + 0.5, [number + 0.5]]))[0]
    keep = expected > 5
    square = ((seen - expected)[keep] ** 2 / expected[keep]).sum()
    assert stats.chi2(keep.sum() - 1).sf(square) > 1e-3
    assert binomial(random, number, 0.0) == 0
    assert binomial(random, number, 1.0) == number


def test_a_part_never_has_more_than_the_whole() -> None:
    random = Random(5)
    for share in (0.01, 0.5, 1.0):
        bad, good = thinned(7, 300, share, random)
        assert 0 <= bad <= 7
        assert 0 <= good <= 293
    assert thinned(7, 300, 1.0, random) == (7, 293)


@pytest.mark.parametrize(("found", "among"), [(0, 20), (3, 20), (20, 20), (50, 400)])
def test_the_interval_is_wilsons(found: int, among: int) -> None:
    known = stats.binomtest(found, among).proportion_ci(method="wilson")
    assert interval(found, among) == pytest.approx((known.low, known.high), abs=1e-4)
    assert interval(0, 0) == (0.0, 1.0)


class Past:
    """Counters that rise by Poisson numbers; `share` of the requests is bad."""

    def __init__(self, rate: float, share: float) -> None:
        self.random = np.random.default_rng(2)
        self.rate, self.share = rate, share
        self.lines: dict[tuple[str, bool], list[tuple[float, float]]] = {}

    def server_time(self) -> float:
        return EPOCH

    def recorded(
        self, selectors: list[str], start: float, end: float, step: float
    ) -> list[list[Series]]:
        moments = np.arange(start, end + 1e-6, step)
        return [
            [self.series(name, "5.." in selector, moments, step) for name in SERVICES]
            for selector in selectors
        ]

    def series(self, name: str, bad: bool, moments: np.ndarray, step: float) -> Series:
        mean = self.rate * step * (self.share if bad else 1.0)
        seed = [SERVICES.index(name), int(bad), int(moments[0])]
        base = 1e7 if bad else 1e9
        rise = np.random.default_rng(seed).poisson(mean, len(moments)).cumsum()
        # A counter that goes on: what came before is about its mean.
        values = base + mean * (moments[0] - EPOCH + 86400) / step + rise
        return Series(
            {"service": name, "deployment": "stable", "version": "1.0.0", "pod": name},
            tuple(Sample(float(t), float(round(v))) for t, v in zip(moments, values, strict=True)),
        )


def played_on(rate: float, share: float, hours: float = 2.0) -> Outcome:
    plan = rollout(CHECKS, weights=(10, 100), duration="5m", max_extension="5m")
    ours = assignment(release(plan), environment("15s"))
    return backtest(ours, Past(rate, share), EPOCH - hours * 3600, EPOCH, windows=6)


def test_stable_passes_and_regressions_beyond_the_limit_are_found() -> None:
    """0.5 % of errors, a limit of 1 %: fourfold is 2 %, twice the limit."""
    outcome = played_on(200.0, 0.005)
    assert outcome.verdict is Verdict.PROCEED
    played = {
        (each["stage"], each["canary"]): each
        for each in outcome.details.model_dump(mode="json")["played"]
    }
    for stage in ("canary-10", "canary-100"):
        assert played[stage, ITSELF]["rolled_back"] == 0
        assert played[stage, ITSELF]["proceeded"] == 6
        assert played[stage, "errors x 4"]["rolled_back"] >= 5
    quick, slow = (
        played[stage, "errors x 4"]["median_seconds"] for stage in ("canary-100", "canary-10")
    )
    assert quick <= slow
    assert len(outcome.details.model_dump(mode="json")["power"]["canary-10"]) > 10
    assert outcome.details.model_dump(mode="json")["not_replayed"] == [
        "slower canaries, as no SLI is a bucket of a histogram"
    ]


# Slower canaries

BOUNDS = ("0.05", "0.09", "0.1", "0.12", "0.25", "+Inf")


class Timed(Past):
    """Requests that take 40 to 130 ms, evenly spread, in buckets."""

    def recorded(
        self, selectors: list[str], start: float, end: float, step: float
    ) -> list[list[Series]]:
        moments = np.arange(start, end + 1e-6, step)
        found: list[list[Series]] = []
        for selector in selectors:
            if "_bucket" not in selector:
                found.append([self.until(name, "+Inf", moments, step) for name in SERVICES])
                continue
            asked = selector.partition("le=")[2].strip('~"}')
            wanted = [le for le in BOUNDS if re.fullmatch(asked, le)]
            found.append(
                [self.until(name, le, moments, step) for name in SERVICES for le in wanted]
            )
        return found

    def until(self, name: str, le: str, moments: np.ndarray, step: float) -> Series:
        within = min(1.0, max(0.0, (float(le) - 0.04) / 0.09))
        values = self.rate * within * (moments - EPOCH + 86400)
        return Series(
            {"service": name, "deployment": "stable", "version": "1", "pod": name, "le": le},
            tuple(Sample(float(t), float(round(v))) for t, v in zip(moments, values, strict=True)),
        )


def timed(plan: Rollout) -> Outcome:
    ours = assignment(release(plan), environment("15s"))
    return backtest(ours, Timed(50.0, 0.0), EPOCH - 7200, EPOCH, windows=4)


def test_a_drift_from_stable_is_replayed() -> None:
    """89 % of stable's requests are fast; 67 % of a canary's that is 20 ms slower."""
    drift = DriftCheck(kind="drift", id="canary.drift", sli="fast", within=0.1)
    plan = rollout(CHECKS, weights=(10, 100), duration="5m", max_extension="5m")
    first = plan.stages[0].model_copy(update={"checks": (drift,)})
    outcome = timed(plan.model_copy(update={"stages": (first, plan.stages[1])}))
    played = {
        (each["stage"], each["canary"]): each
        for each in outcome.details.model_dump(mode="json")["played"]
    }
    assert played["canary-10", ITSELF]["proceeded"] == 4
    assert played["canary-10", "20 ms slower"]["rolled_back"] == 4


def test_a_slower_canary_is_found_on_the_buckets() -> None:
    """Stable is slower than 120 ms in 11 %, +20 ms in 33 %, half as slow again in 56 %."""
    checks: list[dict[str, object]] = [
        {"kind": "proportion", "id": "canary.slow", "sli": "fast", "below": "20%"},
        {"kind": "ready", "id": "canary.ready"},
    ]
    outcome = timed(rollout(checks, weights=(10, 100), duration="5m", max_extension="5m"))
    assert outcome.details.model_dump(mode="json")["not_replayed"] == ["canary.ready"]
    played = {
        (each["stage"], each["canary"]): each
        for each in outcome.details.model_dump(mode="json")["played"]
    }
    assert {canary for _, canary in played} == {ITSELF, "20 ms slower", "half as slow again"}
    for stage in ("canary-10", "canary-100"):
        assert played[stage, ITSELF]["proceeded"] == 4
        assert played[stage, "20 ms slower"]["rolled_back"] == 4
        assert played[stage, "half as slow again"]["rolled_back"] == 4
    slower, slowest = (
        played["canary-10", name]["median_seconds"]
        for name in ("20 ms slower", "half as slow again")
    )
    assert slowest <= slower
    assert outcome.verdict is Verdict.PROCEED


@pytest.mark.parametrize(
    ("at", "names"),
    [
        (0.1, ("0.1",)),
        (0.08, ("0.05", "0.09")),
        (0.03, ("0.05",)),
        (0.0, ()),
        (-0.01, ()),
        (7.0, ("0.25", "+Inf")),
    ],
)
def test_the_bounds_around(at: float, names: tuple[str, ...]) -> None:
    assert slower_canary.around(BOUNDS, at) == names
    assert slower_canary.around((), at) == ()


def test_what_stays_good_is_read_between_the_bounds() -> None:
    """200 requests: 40 within 50 ms, 120 within 90 ms, 180 within 120 ms, each slot."""
    own = [(20.0, 200.0), (0.0, 0.0)]
    at = {"0.05": [(160.0, 200.0), (0.0, 0.0)], "0.09": [(80.0, 200.0), (0.0, 0.0)]}
    assert slower_canary.kept(own, at, 0.08) == pytest.approx([100 / 180, 0.0])
    assert slower_canary.kept(own, {"0.05": at["0.05"]}, 0.025) == pytest.approx([20 / 180, 0.0])
    assert slower_canary.kept(own, {"0.09": at["0.09"]}, 0.09) == pytest.approx([120 / 180, 0.0])
    assert slower_canary.kept(own, {}, -0.01) == [0.0, 0.0]


def test_selectors_of_buckets() -> None:
    good = 'seconds_bucket{job="a",le="0.12"}'
    assert slower_canary.bound_of(good) == 0.12
    assert slower_canary.bound_of('total{role="x",title="0.5"}') is None
    assert slower_canary.bound_of('total{le="$le"}') is None
    assert slower_canary.every_bound(good) == 'seconds_bucket{job="a",le=~".+"}'
    assert slower_canary.at_bound(good, "+Inf") == 'seconds_bucket{job="a",le="+Inf"}'


def test_too_little_traffic_is_a_no() -> None:
    outcome = played_on(0.5, 0.0)
    assert outcome.verdict is Verdict.NO_GO
    assert {check.id for check in outcome.checks} == {"plan.backtest"}


def test_a_recording_shorter_than_a_stage_is_refused() -> None:
    with pytest.raises(UsageError, match="replaying canary-10"):
        played_on(10.0, 0.0, hours=0.1)
