"""Conditions of objects, as the API server writes them."""

from __future__ import annotations

from typing import Any

import pytest

from tarsrelease.rehearsal.kubeapi import condition


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (None, False),
        ({}, False),
        ({"status": None}, False),
        ({"status": {"conditions": None}}, False),
        ({"status": {"conditions": []}}, False),
        ({"status": {"conditions": [{"type": "Established", "status": "False"}]}}, False),
        ({"status": {"conditions": [{"type": "Established", "status": "True"}]}}, True),
        ({"status": {"conditions": [{"type": "NamesAccepted", "status": "True"}]}}, False),
    ],
)
def test_a_condition_is_true_only_if_it_is_written(
    document: dict[str, Any] | None, expected: bool
) -> None:
    assert condition(document, "Established") is expected
