"""Replicas for a share of the traffic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsrelease.rollout.capacity import replicas_for


@pytest.mark.parametrize(
    ("weight", "stable", "expected"),
    [(0, 10, 1), (1, 2, 1), (10, 10, 1), (11, 10, 2), (50, 3, 2), (100, 3, 3), (100, 0, 1)],
)
def test_known_answers(weight: int, stable: int, expected: int) -> None:
    assert replicas_for(weight, stable) == expected


@given(st.integers(0, 100), st.integers(0, 1000))
def test_the_share_is_carried_without_a_replica_too_many(weight: int, stable: int) -> None:
    replicas = replicas_for(weight, stable)
    assert replicas * 100 >= weight * stable
    assert replicas == 1 or (replicas - 1) * 100 < weight * stable


@pytest.mark.parametrize("weight", [-1, 101])
def test_no_such_weight(weight: int) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        replicas_for(weight, 1)
