"""The bundle's own suite against the real services: 1.0.0 fails by its five defects, 1.0.1 passes.

The gateway is a plain relay that chooses the service by path. What Prometheus would answer is read
from the services' own metrics.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from test_example_services import World, world

from tarsrelease.adapters.files.configuration import load_environment
from tarsrelease.adapters.pytest.suite import PytestSuite
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Status
from tarsrelease.model.suite import SuiteResult

__all__ = ["world"]
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DEFECTS = {
    "test_tars_1001_reconnection_is_enabled",
    "test_tars_1001_a_lost_session_is_taken_up_again",
    "test_tars_1002_dashboard_loads_within_3_s[tars-evaluation]",
    "test_tars_1003_missions_are_found_within_50_ms[active]",
    "test_tars_1003_the_missions_query_uses_its_index",
    "test_tars_1004_recent_traces_have_both_ids",
    "test_tars_1004_all_traces_are_covered",
    "test_tars_1005_ppo_memory",
}
GUARDS = {
    "test_tars_1002_dashboard_loads_within_3_s[tars-agents]",
    "test_tars_1002_dashboard_loads_within_3_s[tars-overview]",
    "test_tars_1004_every_operation_is_covered[agent.act]",
    "test_tars_1004_every_operation_is_covered[evaluation.run]",
    "test_tars_1004_every_operation_is_covered[mission.step]",
}
"""What 1.0.0 does right, and must stay so."""
MUTATIONS = {  # by defect of the services, the marks of the tests that find it
    "health": ("health",),
    "contracts": ("endpoint",),
    "access": ("access",),
    "paging": ("paging",),
    "errors": ("errors",),
    "latency": ("latency",),
    "sockets": ("sockets",),
    "tracing": ("tracing",),
    "metrics": ("metrics", "pods"),
    "database": ("database",),
    "cache": ("cache",),
    "dashboards": ("dashboards",),
}
SURVIVORS = {
    "health": {"test_prometheus_is_healthy"},
    "metrics": {
        f"test_every_pod_runs_the_released_version[{service}]"
        for service in ("orchestration-agent", "insight-engine", "dashboard-api", "ppo-agent")
    },
    "cache": {
        f"test_the_results_of_questions_are_announced[{service}]"
        for service in ("orchestration-agent", "dashboard-api")
    },
}
"""Tests of a group that its mutation leaves green."""
ROUTES = (
    (re.compile(r"/api/v1/(websocket|agents)|/ws"), "orchestration-agent"),
    (re.compile(r"/api/v1/(traces|evaluations)"), "insight-engine"),
    (re.compile(r"/"), "dashboard-api"),
)


def relay(client: socket.socket, world: World, version: str) -> None:
    """One request of one connection, to the service that its path leads to."""
    with client:
        head = b""
        while b"\r\n\r\n" not in head:
            more = client.recv(65536)
            if not more:
                return
            head += more
        line, _, rest = head.partition(b"\r\n")
        path = line.split()[1].decode()
        service = next(name for pattern, name in ROUTES if pattern.match(path))
        if b"upgrade: websocket" not in rest.lower():
            rest = re.sub(rb"(?im)^connection:[^\r]*", b"Connection: close", rest)
        address = urlsplit(world.urls[version, service])
        assert address.hostname
        assert address.port
        with socket.create_connection((address.hostname, address.port)) as server:
            server.sendall(line + b"\r\n" + rest)
            threading.Thread(target=pipe, args=(client, server), daemon=True).start()
            pipe(server, client)


def pipe(one: socket.socket, other: socket.socket) -> None:
    try:
        while more := one.recv(65536):
            other.sendall(more)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        return


@contextmanager
def gateway(world: World, version: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=relay, args=(client, world, version), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


SELECTOR = re.compile(r"(\w+)\{(.*)\}")
LABEL = re.compile(r'(\w+)="([^"]*)"')
LINE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
NAMESPACE = "tars-production"


def scraped(world: World, version: str, query: str) -> list[dict[str, object]]:
    """What an instant query for a selector with `namespace`, `service`, `deployment` gives."""
    selector = SELECTOR.fullmatch(query)
    assert selector
    metric, wanted = selector[1], dict(LABEL.findall(selector[2]))
    service = wanted["service"]
    target = {
        "namespace": NAMESPACE,
        "service": service,
        "deployment": "stable",
        "version": version,
        "pod": f"{service}-0",
    }
    text = world.get(version, service, "/metrics").text
    lines = [(each[1], each[2] or "", each[3]) for each in LINE.finditer(text)]
    lines.append(("up", "", "1" if lines else "0"))
    found = [
        {"metric": {**dict(LABEL.findall(labels)), **target}, "value": [0, value]}
        for name, labels, value in lines
        if name == metric
    ]
    return [each for each in found if all(each["metric"].get(k) == v for k, v in wanted.items())]


@contextmanager
def prometheus(world: World, version: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)["query"][0]
            data = {"result": scraped(world, version, query)}
            body = json.dumps({"status": "success", "data": data}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle's suite as it is in this tree, listed anew."""
    folder = tmp_path_factory.mktemp("bundle")
    source = ROOT / "release" / "v1_0_1"
    names = ["production_validation_suite.py", "conftest.py"]
    names += [f"validation/{path.name}" for path in sorted((source / "validation").glob("*.py"))]
    (folder / "validation").mkdir()
    lines = []
    for name in names:
        content = (source / name).read_bytes()
        (folder / name).write_bytes(content)
        lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


