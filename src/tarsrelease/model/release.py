"""A release as steps use it, and the run that does it."""

from __future__ import annotations

from typing import Any

from tarsrelease.model.base import Value
from tarsrelease.model.bundle import Manifest
from tarsrelease.model.rollout import Rollout


class RunOptions(Value):
    """The options of one run, which override rollout.yaml and the environment.

    `stages` are canary weights; None leaves the rollout's. `stage_duration` is in seconds.
    `feature_flags` switches on what rollout.yaml names under that key.
    """

    stages: tuple[int, ...] | None = None
    stage_duration: float | None = None
    feature_flags: bool = False


AS_WRITTEN = RunOptions()
"""No options: rollout.yaml and the environment apply."""


class Release(Value):
    """A bundle that was read: `directory` is its folder, `chart` the path of its archive.

    `rollout` has the environment's overrides and the run's options applied. `feature_flags` are
    the Helm values that this release switches on; empty if it switches none on. `checked` is the
    folder with the private copy of the bytes that SHA256SUMS lists, and `identity` the SHA-256 of
    that list; both are None for commands that only read.
    """

    directory: str
    chart: str
    manifest: Manifest
    rollout: Rollout
    canary_values: dict[str, Any]
    feature_flags: dict[str, Any] = {}
    checked: str | None = None
    identity: str | None = None

    @property
    def folder(self) -> str:
        """Where its files are read."""
        return self.checked or self.directory

    @property
    def version(self) -> str:
        """The version being released."""
        return self.manifest.version


class Run(Value):
    """The run: `id` is unique (a CI run's id and attempt, or a generated one), `owner` is for
    people (user@host, or the run's URL)."""

    id: str
    owner: str
