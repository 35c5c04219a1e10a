"""Installs T.A.R.S. into a rehearsal cluster, by the adapters that the release itself uses."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tarsrelease.model.environment import Environment
from tarsrelease.model.release import Release
from tarsrelease.ports.cluster import Charts, Routes


def install(
    release: Release,
    environment: Environment,
    *,
    charts: Charts,
    routes: Routes,
    say: Callable[[str], None],
) -> None:
    """Installs the release as the stable side and gives it all traffic. Waits until ready."""
    rollout = release.rollout
    say(f"installing {rollout.application} {release.version} in {environment.kubernetes.namespace}")
    charts.upgrade(
        rollout.application,
        release.chart,
        [environment.helm.values],
        values_from=None,
        deadline=environment.limits.deploy,
    )
    routes.shift(rollout.services, 0, {})


def together(*tasks: Callable[[], None]) -> None:
    """Runs the tasks at once and raises the first problem, after all have ended."""
    with ThreadPoolExecutor(max_workers=len(tasks)) as pool:
        for future in [pool.submit(task) for task in tasks]:
            future.result()
