"""A release as the steps take it, and the run that carries it."""

from __future__ import annotations

from typing import Any

from tarsrelease.model.base import Value
from tarsrelease.model.bundle import Manifest
from tarsrelease.model.rollout import Rollout


class Release(Value):
    """A bundle that was read: `directory` is where it lies, `chart` the path of its archive.

    `rollout` already has the environment's overrides applied.
    """

    directory: str
    chart: str
    manifest: Manifest
    rollout: Rollout
    canary_values: dict[str, Any]

    @property
    def version(self) -> str:
        """The version being released."""
        return self.manifest.version


class Run(Value):
    """Who is doing this: `id` tells one run from another (a CI run's id and attempt, or a
    generated one), `owner` is for people (user@host, or the run's address)."""

    id: str
    owner: str
