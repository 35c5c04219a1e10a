"""`measure load` on loopback: what the users see is what the server counted, and k6's summary."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

from contexts import assignment
from world import environment, release

from tarsrelease.adapters.clock import SystemClock
from tarsrelease.adapters.http.gateway import GatewayWeb
from tarsrelease.adapters.load import K6, OwnGenerator
from tarsrelease.model.errors import UnreachableError
from tarsrelease.model.load import LoadPlan, LoadTarget
from tarsrelease.model.outcome import Status, Verdict
from tarsrelease.model.step_details import LoadDetails
from tarsrelease.steps.measure_load import measure_load

CANARY = {"x-canary": "always"}
PLAN = LoadPlan(20, 2.0, 0.05, (LoadTarget("a.example", "/good"), LoadTarget("b.example", "/bad")))


class Gateway(ThreadingHTTPServer):
    """Counts what it answers: 503 to /bad, 200 to everything else."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Gateway

    def do_GET(self) -> None:
        header = self.headers
        self.server.seen.append((header["Host"], self.path, header.get("x-canary", "")))
        self.send_response(503 if self.path == "/bad" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_the_report_is_what_the_server_counted(gateway: Gateway) -> None:
    found = OwnGenerator(lambda: GatewayWeb(gateway.url, 30.0), CANARY).run(PLAN)
    seen = gateway.seen
    assert (found.tool, found.users, found.requests) == ("tarsrelease", 20, len(seen))
    assert found.failed == sum(path == "/bad" for _, path, _ in seen)
    assert set(seen) == {("a.example", "/good", "always"), ("b.example", "/bad", "always")}
    assert found.requests >= 2
    assert found.latency_p95_ms is not None


def test_a_gateway_that_is_away_fails_every_request() -> None:
    plan = PLAN._replace(users=2, seconds=0.3)
    found = OwnGenerator(lambda: GatewayWeb("http://127.0.0.1:1"), {}).run(plan)
    assert 0 < found.requests == found.failed


def test_errors_beyond_the_target_are_a_no(gateway: Gateway) -> None:
    place = environment("5s")
    ours = assignment(release(), place, SystemClock())
    generator = OwnGenerator(lambda: GatewayWeb(gateway.url, 30.0), {})
    good = measure_load(ours, generator, 5, 1.0, 0.05)
    statuses = {check.id: check.status for check in good.checks}
    assert statuses["load.error_rate"] is Status.PASS, good.checks
    asked = {request.path for service in ours.rollout.services for request in service.smoke}
    assert {path for _, path, _ in gateway.seen} <= asked
    away = OwnGenerator(lambda: GatewayWeb("http://127.0.0.1:1"), {})
    bad = measure_load(ours, away, 2, 0.3, 0.05)
    assert bad.verdict is Verdict.NO_GO
    details = LoadDetails.of(bad.details)
    assert details is not None
    assert details.load.failed == details.load.requests


SUMMARY = {
    "metrics": {
        "http_reqs": {"count": 400, "rate": 40.0},
        "http_req_failed": {"value": 0.01, "passes": 4, "fails": 396},
        "http_req_duration": {"avg": 12.0, "med": 10.0, "max": 99.0, "p(90)": 30.0, "p(95)": 42.5},
    }
}


def k6(folder: Path, text: str) -> str:
    """A program that keeps its arguments and script, as k6 is started."""
    program = folder / "k6"
    program.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, shutil, sys\n"
        "arguments = sys.argv[1:]\n"
        f"folder = pathlib.Path({str(folder)!r})\n"
        "(folder / 'arguments').write_text(' '.join(arguments))\n"
        "shutil.copy(arguments[-1], folder / 'script.js')\n"
        "out = arguments[arguments.index('--summary-export') + 1]\n"
        f"pathlib.Path(out).write_text({text!r})\n"
    )
    os.chmod(program, 0o755)  # noqa: PTH101
    return str(program)


def test_k6_gets_the_plan_and_its_summary_is_read(tmp_path: Path) -> None:
    program = k6(tmp_path, json.dumps(SUMMARY))
    found = K6(program, "http://gateway", CANARY).run(PLAN)
    assert (found.tool, found.requests, found.failed) == ("k6", 400, 4)
    assert found.latency_p95_ms == 42.5
    assert (tmp_path / "arguments").read_text().startswith("run --quiet --vus 20 --duration 2s ")
    script = (tmp_path / "script.js").read_text()
    plan = json.loads(script.partition("const plan = ")[2].partition(";\n")[0])
    assert plan["targets"][1] == {
        "url": "http://gateway/bad",
        "headers": {"x-canary": "always", "Host": "b.example"},
    }


def test_k6_itself_runs_the_script_and_counts_what_the_server_counted(gateway: Gateway) -> None:
    program = shutil.which("k6")
    if program is None:
        pytest.skip("k6 is not installed")
    found = K6(program, gateway.url, CANARY).run(PLAN)
    seen = gateway.seen
    assert found.requests == len(seen) > 20
    assert found.failed == sum(path == "/bad" for _, path, _ in seen)
    assert set(seen) == {("a.example", "/good", "always"), ("b.example", "/bad", "always")}
    assert found.latency_p95_ms is not None
    assert found.latency_p95_ms > 0


def test_a_k6_without_a_summary_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="no summary"):
        K6(k6(tmp_path, "no JSON"), "http://gateway", {}).run(PLAN)
