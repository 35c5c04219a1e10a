"""An exporter with one native histogram, in the protobuf format in which Prometheus asks for it.

The messages are those of io.prometheus.client (prometheus/client_model, metrics.proto).
"""

from __future__ import annotations

import struct
import threading
from bisect import insort
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import ceil, log2

SCHEMA = 3
"""Eight buckets for each power of two."""
FORMAT = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)


class Exporter:
    """Serves one histogram. Requests are added by their labels and duration in seconds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.served = 0
        self._requests: dict[tuple[tuple[str, str], ...], list[float]] = {}
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = exporter.page()
                self.send_response(200)
                self.send_header("Content-Type", FORMAT)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                exporter.served += 1

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()

    def add(self, seconds: float, number: int, labels: Mapping[str, str]) -> None:
        """Count requests of this duration."""
        series = self._requests.setdefault(tuple(sorted(labels.items())), [])
        for _ in range(number):
            insort(series, seconds)

    def page(self) -> bytes:
        """The metric family, delimited by its length."""
        metrics = b"".join(
            _message(4, _metric(dict(labels), durations))
            for labels, durations in list(self._requests.items())
        )
        family = _text(1, self.name) + _text(2, "Durations.") + _number(3, 4) + metrics
        return _varint(len(family)) + family


def _metric(labels: Mapping[str, str], durations: list[float]) -> bytes:
    pairs = b"".join(_message(1, _text(1, name) + _text(2, text)) for name, text in labels.items())
    return pairs + _message(7, _histogram(durations))


def _histogram(durations: list[float]) -> bytes:
    counts = Counter(ceil(log2(each) * 2**SCHEMA) for each in durations)
    spans, deltas = b"", b""
    after, before = 0, 0
    for index, count in sorted(counts.items()):
        spans += _message(12, _number(1, _zigzag(index - after)) + _number(2, 1))
        deltas += _number(13, _zigzag(count - before))
        after, before = index + 1, count
    return (
        _number(1, len(durations))
        + _double(2, sum(durations))
        + _number(5, _zigzag(SCHEMA))
        + _double(6, 1e-6)
        + _number(7, 0)
        + spans
        + deltas
    )


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def _zigzag(value: int) -> int:
    return value * 2 if value >= 0 else -value * 2 - 1


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())
