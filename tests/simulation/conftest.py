"""Options, if tests/simulation is named on the command line."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--releases",
        type=int,
        default=None,
        help="how many random releases tests/simulation plays (2 000; with --full 20 000)",
    )
    parser.addoption("--seed", type=int, default=0, help="the seed of the first random release")
