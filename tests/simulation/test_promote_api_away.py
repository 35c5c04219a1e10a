"""An API server that restarts during a promotion, and pods whose missing image is back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from day_world import DayWorkloads, DayWorld, SimulatedCharts
from world import NEW, OLD, Unattended, World, context, release, rollout

from tarsrelease.model.cluster import Revision
from tarsrelease.model.errors import LostError, UnreachableError
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import ExitCode
from tarsrelease.operations.scaling import complete_stable


class Restarting(SimulatedCharts):
    """Helm fails as it does against an API server that restarts: so often when stable changes."""

    def __init__(self, world: World, times: float) -> None:
        super().__init__(world)
        self.times = times

    def upgrade(
        self,
        release: str,
        chart: str,
        values: Sequence[Mapping[str, Any]],
        *,
        values_from: str | None,
        deadline: float,
        wait: bool = True,
    ) -> None:
        if release == "tars" and self.times > 0:
            self.times -= 1
            raise LostError(
                doing="installing tars",
                found="failed to download openapi: connection refused",
                expected="an API server that answers",
                next_step="try again",
            )
        super().upgrade(
            release, chart, values, values_from=values_from, deadline=deadline, wait=wait
        )


def test_a_promotion_goes_on_when_the_api_server_is_back() -> None:
    day = DayWorld(plan=rollout(weights=(100,), duration="30s"))
    day.charts = Restarting(day.world, times=3)
    assert day.play(Unattended()).exit_code is ExitCode.DONE
    assert day.serving() == {(Track.STABLE, NEW)}
    assert any("trying again" in line for line in day.world.said)


def test_a_promotion_gives_up_after_its_limit_and_the_canary_serves() -> None:
    day = DayWorld(plan=rollout(weights=(100,), duration="30s"))
    day.charts = Restarting(day.world, times=float("inf"))
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.STOPPED
    assert outcome.error is not None
    assert "failed to download openapi" in outcome.error.found


def test_a_release_that_stops_before_its_promotion_leaves_no_traffic_on_the_canary() -> None:
    day = DayWorld(plan=rollout(weights=(100,), duration="30s"))

    class Away(SimulatedCharts):
        """The history of stable cannot be read once the last stage has proceeded."""

        def history(self, release: str) -> list[Revision]:
            if any(e.action == "gate" and e.facts.verdict for e in day.world.journal):
                raise UnreachableError(
                    doing="reading", found="refused", expected="an answer", next_step="wait"
                )
            return super().history(release)

    day.charts = Away(day.world)
    assert day.play(Unattended()).exit_code is ExitCode.STOPPED
    assert day.weights == {0}


def stuck(minutes: float = 2.0) -> World:
    """Stable's pods have lacked their image for so long."""
    world = World().populate(minutes=minutes)
    for pod in world.running(Track.STABLE):
        pod.waiting = "ImagePullBackOff"
    return world


def completed(world: World) -> str | None:
    return complete_stable(
        context(world, release(), workloads=DayWorkloads(world)),
        None,
        version=OLD,
        deadline=120.0,
        each_tick=lambda: None,
    )


def test_the_status_from_before_the_image_was_back_is_waited_out() -> None:
    world = stuck()

    def back() -> None:
        for pod in world.running(Track.STABLE):
            pod.waiting = None

    world.at(60.0, back)
    assert completed(world) is None


@pytest.mark.parametrize("minutes", [2.0, 0.1])
def test_a_failure_after_the_wait_began_ends_it_soon(minutes: float) -> None:
    world = stuck(minutes)

    def fail_again() -> None:
        for pod in world.running(Track.STABLE):
            pod.restarts += 1

    world.at(10.0, fail_again)
    began = world.now
    assert "ImagePullBackOff" in (completed(world) or "")
    assert world.now - began < 40.0