def run(bundle: Path, world: World, version: str, *marks: str) -> SuiteResult:
    place = load_environment(str(ROOT / "environments" / "rehearsal.yaml"))
    with gateway(world, version) as web, prometheus(world, version) as metrics:
        place = place.model_copy(
            update={
                "gateway": place.gateway.model_copy(update={"address": web}),
                "prometheus": place.prometheus.model_copy(
                    update={"url": metrics, "scrape_interval": 1.0}
                ),
            }
        )
        return PytestSuite(bundle, place).run(marks, Track.STABLE)


def failed(result: SuiteResult) -> set[str]:
    return {test.name for test in result.tests if test.status is not Status.PASS}


@contextmanager
def migrated(world: World) -> Iterator[None]:
    """The database with the release's expand migrations."""
    folder = ROOT / "release/v1_0_1/migrations"

    def apply(file: str) -> None:
        lines = (folder / file).read_text().splitlines()
        text = "\n".join(line for line in lines if not line.startswith("--"))
        for statement in filter(str.strip, text.split(";")):
            world.sql(statement)

    apply("v1_0_1_add_indexes.sql")
    apply("v1_0_1_add_trace_columns.sql")
    world.sql("ANALYZE")
    yield
    apply("rollback/v1_0_1_rollback.sql")


@contextmanager
def mutated(world: World, mutation: str) -> Iterator[None]:
    def switch(name: str) -> None:
        for (version, _), url in world.urls.items():
            if version == "1.0.1":
                answer = world.client.post(f"{url}/_faults", json={"mutation": name})
                assert answer.status_code == 200, answer.text

    switch(mutation)
    yield
    switch("")


def test_the_new_version_passes_every_test(bundle: Path, world: World) -> None:
    with migrated(world):
        result = run(bundle, world, "1.0.1")
    assert result.trouble is None
    assert failed(result) == set()
    assert len(result.tests) > 200
    assert result.seconds < 60


def test_the_old_version_fails_each_hotfix_check(bundle: Path, world: World) -> None:
    """Before the migrations. What it fails beyond that is what names its version."""
    result = run(bundle, world, "1.0.0", "hotfix")
    assert result.trouble is None
    assert failed(result) >= DEFECTS
    assert {name[:14] for name in failed(result)} == {f"test_tars_100{n}" for n in range(1, 6)}
    passed = {test.name for test in result.tests} - failed(result)
    assert passed == GUARDS


@pytest.mark.full
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mutation_fails_its_group(bundle: Path, world: World, mutation: str) -> None:
    """Every test of the group but those named is red."""
    with migrated(world), mutated(world, mutation):
        result = run(bundle, world, "1.0.1", *MUTATIONS[mutation])
    assert result.trouble is None
    assert {test.name for test in result.tests} - failed(result) == SURVIVORS.get(mutation, set())
