"""Bugs that the invariants of fleets must find, each put into the real code for a block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from tarsrelease.context import Assignment
from tarsrelease.model.environment import Wave
from tarsrelease.model.outcome import ExitCode, Outcome
from tarsrelease.rollout import fleet
from tarsrelease.steps import run, run_waves
from tarsrelease.steps.run_waves import Targets

Bug = Callable[[], AbstractContextManager[Any]]


def earlier_waves_not_read_again() -> AbstractContextManager[Any]:
    """A wave starts although an earlier one was rolled back meanwhile."""

    def none(_found: Mapping[str, Outcome]) -> dict[str, Outcome]:
        return {}

    return patch.object(run_waves, "overtaken", none)


def rollback_not_noticed() -> AbstractContextManager[Any]:
    """A run starts a target that another one has rolled back since it began."""

    def nothing(*_: Any) -> None: ...

    return patch.object(run, "refuse_ended_since", nothing)


def lost_target_ignored() -> AbstractContextManager[Any]:
    """A run goes on at its other targets after another one took over one of them."""

    def only_rollbacks(_step: str, outcome: Outcome) -> bool:
        return outcome.exit_code is ExitCode.ROLLBACK

    return patch.object(fleet, "stops_others", only_rollbacks)


def no_bake() -> AbstractContextManager[Any]:
    """The bake is evaluated once, at once."""

    def at_once(_assignment: Assignment, targets: Targets, wave: Wave) -> dict[str, Outcome]:
        return targets.watch(wave.targets, 1.0)

    return patch.object(run_waves, "_bake", at_once)


def database_forgotten() -> AbstractContextManager[Any]:
    """A shared database is not migrated before its first wave."""

    def nobody(*_: Any) -> Sequence[str]:
        return []

    return patch.object(run_waves, "first_users", nobody)


BUGS: dict[str, Bug] = {
    each.__name__: each
    for each in (
        earlier_waves_not_read_again,
        rollback_not_noticed,
        lost_target_ignored,
        no_bake,
        database_forgotten,
    )
}

FOUND_BY: dict[str, int] = {
    "earlier_waves_not_read_again": 74,
    "rollback_not_noticed": 19,
    "lost_target_ignored": 10,
    "no_bake": 3,
    "database_forgotten": 43,
}
"""A seed whose release shows the bug."""
