"""What doctor finds outside the cluster: a real PostgreSQL, and GitHub's environments."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_github_people import SRE, StandIn, github, settings

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

from day_world import DayWorkloads, SimulatedCharts
from test_doctor import Served
from test_forms import of, stable_world
from world import context, environment

from tarsrelease.adapters.github.api import GitHubReviews
from tarsrelease.adapters.postgres.throwaway import ThrowawayServer
from tarsrelease.cli.commands.doctor import server_version
from tarsrelease.model.database import Database
from tarsrelease.model.outcome import Outcome, Status
from tarsrelease.steps.doctor import Surroundings, doctor

__all__ = ["github"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThrowawayServer]:
    with ThrowawayServer() as running:
        monkeypatch.setenv("SHOP_DSN", running.dsn())
        yield running


def asked(github: StandIn) -> Outcome:
    """doctor in a world whose database and reviewers are real servers'."""
    world, chosen = stable_world(), settings(github)
    database = Database(dsn_env="SHOP_DSN")
    made = context(
        world,
        place=environment().model_copy(update={"github": chosen, "database": database}),
        charts=SimulatedCharts(world),
        workloads=DayWorkloads(world),
        facts=Served(world),
    )
    around = Surroundings(
        helm=lambda: "Helm v4.2.3", database=lambda: server_version(database), variables={}
    )
    return doctor(made, around, GitHubReviews(chosen))


def test_a_database_and_environments_that_are_well(
    server: ThrowawayServer, github: StandIn
) -> None:
    outcome = asked(github)
    (database,) = of(outcome, "doctor.database")
    assert database.status is Status.PASS
    assert "PostgreSQL 1" in database.reason
    assert {check.service for check in of(outcome, "environments.exists")} >= {SRE}
    people = [check for check in outcome.checks if check.id.startswith("environments.")]
    assert {check.status for check in people} == {Status.PASS}


def test_a_database_that_is_down_and_an_environment_that_is_missing(
    server: ThrowawayServer, github: StandIn
) -> None:
    server.stop()
    del github.places[SRE]
    outcome = asked(github)
    (database,) = of(outcome, "doctor.database")
    assert database.status is Status.ERROR
    failed = [check for check in of(outcome, "environments.exists") if check.status is Status.FAIL]
    assert [check.service for check in failed] == [SRE]
