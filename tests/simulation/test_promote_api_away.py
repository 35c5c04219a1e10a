"""An API server that is away during a promotion, and pods whose missing image is back."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from broken_line import Line
from day_world import DayWorkloads, DayWorld, Healthy, SimulatedCharts
from world import (
    NEW,
    OLD,
    SERVICES,
    SimulatedJournal,
    SimulatedRoutes,
    Unattended,
    World,
    context,
    release,
    rollout,
)

from tarsrelease.model.cluster import Revision
from tarsrelease.model.errors import ForbiddenError, LostError, UnreachableError
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import ExitCode, Outcome, Verdict
from tarsrelease.operations.scaling import complete_stable
from tarsrelease.steps.canary_deploy import deploy
from tarsrelease.steps.canary_gate import gate
from tarsrelease.steps.promote import promote


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


@pytest.mark.parametrize("lag", [0.0, 20.0])
def test_traffic_returns_when_the_services_of_stable_lead_to_its_new_pods(lag: float) -> None:
    day = DayWorld(plan=rollout(weights=(100,), duration="30s"))
    day.world.listed_after = lag
    assert day.play(Unattended()).exit_code is ExitCode.DONE
    entered = next(at for at, weight in day.world.writes if weight == 100)
    returned = next(at for at, weight in day.world.writes if at > entered and weight < 100)
    led_to = max(pod.started + pod.ready_after for pod in day.world.running(Track.STABLE)) + lag
    assert led_to <= returned < led_to + 10.0


def test_a_service_that_never_leads_to_the_new_pods_stops_the_promotion() -> None:
    day = DayWorld(plan=rollout(weights=(100,), duration="30s"))

    class Lagging(SimulatedCharts):
        """From the upgrade of stable on, the Services follow nothing."""

        def upgrade(self, release: str, *arguments: Any, **options: Any) -> None:
            if release == "tars":
                day.world.listed_after = 1e6
            super().upgrade(release, *arguments, **options)

    day.charts = Lagging(day.world)
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.STOPPED
    assert outcome.error is not None
    assert "Service tars-dashboard-api does not lead to" in outcome.error.found
    assert day.weights == {100}


def test_without_the_right_to_read_endpoints_nobody_waits_for_the_services() -> None:
    class Limited(DayWorkloads):
        def pods_behind(self) -> dict[str, frozenset[str]]:
            raise ForbiddenError(
                doing="reading endpointslices",
                found="list endpointslices.discovery.k8s.io is forbidden",
                expected="the right",
                next_step="apply rbac/role.yaml",
            )

    world = World().populate()
    assert completed(world, workloads=Limited(world)) is None


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


@pytest.mark.parametrize("stage", ["canary-10", "canary-100"])
def test_a_release_whose_journal_is_deleted_leaves_no_traffic_on_the_canary(stage: str) -> None:
    day = DayWorld(plan=rollout(weights=(10, 100), duration="30s"))
    day.at_stage(stage, day.world.journal.clear)
    outcome = day.play(Unattended())
    assert outcome.exit_code is ExitCode.STOPPED
    assert outcome.error is not None
    assert "configmap/tarsrelease-tars has no deploy" in outcome.error.found
    assert day.weights == {0}


def stuck(minutes: float = 2.0) -> World:
    """Stable's pods have lacked their image for so long."""
    world = World().populate(minutes=minutes)
    for pod in world.running(Track.STABLE):
        pod.waiting = "ImagePullBackOff"
    return world


def completed(world: World, workloads: DayWorkloads | None = None) -> str | None:
    return complete_stable(
        context(world, release(), workloads=workloads or DayWorkloads(world)),
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


# The API server is away for a minute at each call of a promotion


class Rolling(SimulatedCharts):
    """Stable's old pods go when the new ones have been ready for a moment."""

    def _stable_becomes(self, version: str) -> None:
        for pod in list(self.world.running(Track.STABLE)):
            new = self.world.start_pod(pod.service, Track.STABLE, version)
            self.world.at(
                new.ready_after + 2.0, lambda pod=pod: setattr(pod, "gone", self.world.now)
            )  # type: ignore[misc]


WRITES = ("upgrade", "shift", "append", "retire", "uninstall", "annotate")


def ready_to_promote() -> DayWorld:
    """The canary has all traffic, and its last stage has proceeded."""
    day = DayWorld(seed=3, plan=rollout(weights=(100,), duration="30s"))
    day.charts = Rolling(day.world)
    deploy(day.context())
    assert gate(day.context(), 100).verdict is Verdict.PROCEED
    return day


def promoted_over(line: Line, day: DayWorld) -> Outcome:
    world = day.world
    over = context(
        world,
        day.release,
        day.environment,
        charts=line.to(day.charts),
        routes=line.to(SimulatedRoutes(world)),
        workloads=line.to(DayWorkloads(world)),
        journal=line.to(SimulatedJournal(world)),
        gateway=Healthy(),
    )
    return promote(over)


def phases() -> Iterator[Any]:
    """The first reading, and of each kind of write the first always; the others in full runs."""
    day = ready_to_promote()
    line = Line(day.world)
    promoted_over(line, day)
    writes = [number for number, name in enumerate(line.calls) if name in WRITES]
    between = {(a + b) // 2 for a, b in itertools.pairwise(writes)}
    seen: set[str] = set()
    for at in (0, *writes, *sorted(between - set(writes))):
        name = line.calls[at]
        marks = [pytest.mark.full] if name in seen else []
        seen |= {name}
        yield pytest.param(at, id=f"{at}-{name}", marks=marks)


PHASES = list(phases())


@pytest.mark.parametrize("at", PHASES)
def test_a_promotion_survives_an_api_server_that_is_away_in_any_phase(at: int) -> None:
    day = ready_to_promote()
    line = Line(day.world, at)
    outcome = promoted_over(line, day)
    assert line.back_at
    assert outcome.verdict is Verdict.PROCEED, outcome.summary
    assert day.serving() == {(Track.STABLE, NEW)}
    assert day.weights == {0}


@pytest.mark.parametrize("at", PHASES)
def test_a_canary_that_fails_meanwhile_loses_its_traffic_when_the_api_server_is_back(
    at: int,
) -> None:
    day = ready_to_promote()
    world, line = day.world, Line(day.world, at)
    had_traffic: list[bool] = []

    def fails() -> None:
        had_traffic.append(max(world.weights.values()) > 0)
        for pod in world.running(Track.CANARY):
            pod.error_share = 1.0

    line.breaks = fails
    promoted_over(line, day)
    assert day.weights == {0}
    if had_traffic[0]:
        off = [at for at, weight in world.writes if weight == 0 and at >= line.back_at]
        assert off[len(SERVICES) - 1] - line.back_at < 10.0
