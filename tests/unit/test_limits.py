"""Limits as people write them: exact percentages, units of readings, and whom a check judges."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from gates_samples import INPUTS, NAME, by_law
from gates_samples import readings as every_five_seconds
from hypothesis import given
from hypothesis import strategies as st
from test_gates_attribution import rollout

from tarsrelease.model.checks import GaugeCheck, ProportionCheck, ReconnectsCheck
from tarsrelease.model.measurement import Counts, Gauges, Track
from tarsrelease.model.outcome import Check, Status
from tarsrelease.model.overrides import Overrides, describe_overrides
from tarsrelease.model.quantities import complement, parse_amount, parse_share

PERCENTAGES = st.decimals("50", "99.70", places=2)  # of 10 000 requests, at least 30 are bad


def judged(rule: ProportionCheck | ReconnectsCheck, bad: float, total: float) -> Check:
    counts = {rule.sli: {("api", Track.CANARY): Counts(bad, total, 10_000.0)}}
    return by_law(rule, replace(INPUTS, counts=counts))


@given(PERCENTAGES, st.integers(1, 100))
def test_at_least_accepts_exactly_its_percentage(percentage: Decimal, times: int) -> None:
    total = 10_000 * times
    bad = int(total * (100 - percentage) / 100)
    written = f"{percentage}%"
    asked: dict[str, Any] = {"id": "a.b", "sli": "e", "at_least": written}
    rules = (
        ProportionCheck.model_validate({"kind": "proportion", **asked}),
        ReconnectsCheck.model_validate({"kind": "reconnects", **asked}),
    )
    for rule in rules:
        assert judged(rule, bad, total).status is Status.PASS
        assert judged(rule, bad + 1, total).status is not Status.PASS


def test_90_percent_of_100_requests_is_at_least_90_percent() -> None:
    rule = ProportionCheck.model_validate(
        {"kind": "proportion", "id": "a.b", "sli": "e", "at_least": "90%"}
    )
    assert judged(rule, 10, 100).status is Status.PASS


@given(st.decimals("0", "100", places=3))
def test_a_percentage_is_the_nearest_number(percentage: Decimal) -> None:
    assert parse_share(f"{percentage}%") == float(percentage / 100)
    assert complement(parse_share(f"{percentage}%")) == float((100 - percentage) / 100)


def with_gauge(limit: object, unit: str) -> GaugeCheck:
    check = {"kind": "gauge", "id": "canary.reading", "sli": "reading", "below": limit}
    found = rollout(
        slis={"reading": {"kind": "gauge", "value": "reading{}", "unit": unit}},
        checks=[check],
        stages=[{"weight": 100, "duration": "1m"}],
    )
    [rule] = found.stages[0].checks
    assert isinstance(rule, GaugeCheck)
    return rule


@pytest.mark.parametrize(
    ("limit", "unit", "value", "shown"),
    [
        ("2.5GB", "bytes", 2.5e9, "< 2.5 GB in every pod"),
        ("1m30s", "seconds", 90.0, "< 1m30s in every pod"),
        ("250ms", "seconds", 0.25, "< 0.25s in every pod"),
        ("80%", "share", 0.8, "< 80 % in every pod"),
        ("150%", "share", 1.5, "< 150 % in every pod"),
        (200, "count", 200.0, "< 200 in every pod"),
        ("0.5", "count", 0.5, "< 0.5 in every pod"),
    ],
)
def test_a_limit_of_readings_has_the_unit_of_the_sli(
    limit: object, unit: str, value: float, shown: str
) -> None:
    rule = with_gauge(limit, unit)
    assert (rule.below.value, rule.below.unit) == (value, unit)
    for reading, status in ((value * 0.9, Status.PASS), (value * 1.1, Status.FAIL)):
        seen = Gauges({"p1": every_five_seconds(*[reading] * 12)})
        result = by_law(rule, replace(INPUTS, gauges={"reading": {NAME: seen}}))
        assert (result.status, result.expected) == (status, shown)
        assert result.observed is not None
        assert result.observed.unit == unit


@pytest.mark.parametrize(
    ("limit", "unit", "expected"),
    [
        (
            "2.5GB",
            "seconds",
            "a number with one of the units d, h, m, s and ms, such as 30s",
        ),
        (80, "share", "below needs a percentage, such as 80%, as sli 'reading' is in share"),
        ("5 apples", "count", "needs a number, alone or with a unit"),
        ("", "count", "needs a number, alone or with a unit"),
        (True, "count", "needs a number, alone or with a unit"),
    ],
)
def test_a_limit_in_another_unit_is_refused(limit: object, unit: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        with_gauge(limit, unit)


@given(st.decimals("0", "1000", places=3), st.sampled_from(["", "%", "s", "ms", "GB", "KiB", "h"]))
def test_every_amount_with_a_unit_is_read(number: Decimal, unit: str) -> None:
    value, kind = parse_amount(f"{number}{unit}")
    assert value >= 0
    assert kind == {"": "count", "%": "share", "GB": "bytes", "KiB": "bytes"}.get(unit, "seconds")


def test_an_override_of_a_limit_has_a_unit_too() -> None:
    overrides = Overrides.model_validate({"gauge_limits": {"a.b": "80%", "a.c": "2GB"}})
    assert describe_overrides(overrides) == ("limit of a.b: 80 %", "limit of a.c: 2 GB")


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (
            {"kind": "proportion", "id": "a.b", "sli": "e", "below": "1%", "services": ["queue"]},
            "check a.b: kind proportion counts requests, and worker queue gets none",
        ),
        (
            {"kind": "reconnects", "id": "a.b", "sli": "e", "services": ["shop", "queue"]},
            "check a.b: kind reconnects counts requests, and worker queue gets none",
        ),
        (
            {"kind": "manual", "id": "a.b", "question": "ok?", "services": ["shop"]},
            "check a.b: kind manual judges the release as a whole; leave services out",
        ),
    ],
)
def test_a_check_that_would_judge_nobody_is_refused(check: object, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        rollout(
            workers=[{"name": "queue", "stable": "queue", "canary": "canary-queue"}],
            slis={"e": {"kind": "proportion", "of": "x{}", "bad": "y{}"}},
            checks=[check],
            stages=[{"weight": 100, "duration": "1m"}],
        )
