"""Where production_validation_suite.py sends its requests: the options, and the side under test.

It needs pytest, httpx and PyYAML, and nothing of tarsrelease, so that it also runs by hand:

    pytest release/v1_0_1/production_validation_suite.py -p no:cacheprovider \\
        --environment=production --deployment=canary --ga_mode -v -m canary

`tarsrelease validate` runs it from a copy, so that nothing is left in the bundle; by hand, set
PYTHONDONTWRITEBYTECODE=1.
"""

from __future__ import annotations

import html
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

pytest.register_assert_rewrite("validation")

Measured = Callable[..., None]
CHART_UNIT_MB = 32
TIMEOUT = 10.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--environment", default="production", help="a name in ./environments/, or a file"
    )
    parser.addoption("--deployment", choices=("canary", "stable"), default="stable")
    parser.addoption("--namespace", help="Kubernetes namespace (default: the environment's)")
    parser.addoption("--ga_mode", action="store_true", help="what cannot be tested fails")
    if not any("--html" in option.names() for option in parser._anonymous.options):
        parser.addoption("--html", metavar="FILE", help="write a report that needs nothing else")
        parser.addoption("--self-contained-html", action="store_true", help="always the case")


def pytest_configure(config: pytest.Config) -> None:
    for mark in (
        "canary: can be asked of a canary by header",
        "health: is it up",
        "pods: is every pod well",
        "endpoint: does each address answer as it should",
        "access: who may do what",
        "paging: can lists be walked through",
        "errors: are wrong requests refused in one way",
        "latency: does each address keep its budget",
        "sockets: do WebSocket sessions work",
        "tracing: do traces continue",
        "metrics: is everything exported",
        "database: is PostgreSQL reached",
        "cache: is Redis reached",
        "dashboards: are the dashboards there",
        "hotfix: is the defect gone",
    ):
        config.addinivalue_line("markers", mark)


@dataclass(frozen=True)
class Sample:
    """One series now."""

    labels: dict[str, str]
    value: float

    @property
    def pod(self) -> str:
        """The pod that exports it."""
        return self.labels.get("pod", self.labels.get("instance", ""))


@dataclass(frozen=True)
class Target:
    """The side under test: how to reach it, and what it measures."""

    web: httpx.Client
    metrics: httpx.Client
    deployment: str
    namespace: str
    hosts: dict[str, str]
    headers: dict[str, str]
    scrape_seconds: float
    ppo_unit: float
    """Bytes of one unit of the PPO agent's memory, 1 GB at full size (the chart's values)."""

    def get(self, path: str, host: str = "api", **headers: str) -> httpx.Response:
        """A GET through the gateway that only this side answers."""
        return self.web.get(path, headers={**self.headers, "host": self.hosts[host], **headers})

    def ask(
        self,
        method: str,
        path: str,
        json: object = None,
        content: bytes | None = None,
        **headers: str,
    ) -> httpx.Response:
        """A request of any method through the gateway that only this side answers."""
        return self.web.request(
            method,
            path,
            json=json,
            content=content,
            headers={**self.headers, "host": self.hosts["api"], **headers},
        )

    def samples(self, metric: str, service: str, **labels: str) -> list[Sample]:
        """The series of a service's pods of this side, with these labels. There is at least one.

        A pod is known by Prometheus's `namespace`, `service` and `deployment` labels.
        """
        wanted = {
            "namespace": self.namespace,
            "service": service,
            "deployment": self.deployment,
            **labels,
        }
        inner = ",".join(f'{name}="{value}"' for name, value in wanted.items())
        answer = self.metrics.get("/api/v1/query", params={"query": f"{metric}{{{inner}}}"})
        answer.raise_for_status()
        found = answer.json()["data"]["result"]
        assert found, f"Prometheus has no {metric}{{{inner}}}"
        return [Sample(each["metric"], float(each["value"][1])) for each in found]

    def wait_for(self, what: str, holds: Callable[[], bool]) -> None:
        """Ask again and again for as long as four scrapes take."""
        deadline = time.monotonic() + 4 * self.scrape_seconds + 2
        while not holds():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            time.sleep(min(1.0, self.scrape_seconds / 4))

    def next_scrape(self) -> None:
        """Wait until what happened before has been scraped."""
        time.sleep(1.5 * self.scrape_seconds)


def ppo_unit(place: dict[str, Any]) -> float:
    """As this environment's values have it, else as the chart has it."""
    values = place.get("helm", {}).get("values", {})
    return float(values.get("ppoAgent", {}).get("memoryUnitMb", CHART_UNIT_MB)) * 2**20


def seconds(text: object) -> float:
    """A duration such as 15s, 1m or 15.0."""
    words = str(text)
    units = {"ms": 0.001, "s": 1.0, "m": 60.0}
    for unit, size in units.items():
        number = words.removesuffix(unit)
        if number != words and number.replace(".", "").isdigit():
            return float(number) * size
    return float(words)


@pytest.fixture(scope="session")
def place(pytestconfig: pytest.Config) -> dict[str, Any]:
    """The environment file."""
    name = pytestconfig.getoption("--environment")
    path = Path(name) if name.endswith((".yaml", ".yml")) else Path("environments", f"{name}.yaml")
    if not path.is_absolute() and not path.exists():
        path = Path(pytestconfig.invocation_params.dir, path)
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
            namespace=pytestconfig.getoption("--namespace") or place["kubernetes"]["namespace"],
            hosts=gateway["hostnames"],
            headers={header: "always"} if deployment == "canary" else {},
            scrape_seconds=seconds(prometheus.get("scrape_interval", 15)),
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


REPORT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Validation</title>
<style>body{{font:15px/1.4 sans-serif;margin:2rem}}td,th{{padding:.2rem .6rem;text-align:left}}
.passed{{color:#176c2c}}.failed,.error{{color:#b3151d}}</style>
<h1>{passed} of {total} tests passed</h1><table><tr><th>result<th>test<th>seconds<th>reason
{rows}</table></html>
"""


def reason(report: pytest.TestReport) -> str:
    """Why a test failed; nothing for one that passed."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message if crash else ""


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Write the report that --html names, where pytest-html is not installed."""
    path = config.getoption("--html", default=None)
    if not path or config.pluginmanager.hasplugin("html"):
        return
    found = [
        (kind, report)
        for kind in ("passed", "failed", "error", "skipped")
        for report in terminalreporter.stats.get(kind, [])
    ]
    rows = "\n".join(
        f'<tr><td class="{kind}">{kind}<td>{html.escape(report.nodeid)}<td>{report.duration:.2f}'
        f"<td>{html.escape(reason(report))}"
        for kind, report in found
    )
    passed = sum(kind == "passed" for kind, _ in found)
    Path(path).write_text(REPORT.format(passed=passed, total=len(found), rows=rows), "utf-8")
