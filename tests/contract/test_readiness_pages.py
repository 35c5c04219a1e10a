"""Dashboards and alert rules as `check readiness` asks for them: only a real answer counts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tarsrelease.adapters.http.pages import WebPages
from tarsrelease.adapters.prometheus.rules import PrometheusRules
from tarsrelease.model.errors import UnreachableError
from tarsrelease.model.metrics_server import Prometheus


class Answers(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.body: Any = {}
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Answers

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        content = json.dumps(self.server.body).encode()
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", "/login")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def answers() -> Iterator[Answers]:
    with Answers() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_redirect_to_the_login_is_no_dashboard(answers: Answers) -> None:
    assert WebPages().status(f"{answers.url}/d/shop") == 200
    answers.status = 302
    assert WebPages().status(f"{answers.url}/d/shop") == 302
    assert answers.paths == ["/d/shop", "/d/shop"], "the redirect is not followed"
    with pytest.raises(UnreachableError):
        WebPages().status("http://127.0.0.1:1/d/shop")


def rules(server: Answers) -> PrometheusRules:
    return PrometheusRules(Prometheus.model_validate({"url": server.url}))


def rule(name: str, kind: str = "alerting", health: str = "ok", error: str = "") -> dict[str, str]:
    return {"name": name, "type": kind, "health": health, "lastError": error, "query": "up"}


def test_alert_rules_with_their_last_evaluation(answers: Answers) -> None:
    found = [
        rule("HighErrors"),
        rule("requests:rate5m", kind="recording"),
        rule("Slow", health="err", error="no such metric"),
        rule("New", health="unknown"),
    ]
    answers.body = {"status": "success", "data": {"groups": [{"name": "shop", "rules": found}]}}
    said = {each.name: each.problem for each in rules(answers).alert_rules()}
    assert said == {"HighErrors": "", "Slow": "no such metric", "New": ""}
    assert answers.paths == ["/api/v1/rules?type=alert"]


@pytest.mark.parametrize(
    ("status", "body"),
    [(503, {}), (200, {"status": "success", "data": {}}), (200, []), (200, "text")],
)
def test_another_answer_is_no_empty_list_of_rules(answers: Answers, status: int, body: Any) -> None:
    answers.status, answers.body = status, body
    with pytest.raises(UnreachableError):
        rules(answers).alert_rules()
