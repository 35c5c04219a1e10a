"""Where production_validation_suite.py sends its requests: the options, and the side under test.

It needs pytest, httpx and PyYAML, and nothing of tarsrelease, so that it also runs by hand:

    pytest release/v1_0_1/production_validation_suite.py -p no:cacheprovider \\
        --environment=production --deployment=canary --ga_mode -v -m canary

`tarsrelease validate` runs it from a copy, so that nothing is left in the bundle; by hand, set
PYTHONDONTWRITEBYTECODE=1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

CHART_UNIT_MB = 32
TIMEOUT = 10.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--environment", default="production", help="a name in ./environments/, or a file"
    )
    parser.addoption("--deployment", choices=("canary", "stable"), default="stable")
    parser.addoption("--ga_mode", action="store_true", help="what cannot be tested fails")


def pytest_configure(config: pytest.Config) -> None:
    for mark in (
        "canary: can be asked of a canary by header",
        "health: is it up",
        "endpoint: does each address answer as it should",
        "hotfix: is the defect gone",
    ):
        config.addinivalue_line("markers", mark)


@dataclass(frozen=True)
class Target:
    """The side under test: how to reach it, and what it measures."""

    web: httpx.Client
    metrics: httpx.Client
    deployment: str
    namespace: str
    hosts: dict[str, str]
    headers: dict[str, str]
    ga_mode: bool
    ppo_unit: float
    """Bytes of one unit of the PPO agent's memory, 1 GB at full size (the chart's values)."""

    def get(self, path: str, host: str = "api", **headers: str) -> httpx.Response:
        """A GET through the gateway that only this side answers."""
        return self.web.get(path, headers={**self.headers, "host": self.hosts[host], **headers})

    def query(self, promql: str) -> list[dict[str, Any]]:
        """An instant query's vector."""
        answer = self.metrics.get("/api/v1/query", params={"query": promql})
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def cannot(self, why: str) -> None:
        """What cannot be tested here is skipped, and on the day itself a failure."""
        (pytest.fail if self.ga_mode else pytest.skip)(why)


def ppo_unit(place: dict[str, Any]) -> float:
    """As this environment's values have it, else as the chart has it."""
    values = place.get("helm", {}).get("values", {})
    return float(values.get("ppoAgent", {}).get("memoryUnitMb", CHART_UNIT_MB)) * 2**20


@pytest.fixture(scope="session")
def place(pytestconfig: pytest.Config) -> dict[str, Any]:
    """The environment file."""
    name = pytestconfig.getoption("--environment")
    path = Path(name) if name.endswith((".yaml", ".yml")) else Path("environments", f"{name}.yaml")
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="session")
def target(pytestconfig: pytest.Config, place: dict[str, Any]) -> Iterator[Target]:
    """The side that --deployment names. Stable is what users reach, without any header."""
    gateway, prometheus = place["gateway"], place["prometheus"]
    deployment = pytestconfig.getoption("--deployment")
    variable = prometheus.get("token_env")
    token = {"Authorization": f"Bearer {os.environ[variable]}"} if variable else {}
    header = gateway.get("canary_header", "x-tars-canary")
    with (
        httpx.Client(base_url=gateway["address"], timeout=TIMEOUT, trust_env=False) as web,
        httpx.Client(base_url=prometheus["url"], timeout=TIMEOUT, headers=token) as metrics,
    ):
        yield Target(
            web=web,
            metrics=metrics,
            deployment=deployment,
            namespace=place["kubernetes"]["namespace"],
            hosts=gateway["hostnames"],
            headers={header: "always"} if deployment == "canary" else {},
            ga_mode=pytestconfig.getoption("--ga_mode"),
            ppo_unit=ppo_unit(place),
        )


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Say what was seen, for reports: `measured(0.04, "seconds", "< 0.05 s", "dashboard-api")`."""

    def say(value: object, unit: str, expected: str, service: str) -> None:
        for name, said in (
            ("observed", value),
            ("unit", unit),
            ("expected", expected),
            ("service", service),
        ):
            record_property(name, said)

    return say
