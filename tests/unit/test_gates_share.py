"""Traffic shares, budgets, selectors and the times of looks."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsrelease.gates import evaluation_times
from tarsrelease.gates.checks.traffic_share import Shares, bounds, shares, traffic_share
from tarsrelease.gates.measure import counting
from tarsrelease.gates.measure.attribution import owners
from tarsrelease.gates.measure.selectors import alternation, render
from tarsrelease.gates.stats.alpha_budget import alpha_per_check
from tarsrelease.model.measurement import Sample, Series, Unmeasured
from tarsrelease.model.outcome import Check, Status
from tarsrelease.model.rollout import MetricLabels, Rollout


def rollout() -> Rollout:
    requests = 'http_requests_total{namespace="$namespace",service=~"$service"}'
    check = {"kind": "proportion", "id": "canary.error_rate", "sli": "e", "below": "1%"}
    return Rollout.model_validate(
        {
            "schema": "tarsrelease/rollout/v1",
            "application": "shop",
            "version": "2.0.0",
            "chart": "shop.tgz",
            "canary_values": "values.yaml",
            "services": [
                {
                    "name": name,
                    "port": 80,
                    "stable": {"deployment": name, "service": name},
                    "canary": {"deployment": f"c-{name}", "service": f"c-{name}"},
                    "route": name,
                    "hosts": ["web"],
                    "paths": ["/"],
                    "smoke": [{"path": "/"}],
                }
                for name in ("cart", "search")
            ],
            "workers": [{"name": "mailer", "stable": "mailer", "canary": "c-mailer"}],
            "slis": {"e": {"kind": "proportion", "of": requests, "bad": requests}},
            "stages": [
                {"weight": weight, "duration": "1m", "checks": [check]} for weight in (10, 100)
            ],
        }
    )


def judge(weight: int, canary: float, total: float, seconds: float = 60.0) -> Check:
    seen = Shares(canary, total, seconds)
    return traffic_share("cart", weight, seen, scrape_interval=5.0, source="")


@pytest.mark.parametrize(
    ("weight", "canary", "total", "status"),
    [
        (10, 100, 1000, Status.PASS),
        (10, 0, 20, Status.PASS),
        (10, 0, 1000, Status.ERROR),
        (10, 500, 1000, Status.ERROR),
        (1, 12, 1000, Status.PASS),
        (1, 100, 1000, Status.ERROR),
        (50, 470, 1000, Status.PASS),
        (50, 1000, 1000, Status.ERROR),
        (100, 1000, 1000, Status.PASS),
        (100, 995, 1000, Status.PASS),
        (100, 900, 1000, Status.ERROR),
        (0, 0, 1000, Status.PASS),
        (0, 100, 1000, Status.ERROR),
        (10, 0, 0, Status.SKIPPED),
    ],
)
def test_the_share_agrees_with_the_weight_or_cannot_be_trusted(
    weight: int, canary: float, total: float, status: Status
) -> None:
    assert judge(weight, canary, total).status is status


def test_an_early_share_is_not_judged_and_an_unmeasured_one_is_an_error() -> None:
    assert judge(10, 0, 1000, seconds=9).status is Status.PASS
    away = traffic_share("cart", 10, Unmeasured("away"), scrape_interval=5.0, source="")
    assert away.status is Status.ERROR


@given(st.integers(0, 100), st.integers(0, 100_000), st.integers(1, 100_000))
def test_the_share_check_never_fails_or_extends(weight: int, canary: int, more: int) -> None:
    status = judge(weight, canary, canary + more).status
    assert status in {Status.PASS, Status.ERROR, Status.SKIPPED}


@given(st.integers(0, 100))
def test_the_bounds_hold_the_weight_and_mirror_each_other(weight: int) -> None:
    low, high = bounds(weight)
    assert 0 <= low <= weight / 100 <= high <= 1
    mirrored = bounds(100 - weight)
    assert (low, high) == pytest.approx((1 - mirrored[1], 1 - mirrored[0]))


def test_shares_take_each_pods_rate_over_its_own_time() -> None:
    """Stable was scraped up to 4 s later at the start and earlier at the end."""
    owner_of = owners(MetricLabels(), {})

    def line(pod: str, track: str, *samples: tuple[float, float]) -> Series:
        labels = {"service": "cart", "deployment": track, "pod": pod}
        return Series(labels, tuple(Sample(*sample) for sample in samples))

    counter = counting.fold(
        counting.start(100.0, 0.0),
        [
            line("c", "canary", (96, 0), (111, 150)),
            line("s", "stable", (100, 1000), (110, 1900)),
        ],
        owner_of,
    )
    seen = shares(counter, "cart", 5.0)
    assert seen.canary / seen.total == pytest.approx(0.1)
    assert seen.total == 1050
    assert seen.seconds == 11


def test_a_gateway_that_follows_late_is_trusted_once_it_follows() -> None:
    """For 10 s stable still serves everything; then the canary does."""
    owner_of = owners(MetricLabels(), {})
    times = range(0, 101, 5)
    canary = tuple(Sample(t, 100.0 * max(0, t - 10)) for t in times)
    stable = tuple(Sample(t, 100.0 * min(10, t)) for t in times)

    def judged(until: int) -> Status:
        counter = counting.start(0.0, 0.0)
        for end in range(5, until + 1, 5):  # as a stage does: a look at each scrape
            found = [
                Series(
                    {"service": "cart", "deployment": track, "pod": track},
                    tuple(sample for sample in samples if end - 15 <= sample.time <= end),
                )
                for track, samples in (("canary", canary), ("stable", stable))
            ]
            counter = counting.fold(counter, found, owner_of, keep=counting.recent(5.0))
        return traffic_share(
            "cart", 100, shares(counter, "cart", 5.0), scrape_interval=5.0, source=""
        ).status

    assert judged(30) is Status.ERROR
    assert judged(75) is Status.PASS


def test_a_pod_that_went_counts_over_all_the_time() -> None:
    """Its successor and itself together serve what one pod serves."""
    owner_of = owners(MetricLabels(), {})
    found = [
        ("old", "canary", ((100.0, 0.0), (150.0, 500.0))),
        ("new", "canary", ((155.0, 50.0), (200.0, 500.0))),
        ("s", "stable", ((100.0, 0.0), (200.0, 9000.0))),
    ]
    counter = counting.fold(
        counting.start(100.0, 0.0),
        [
            Series(
                {"service": "cart", "deployment": track, "pod": pod},
                tuple(Sample(*sample) for sample in samples),
            )
            for pod, track, samples in found
        ],
        owner_of,
    )
    seen = shares(counter, "cart", 5.0)
    assert seen.canary / seen.total == pytest.approx(0.1, rel=0.01)
    assert shares(counter, "search", 5.0).total == 0


def test_the_budget_is_divided_over_stages_services_and_checks() -> None:
    plan = rollout()
    stages = len(plan.stages) + len(plan.promotion.weights)
    assert alpha_per_check(plan) == pytest.approx(0.01 / (stages * 2 * 1))


def test_selectors_ask_for_all_services_and_versions_at_once() -> None:
    template = 'x{namespace="$namespace",service=~"$service",t=~"$track",v=~"$version"}'
    filled = render(template, rollout(), "prod", ["2.0.0", "1.9.3"], 60)
    assert filled == (
        'x{namespace="prod",service=~"cart|mailer|search",t=~"canary|stable",'
        r'v=~"1\\.9\\.3|2\\.0\\.0"}'
    )
    assert render('x{v=~"$version"}', rollout(), "prod", ["2.0.0", ""], 60) == 'x{v=~".*"}'
    assert render('x{a="$window"}', rollout(), "prod", ["2.0.0"], 90) == 'x{a="90s"}'


@given(st.lists(st.text(st.characters(codec="ascii", categories=["L", "N", "P"])), max_size=4))
def test_an_alternation_matches_its_names(names: list[str]) -> None:
    pattern = alternation(names).replace("\\\\", "\\")
    assert all(re.fullmatch(pattern, name) for name in names)


@given(
    st.lists(st.floats(900, 1010), max_size=5),
    st.sampled_from([1.0, 5.0, 15.0, 60.0]),
)
def test_looks_are_neither_too_often_nor_too_rare(newest: list[float], interval: float) -> None:
    wait = evaluation_times.due(newest, interval, 1000.0) - 1000.0
    assert evaluation_times.shortest(interval) - 1e-9 <= wait
    assert wait <= max(2 * evaluation_times.shortest(interval), interval / 10) + 1e-9


def test_a_look_comes_just_after_the_next_scrape() -> None:
    assert evaluation_times.due([995.3], 5.0, 1000.0) == pytest.approx(1000.4)


def test_an_overdue_scrape_is_asked_for_again_soon() -> None:
    assert evaluation_times.due([994.8], 5.0, 1000.0) == pytest.approx(1000.25)
