"""Installs a product into a rehearsal cluster, with the adapters of a real release."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tarsrelease.context import Context


def install(
    context: Context,
    *,
    say: Callable[[str], None],
    route: bool = True,
) -> None:
    """Installs the release as the stable side and, with `route`, gives it all traffic.

    Waits until it is ready.
    """
    release, environment, cluster = context.release, context.environment, context.cluster
    rollout = release.rollout
    say(f"installing {rollout.application} {release.version} in {environment.kubernetes.namespace}")
    cluster.charts.upgrade(
        rollout.application,
        release.chart,
        [environment.helm.values, release.manifest.image_values],
        values_from=None,
        deadline=environment.limits.deploy,
    )
    if route:
        cluster.routes.shift(rollout.services, 0, {})


def together(*tasks: Callable[[], None]) -> None:
    """Runs the tasks at once and raises the first problem, after all have ended."""
    with ThreadPoolExecutor(max_workers=len(tasks)) as pool:
        for future in [pool.submit(task) for task in tasks]:
            future.result()
