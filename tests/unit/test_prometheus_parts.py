"""Which selectors need no query of their own, and what they select."""

from __future__ import annotations

import pytest

from tarsrelease.adapters.prometheus.parts import conditions, parts, selected
from tarsrelease.model.measurement import Sample, Series

ALL = 'requests_total{service="shop"}'
BAD = 'requests_total{service="shop",status=~"5.."}'


def series(**labels: str) -> Series:
    return Series({"__name__": "requests_total", **labels}, (Sample(1.0, 1.0),))


def test_the_same_metric_with_one_more_condition_is_not_asked() -> None:
    assert parts((ALL, BAD)) == {BAD: ALL}
    found = [series(status="200"), series(status="500"), series(status="5000")]
    assert selected(found, conditions(BAD, ALL)) == [found[1]]


def test_the_widest_answer_is_taken() -> None:
    narrow = 'requests_total{service="shop",status=~"5..",path!="/up"}'
    assert parts((narrow, BAD, ALL)) == {narrow: ALL, BAD: ALL}


@pytest.mark.parametrize(
    ("condition", "values"),
    [
        ('status!="200"', {"404", "500", "503"}),
        ('status!~"4..|2.."', {"500", "503"}),
        ('status=~"50[03]"', {"500", "503"}),
        ('status=~"(4|5)0[^0]"', {"404", "503"}),
    ],
)
def test_conditions_mean_what_they_mean_to_the_server(condition: str, values: set[str]) -> None:
    found = [series(status=each) for each in ("200", "404", "500", "503")]
    part = f'requests_total{{service="shop",{condition}}}'
    chosen = selected(found, conditions(part, ALL))
    assert chosen is not None
    assert {each.labels["status"] for each in chosen} == values


@pytest.mark.parametrize(
    "part",
    [
        'errors_total{service="shop",status=~"5.."}',
        'requests_total{status=~"5.."}',
        'requests_total{service="cart",status=~"5.."}',
        'requests_total{service="shop",status=~"(?i)err.*"}',
        'requests_total{service="shop",le="0.1"}',
        "rate(requests_total[5m])",
    ],
)
def test_what_the_labels_cannot_tell_is_asked(part: str) -> None:
    assert parts((ALL, part)) == {}


def test_a_label_that_the_server_may_have_removed_is_asked_for() -> None:
    assert selected([series(status="500"), series()], conditions(BAD, ALL)) is None
    assert selected([], conditions(BAD, ALL)) == []
