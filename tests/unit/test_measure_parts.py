"""The alert webhook against a real HTTP server, and the plot as a file that browsers read."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.etree import ElementTree as ET

import pytest

from tarsrelease.adapters.channels.alert_webhook import AlertWebhook
from tarsrelease.gates.stats.intervals import difference_of_shares
from tarsrelease.model.kpis import SloAlert
from tarsrelease.report.svg_plot import Panel, svg

ALERT = SloAlert(
    at="2026-11-27T05:00:00.000+00:00",
    check="slo.error_rate",
    state="breach",
    observed="2.5 %",
    expected="< 1 %",
)


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, object]], list[int]]]:
    """Its address, what it received, and the statuses that it answers with."""
    received: list[dict[str, object]] = []
    statuses = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(statuses[-1])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", received, statuses
    server.shutdown()
    server.server_close()


def test_an_alert_is_delivered_as_a_message_and_as_data(
    receiver: tuple[str, list[dict[str, object]], list[int]],
) -> None:
    address, received, statuses = receiver
    webhook = AlertWebhook(address, "production")
    assert webhook.tell(ALERT)
    [body] = received
    assert body["text"] == (
        "BREACH slo.error_rate in production: 2.5 %, expected < 1 % (2026-11-27T05:00:00.000+00:00)"
    )
    assert body["alert"] == json.loads(ALERT.model_dump_json(exclude={"delivered"}))
    statuses.append(404)
    assert not webhook.tell(ALERT)


def test_an_address_that_is_none_stops_no_watch() -> None:
    assert not AlertWebhook("no address", "production").tell(ALERT)


def test_a_plot_is_xml_with_gaps_and_limits() -> None:
    points = [(0.0, 1.0), (60.0, None), (120.0, 2.0), (180.0, 3.0)]
    text = svg("<a> & b", [Panel("p95 < 100", "ms", {"x": points}, limit=2.5), Panel("e", "%", {})])
    root = ET.fromstring(text)
    name = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f".//{name}polyline")) == 2  # before and after the gap
    assert [each.text for each in root.iter(f"{name}text") if "target" in (each.text or "")] == [
        "target 2.5 ms"
    ]
    assert "not measured" in text


def test_labels_of_marks_do_not_cover_each_other_and_the_last_is_shown() -> None:
    lines = {"web": [(float(n), 1.0) for n in range(1000)]}
    marks = [(100.0 * n, f"canary-{n} PROCEED") for n in (1, 4, 5)]
    marks += [(998.0, "promote-50 PROCEED"), (999.0, "promote-0 ROLLBACK")]
    root = ET.fromstring(svg("t", [Panel("a", "%", lines)], marks))
    texts = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]
    shown = [text for text in texts if text.startswith(("canary-", "promote-"))]
    assert shown == ["promote-0 ROLLBACK", "canary-5 PROCEED", "canary-1 PROCEED"]


def test_the_interval_of_a_difference_is_newcombes() -> None:
    """The example of his paper (1998, table II): 56/70 and 48/80."""
    low, high = difference_of_shares((56, 70), (48, 80))
    assert (low, high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))
