"""Latency and errors from native histograms, on a real Prometheus that scrapes them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from native_histograms import Exporter
from prometheus_rig import Server, scraping, wait_for
from test_prometheus_gate import Pods, Silent

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

from world import NEW, SERVICES, World, context, environment, release, rollout

from tarsrelease.adapters.clock import SystemClock
from tarsrelease.adapters.prometheus.samples import PrometheusMetrics
from tarsrelease.model.errors import UnreachableError
from tarsrelease.model.outcome import Status, Verdict
from tarsrelease.model.rollout import PresetSli, Rollout
from tarsrelease.operations.evaluation import StageEvaluation, evaluate_stage
from tarsrelease.operations.observation import Observation

METRIC = "http_server_request_duration_seconds"
CONFIGURATION = """
global: {{scrape_interval: 500ms, scrape_timeout: 400ms, scrape_native_histograms: true}}
scrape_configs:
  - job_name: test
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


@pytest.fixture(scope="module")
def exporter() -> Iterator[Exporter]:
    serving = Exporter(METRIC)
    yield serving
    serving.close()


@pytest.fixture(scope="module")
def server(
    prometheus_binary: str, exporter: Exporter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("prometheus")
    with scraping(prometheus_binary, CONFIGURATION, exporter.port, folder) as running:
        yield running


@pytest.fixture
def metrics(server: Server) -> Iterator[PrometheusMetrics]:
    adapter = PrometheusMetrics(server.settings)
    yield adapter
    adapter.close()


def newest(metrics: PrometheusMetrics, selector: str) -> list[float]:
    return [each.samples[-1].value for each in metrics.series([selector], 60)[0]]


def test_requests_up_to_a_bound_are_counted(exporter: Exporter, metrics: PrometheusMetrics) -> None:
    """Powers of two are bounds of every native histogram."""
    exporter.add(0.1, 90, {"test": "native", "code": "200"})
    exporter.add(0.25, 3, {"test": "native", "code": "200"})
    exporter.add(0.26, 7, {"test": "native", "code": "500"})
    wait_for(lambda: len(newest(metrics, f'{METRIC}{{test="native",le="+Inf"}}')) == 2)
    assert newest(metrics, f'{METRIC}{{test="native",le="+Inf"}}') == [93, 7]
    assert newest(metrics, f'{METRIC}{{test="native",code="200",le="0.25"}}') == [93]
    assert newest(metrics, f'{METRIC}{{le="0.125",code="200"}}') == [90]
    assert newest(metrics, f'{METRIC}{{code="500",le="0.25"}}') == [0]
    # 0.26 is no bound: the bucket that contains it counts whole.
    assert newest(metrics, f'{METRIC}{{code="500",le="0.26"}}') == [7]
    with pytest.raises(UnreachableError, match="histograms"):
        newest(metrics, f'{METRIC}{{test="native"}}')


def test_the_recorded_past_is_counted_in_the_same_way(
    exporter: Exporter, metrics: PrometheusMetrics
) -> None:
    exporter.add(0.1, 5, {"test": "past"})
    selector = f'{METRIC}{{test="past",le="0.25"}}'
    wait_for(lambda: newest(metrics, selector) == [5])
    now = metrics.server_time()
    (series,) = metrics.recorded([selector], now - 2, now + 1, 0.5)[0]
    assert series.samples[-1].value == 5
    assert "le" not in series.labels


def plan(slower_than: float | None) -> Rollout:
    sli = PresetSli(preset="opentelemetry", slower_than=slower_than, buckets="native").expanded()
    check = {"kind": "proportion", "id": "canary.check", "sli": "fast", "below": "5%"}
    made = rollout([check], weights=(100,), duration="1500ms", max_extension="30s")
    return made.model_copy(update={"slis": {**made.slis, "fast": sli}})


def requests(exporter: Exporter, seconds: float, number: int, status: str = "200") -> None:
    for service in SERVICES:
        own = {"namespace": "tars", "service": service, "deployment": "canary", "version": NEW}
        own |= {"pod": f"{service}-1", "http_response_status_code": status}
        exporter.add(seconds, number, own)


def judged(
    exporter: Exporter, server: Server, seconds: float, status: str, slower_than: float | None
) -> Observation:
    """A stage during which every second request takes `seconds` and has this status."""
    requests(exporter, 0.1, 1000)
    first = exporter.served
    wait_for(lambda: exporter.served >= first + 2)
    made, where = plan(slower_than), environment("500ms")
    where = where.model_copy(update={"prometheus": server.settings})
    since = datetime.now(UTC)
    requests(exporter, 0.1, 500)
    requests(exporter, seconds, 500, status)
    adapter = PrometheusMetrics(server.settings)
    try:
        onto = context(
            World(),
            release(made),
            where,
            samples=adapter,
            workloads=Pods(),
            clock=SystemClock(),
            progress=Silent(),
        )
        stage = StageEvaluation(stage=made.stages[0], since=since, weight=100)
        return evaluate_stage(onto, stage)
    finally:
        adapter.close()


@pytest.mark.parametrize(
    ("seconds", "status", "slower_than", "verdict"),
    [
        (0.3, "200", 0.25, Verdict.ROLLBACK),
        (0.2, "200", 0.25, Verdict.PROCEED),
        (0.1, "503", None, Verdict.ROLLBACK),
    ],
)
def test_a_preset_on_a_native_histogram_decides(
    exporter: Exporter,
    server: Server,
    seconds: float,
    status: str,
    slower_than: float | None,
    verdict: Verdict,
) -> None:
    seen = judged(exporter, server, seconds, status, slower_than)
    checks = [check for check in seen.checks if check.id == "canary.check"]
    assert seen.verdict is verdict, checks
    wanted = Status.FAIL if verdict is Verdict.ROLLBACK else Status.PASS
    assert wanted in {check.status for check in checks}


def test_prometheus_has_native_histograms_and_no_buckets(
    exporter: Exporter, server: Server, metrics: PrometheusMetrics
) -> None:
    """What makes the rest of this file mean something."""
    exporter.add(0.1, 1, {"test": "kind"})
    wait_for(lambda: newest(metrics, f'{METRIC}{{test="kind",le="+Inf"}}') == [1])
    names = httpx.get(f"{server.settings.url}/api/v1/label/__name__/values").json()["data"]
    assert METRIC in names
    assert f"{METRIC}_bucket" not in names
