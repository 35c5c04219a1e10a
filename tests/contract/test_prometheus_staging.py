"""Staging's requests are read from a real Prometheus: the release's own, since the shift."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_rig import Server, Target, scrapes, wait_for

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

from world import NEW, OLD, SERVICES, environment, release

from tarsrelease.adapters.background import Background
from tarsrelease.adapters.clock import SystemClock
from tarsrelease.adapters.prometheus.samples import PrometheusMetrics
from tarsrelease.model.checks import StagingDriftCheck
from tarsrelease.model.environment import Environment, Kubernetes
from tarsrelease.model.measurement import Counts, ExternalAnswer, Requests, Track, Unmeasured
from tarsrelease.model.metrics_server import Prometheus
from tarsrelease.operations.staging_requests import requests_in_staging
from tarsrelease.wiring.context import ask_staging

ROOT = Path(__file__).parents[2]
RULE = StagingDriftCheck(
    kind="drift_from_staging", id="canary.staged", sli="errors", within=0.05, every=0.2
)


@pytest.fixture(autouse=True)
def fresh(target: Target) -> Iterator[None]:
    target.lines = {}
    target.up = True
    yield
    target.up = True


@pytest.fixture
def staging(server: Server) -> Environment:
    return environment("500ms").model_copy(
        update={
            "kubernetes": Kubernetes(namespace="tars-staging"),
            "prometheus": Prometheus(url=server.settings.url, scrape_interval=0.5, timeout=1.0),
        }
    )


def count(target: Target, namespace: str, version: str, good: int, bad: int) -> None:
    for service in SERVICES:
        own = {"namespace": namespace, "service": service, "deployment": "stable"}
        own |= {"version": version, "pod": f"{namespace}-{service}-{version}"}
        said = ",".join(f'{name}="{text}"' for name, text in own.items())
        target.lines[f'http_requests_total{{{said},status="200"}}'] = good
        target.lines[f'http_requests_total{{{said},status="500"}}'] = bad


def ask(staging: Environment, since: datetime) -> Requests:
    with closing(PrometheusMetrics(staging.prometheus)) as metrics:
        return requests_in_staging(
            release(), staging, RULE, since, metrics=metrics, clock=SystemClock()
        )


def counted(found: Requests) -> dict[str, tuple[float, float] | str]:
    assert found.by_service is not None
    return {
        name: (each.bad, each.total) if isinstance(each, Counts) else each.reason
        for name, each in found.by_service.items()
    }


def test_the_releases_requests_since_the_shift(
    server: Server, target: Target, staging: Environment
) -> None:
    count(target, "tars-staging", NEW, 5000, 100)
    count(target, "tars-staging", OLD, 5000, 100)
    count(target, "tars", NEW, 5000, 100)
    scrapes(target, 3)
    since = datetime.now(UTC)
    count(target, "tars-staging", NEW, 5090, 110)
    count(target, "tars-staging", OLD, 9000, 4000)
    count(target, "tars", NEW, 9000, 4000)
    wanted = dict.fromkeys(SERVICES, (10.0, 100.0))
    wait_for(lambda: counted(ask(staging, since)) == wanted)


def test_where_the_release_does_not_run_it_has_no_requests(
    server: Server, target: Target, staging: Environment
) -> None:
    """Which decides nothing: see what becomes of no requests in the checks' own tests."""
    count(target, "tars-staging", OLD, 5000, 100)
    scrapes(target, 3)
    found = counted(ask(staging, datetime.now(UTC)))
    assert found == dict.fromkeys(SERVICES, (0.0, 0.0))


def test_it_is_asked_in_the_background_and_an_outage_is_no_answer(
    server: Server, target: Target, staging: Environment
) -> None:
    count(target, "tars-staging", NEW, 5000, 100)
    scrapes(target, 3)
    since = datetime.now(UTC)
    background = Background(lambda _: 0.0, ask_staging=lambda _rule, then: ask(staging, then))

    def answer() -> ExternalAnswer | None:
        return background.answer(RULE, Track.CANARY, since)

    assert answer() is None
    wait_for(lambda: isinstance(answer(), Requests))
    server.stop()
    try:
        wait_for(lambda: isinstance(answer(), Unmeasured))
    finally:
        server.start()
    wait_for(lambda: isinstance(answer(), Requests))


def test_staging_is_the_environment_that_the_environments_file_names(
    server: Server, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own namespace and server are asked; without a name there is nobody to ask."""
    count(target, "tars-staging", NEW, 5000, 100)
    scrapes(target, 3)
    since = datetime.now(UTC)
    count(target, "tars-staging", NEW, 5090, 110)
    text = (ROOT / "environments" / "rehearsal.yaml").read_text().partition("\noverrides:")[0]
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "staging.yaml").write_text(
        text.replace("name: rehearsal", "name: staging", 1)
        .replace("namespace: tars-production", "namespace: tars-staging")
        .replace("http://127.0.0.1:9090", server.settings.url)
        .replace("scrape_interval: 5s", "scrape_interval: 500ms")
        + "\n"
    )
    monkeypatch.chdir(tmp_path)
    production = environment("500ms")
    ask_named = ask_staging(release(), production.model_copy(update={"staging": "staging"}))
    wanted = dict.fromkeys(SERVICES, (10.0, 100.0))
    wait_for(lambda: counted(ask_named(RULE, since)) == wanted)
    assert ask_staging(release(), production)(RULE, since) == Requests(None)
