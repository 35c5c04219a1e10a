"""doctor on the simulated world: what is missing is named with the command that mends it."""

from __future__ import annotations

from typing import Any

from day_world import DayWorkloads, SimulatedCharts
from test_forms import Carries, of, stable_world
from world import SERVICES, World, context

from tarsrelease.model.errors import UnreachableError
from tarsrelease.model.outcome import Outcome, Status, Verdict
from tarsrelease.steps.doctor import Surroundings, doctor


class Served(Carries):
    """A cluster with the world's clock; `ahead` is how much this machine's is ahead of it."""

    def __init__(self, world: World, ahead: float = 0.0, kinds: tuple[str, ...] = ()) -> None:
        self._world, self._ahead = world, ahead
        self._kinds = kinds or ("Deployment", "HTTPRoute")

    def server_time(self) -> float:
        return self._world.now - self._ahead

    def served(self, group: str, version: str) -> list[str]:
        return list(self._kinds)

    def lacking(self, rights: object) -> list[Any]:
        return []


def asked(world: World, facts: Served | None = None) -> Outcome:
    def away() -> str:
        raise UnreachableError(
            doing="connecting", found="nobody answers", expected="PostgreSQL", next_step="start it"
        )

    made = context(
        world,
        charts=SimulatedCharts(world),
        workloads=DayWorkloads(world),
        facts=facts or Served(world),
    )
    around = Surroundings(helm=lambda: "Helm v4.2.3", database=away, variables={})
    return doctor(made, around, None)


def test_traffic_that_is_enough_and_a_database_that_is_away() -> None:
    outcome = asked(stable_world())
    traffic = of(outcome, "doctor.traffic")
    assert {check.service for check in traffic} == set(SERVICES)
    assert all("requests/s" in check.reason for check in traffic)
    assert of(outcome, "doctor.helm")[0].status is Status.PASS
    assert of(outcome, "doctor.gateway_api")[0].status is Status.PASS
    database = of(outcome, "doctor.database")[0]
    assert (database.status, database.reason) == (Status.ERROR, "nobody answers; start it")
    assert of(outcome, "doctor.environments")[0].status is Status.SKIPPED
    assert of(outcome, "preflight.rights")[0].status is Status.PASS  # preflight's own checks
    assert outcome.verdict is Verdict.NO_GO


def test_a_clock_that_is_wrong_and_an_api_that_is_missing_say_what_mends_them() -> None:
    world = stable_world()
    outcome = asked(world, Served(world, ahead=60.0, kinds=("Deployment",)))
    clock = of(outcome, "doctor.clock")[0]
    assert clock.status is Status.FAIL
    assert "1m ahead of the API server; run `timedatectl set-ntp true`" in clock.reason
    api = of(outcome, "doctor.gateway_api")[0]
    assert api.status is Status.FAIL
    assert "kubectl apply --server-side" in api.reason
