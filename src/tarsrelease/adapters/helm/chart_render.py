"""Render a chart's archive with Helm, without a cluster."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tarsrelease.adapters.child_environment import minimal
from tarsrelease.adapters.helm.process import find_helm
from tarsrelease.adapters.helm.releases import Helm
from tarsrelease.model.errors import ReleaseError, UsageError

Render = Callable[[str, bytes, Sequence[Mapping[str, Any]]], Sequence[Mapping[str, Any]] | str]


def renderer(namespace: str = "default") -> Render | None:
    """A function that renders a chart for `namespace`; None if Helm is not installed."""
    try:
        find_helm()
    except UsageError:
        return None

    def render(
        release: str, archive: bytes, layers: Sequence[Mapping[str, Any]]
    ) -> Sequence[Mapping[str, Any]] | str:
        # Render the verified bytes, not the file, which may have changed since.
        folder = Path(tempfile.mkdtemp(prefix="tarsrelease-chart-"))
        try:
            chart = folder / "packed.tgz"
            chart.write_bytes(archive)
            return Helm(None, namespace, minimal()).render(
                release, str(chart), layers, values_from=None
            )
        except ReleaseError as problem:
            return problem.detail.found.replace(str(folder), "…")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return render
