"""Samples from pods' pages, over HTTP, with the client that talks to API servers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration

from tarsrelease.adapters.kubernetes.client import KubernetesApi
from tarsrelease.adapters.podmetrics import source
from tarsrelease.adapters.podmetrics.source import PodMetrics
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import ForbiddenError, UnreachableError, UsageError
from tarsrelease.model.metrics_server import PodMetricsEndpoints
from tarsrelease.model.outcome import Status
from tarsrelease.model.rollout import Rollout
from tarsrelease.operations.selectors_checked import check_selectors

REQUESTS = 'http_requests_total{namespace="$namespace",deployment=~"canary|stable"}'.replace(
    "$namespace", "prod"
)
FORBIDDEN = {
    "kind": "Status",
    "message": 'pods "shop-1" is forbidden: User "x" cannot get resource "pods/proxy" in API group '
    '"" in the namespace "prod"',
}


@dataclass
class ApiServer:
    """The two things that an API server is asked for, and how long a pod takes to answer."""

    pods: dict[str, str] = field(default_factory=dict)
    pages: dict[str, bytes] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)
    allowed: bool = True
    annotations: dict[str, str] = field(default_factory=lambda: {"prometheus.io/port": "9898"})
    asked: list[str] = field(default_factory=list)

    def listed(self) -> dict[str, Any]:
        """The pods as the API lists them."""
        items = [
            {
                "metadata": {
                    "name": name,
                    "labels": {"pod-template-hash": "6bb5f4"},
                    "annotations": self.annotations,
                    "ownerReferences": [{"kind": "ReplicaSet", "name": f"{owner}-6bb5f4"}],
                },
                "spec": {"containers": [{"name": "c", "image": "i"}]},
                "status": {"phase": "Running", "podIP": "10.1.0.2"},
            }
            for name, owner in self.pods.items()
        ]
        return {"items": items}

    def answer(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        self.asked.append(path)
        if path == "/api/v1/namespaces/prod/pods":
            return 200, json.dumps(self.listed()).encode()
        if not self.allowed:
            return 403, json.dumps(FORBIDDEN).encode()
        name = path.split("/")[6].partition(":")[0]
        time.sleep(self.slow.get(name, 0.0))
        if name not in self.pages:
            return 503, b'{"kind":"Status","message":"error trying to reach service"}'
        return 200, self.pages[name]


@pytest.fixture
def server() -> Iterator[tuple[ApiServer, KubernetesApi]]:
    """It listens on loopback, and the client of the product is connected to it."""
    state = ApiServer(pods={"shop-1": "shop", "shop-canary-1": "shop-canary", "db-1": "db"})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = state.answer(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=http.serve_forever, daemon=True).start()
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{http.server_port}"
    yield state, KubernetesApi(ApiClient(configuration), "prod")
    http.shutdown()


def metrics(api: KubernetesApi, rollout: Rollout) -> PodMetrics:
    return PodMetrics(api, rollout)


@pytest.fixture
def rollout() -> Rollout:
    """One service, `shop`."""
    side = {"deployment": "shop", "service": "shop"}
    return Rollout.model_validate(
        {
            "schema": "tarsrelease/rollout/v1",
            "application": "shop",
            "version": "1.0.1",
            "chart": "shop-1.0.1.tgz",
            "canary_values": "v.yaml",
            "services": [
                {
                    "name": "shop",
                    "port": 80,
                    "stable": side,
                    "canary": {"deployment": "shop-canary", "service": "shop-canary"},
                    "route": "shop",
                    "hosts": ["web"],
                    "paths": ["/"],
                    "smoke": [{"path": "/"}],
                }
            ],
            "slis": {"errors": {"kind": "proportion", "of": "hits{}", "bad": 'hits{a="b"}'}},
            "stages": [
                {
                    "weight": 100,
                    "duration": "1m",
                    "checks": [{"kind": "ready", "id": "canary.ready"}],
                }
            ],
        }
    )


def page(requests: int) -> bytes:
    noise = b"".join(b'go_gc_duration_seconds{quantile="%d"} 1\n' % n for n in range(2000))
    return noise + b'http_requests_total{status="200"} %d\n' % requests


def test_series_have_the_pods_name_and_the_time_of_the_reading(
    server: tuple[ApiServer, KubernetesApi], rollout: Rollout
) -> None:
    state, api = server
    state.pages = {"shop-1": page(5), "shop-canary-1": page(7), "db-1": page(9)}
    before = time.time()
    [found] = metrics(api, rollout).series([REQUESTS], 60)
    by_pod = {each.labels["pod"]: each for each in found}
    assert set(by_pod) == {"shop-1", "shop-canary-1"}
    [sample] = by_pod["shop-canary-1"].samples
    assert sample.value == 7
    assert before <= sample.time <= time.time()
    assert by_pod["shop-1"].labels == {
        "__name__": "http_requests_total",
        "status": "200",
        "namespace": "prod",
        "pod": "shop-1",
        "instance": "10.1.0.2:9898",
    }
    assert "/api/v1/namespaces/prod/pods/shop-1:9898/proxy/metrics" in state.asked


def test_a_service_may_have_a_port_of_its_own(
    server: tuple[ApiServer, KubernetesApi], rollout: Rollout
) -> None:
    state, api = server
    state.pages = {"shop-1": page(5), "shop-canary-1": page(7), "api-1": page(9)}
    state.pods |= {"api-1": "api"}
    [shop] = rollout.services
    side = shop.stable.model_copy(update={"deployment": "api"})
    other = shop.model_copy(update={"name": "api", "stable": side, "canary": side})
    both = rollout.model_copy(update={"services": (shop, other)})
    pages = PodMetricsEndpoints.model_validate({"services": {"api": {"port": 81, "path": "/m"}}})
    [found] = PodMetrics(api, both, pages).series([REQUESTS], 60)
    assert {each.labels["instance"].partition(":")[2] for each in found} == {"9898", "81"}
    assert "/api/v1/namespaces/prod/pods/api-1:81/proxy/m" in state.asked
    assert "/api/v1/namespaces/prod/pods/shop-1:9898/proxy/metrics" in state.asked


def test_pages_are_read_once_a_second_at_most(
    server: tuple[ApiServer, KubernetesApi], rollout: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, api = server
    state.pages = {"shop-1": page(5), "shop-canary-1": page(7)}
    pods = metrics(api, rollout)
    pods.series([REQUESTS], 60)
    asked = len(state.asked)
    pods.series([REQUESTS], 60)
    assert len(state.asked) == asked
    monkeypatch.setattr(source, "SHORTEST", 0.0)
    state.pages["shop-1"] = page(6)
    [found] = pods.series([REQUESTS], 60)
    assert [s.value for each in found if each.labels["pod"] == "shop-1" for s in each.samples] == [
        5,
        6,
    ]


def test_without_the_right_the_message_names_it(
    server: tuple[ApiServer, KubernetesApi], rollout: Rollout
) -> None:
    state, api = server
    state.allowed = False
    with pytest.raises(ForbiddenError, match="get pods/proxy in prod"):
        metrics(api, rollout).series([REQUESTS], 60)


def test_one_pod_that_does_not_answer_does_not_hide_the_others(
    server: tuple[ApiServer, KubernetesApi], rollout: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, api = server
    monkeypatch.setattr(source, "DEADLINE", 0.5)
    state.pages = {"shop-1": page(5), "shop-canary-1": page(7)}
    state.slow = {"shop-1": 5.0}
    began = time.monotonic()
    found, up = metrics(api, rollout).series([REQUESTS, 'up{namespace="prod"}'], 60)
    assert time.monotonic() - began < 2.5
    assert [each.labels["pod"] for each in found] == ["shop-canary-1"]
    assert {each.labels["pod"]: each.samples[-1].value for each in up} == {
        "shop-1": 0,
        "shop-canary-1": 1,
    }


def test_no_answer_at_all_is_no_measurement(
    server: tuple[ApiServer, KubernetesApi], rollout: Rollout
) -> None:
    _, api = server
    with pytest.raises(UnreachableError, match="none of 2 pods answers"):
        metrics(api, rollout).series([REQUESTS], 60)


def test_a_page_that_is_too_long_is_not_read(
    server: tuple[ApiServer, KubernetesApi], rollout: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, api = server
    monkeypatch.setattr(source, "MOST_BYTES", 1000)
    state.pages = {"shop-1": page(5), "shop-canary-1": page(7)}
    with pytest.raises(UnreachableError, match="more than 0 MiB"):
        metrics(api, rollout).series([REQUESTS], 60)


def test_of_many_pods_a_sample_is_read_and_said(
    server: tuple[ApiServer, KubernetesApi], rollout: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, api = server
    monkeypatch.setattr(source, "MOST_PODS", 3)
    state.pods = {f"shop-{n}": "shop" for n in range(9)} | {"shop-canary-1": "shop-canary"}
    state.pages = dict.fromkeys(state.pods, page(5))
    pods = metrics(api, rollout)
    [found] = pods.series([REQUESTS], 60)
    assert len(found) == 4
    assert not pods.complete


def test_pods_that_do_not_say_where_their_metrics_are(
    server: tuple[ApiServer, KubernetesApi], rollout: Rollout
) -> None:
    state, api = server
    state.annotations = {}
    with pytest.raises(UsageError, match="no port for metrics at shop"):
        metrics(api, rollout).series([REQUESTS], 60)


@pytest.mark.parametrize(
    ("good", "status", "said"),
    [
        ('http_requests_total{status="200"}', Status.PASS, "no label (path, route, user_agent)"),
        ('http_requests_total{code="200"}', Status.FAIL, "on stable has the label code"),
        ('http_requests_bucket{le="0.3"}', Status.FAIL, "on stable has the bound le=0.3"),
        ("", Status.SKIPPED, "stable has no series yet of http_requests_total"),
    ],
)
def test_selectors_are_checked_on_what_the_pages_say_now(
    server: tuple[ApiServer, KubernetesApi],
    rollout: Rollout,
    good: str,
    status: Status,
    said: str,
) -> None:
    state, api = server
    pod = "shop-7d9fcb5bf4-abcde"
    state.pods = {pod: "shop"}
    buckets = b'http_requests_bucket{status="200",le="0.25"} 4\n'
    state.pages = {pod: (page(5) + buckets) if good else b""}
    environment = Environment.model_validate(
        {
            "schema": "tarsrelease/environment/v1",
            "name": "production",
            "kubernetes": {"namespace": "prod"},
            "gateway": {
                "name": "g",
                "namespace": "g",
                "address": "http://127.0.0.1:1",
                "hostnames": {"web": "shop.example"},
            },
            "metrics": "pods",
        }
    )
    asked = good or 'http_requests_total{status="200"}'
    sli = {"kind": "proportion", "of": "http_requests_total{}", "good": asked}
    rule = {"kind": "proportion", "id": "canary.errors", "sli": "errors", "below": "1%"}
    plan = rollout.model_dump(mode="json", by_alias=True, exclude_defaults=True) | {
        "schema": "tarsrelease/rollout/v1",
        "slis": {"errors": sli},
        "stages": [{"weight": 100, "duration": "1m", "checks": [rule]}],
    }
    plan = Rollout.model_validate(plan)
    [found] = check_selectors(plan, environment, metrics(api, plan), "preflight.selectors")
    assert found.status is status
    assert said in (found.reason or "")
