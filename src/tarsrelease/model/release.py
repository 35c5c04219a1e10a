"""A release as the steps take it, and the run that carries it."""

from __future__ import annotations

from typing import Any

from tarsrelease.model.base import Value
from tarsrelease.model.bundle import Manifest
from tarsrelease.model.rollout import Rollout


class DayChoice(Value):
    """What is chosen for one day and wins over rollout.yaml and the environment.

    `stages` are canary weights; None leaves the rollout's. `stage_duration` is in seconds.
    `feature_flags` switches on what rollout.yaml names under that key.
    """

    stages: tuple[int, ...] | None = None
    stage_duration: float | None = None
    feature_flags: bool = False


AS_WRITTEN = DayChoice()
"""Nothing was chosen: the day goes as rollout.yaml and the environment say."""


class Release(Value):
    """A bundle that was read: `directory` is where it lies, `chart` the path of its archive.

    `rollout` already has the environment's overrides applied, and what was chosen for the day.
    `feature_flags` are the Helm values that this day switches on; empty where it does not.
    """

    directory: str
    chart: str
    manifest: Manifest
    rollout: Rollout
    canary_values: dict[str, Any]
    feature_flags: dict[str, Any] = {}

    @property
    def version(self) -> str:
        """The version being released."""
        return self.manifest.version


class Run(Value):
    """Who is doing this: `id` tells one run from another (a CI run's id and attempt, or a
    generated one), `owner` is for people (user@host, or the run's address)."""

    id: str
    owner: str
