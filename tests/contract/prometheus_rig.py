"""A real Prometheus that scrapes a small server of the test's own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.metrics_server import Prometheus

ROOT = Path(__file__).parents[2]

CONFIGURATION = """
global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}
scrape_configs:
  - job_name: test
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


@dataclass
class Target:
    """A server whose metrics the test sets; `served` counts the scrapes."""

    lines: dict[str, float | str] = field(default_factory=dict)
    port: int = 0
    served: int = 0
    up: bool = True

    def counter(self, value: float, **labels: str) -> None:
        """Set one series of ``requests_total``."""
        said = ",".join(f'{name}="{text}"' for name, text in labels.items())
        self.lines[f"requests_total{{{said}}}"] = value


@dataclass
class Server:
    """A running Prometheus, which can be stopped and started again on the same data."""

    argv: list[str]
    settings: Prometheus
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log)
        wait_for(lambda: httpx.get(f"{self.settings.url}/-/ready").status_code == 200, 60)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def wait_for(true: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait until it holds; a server that does not answer yet does not hold."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if true():
                return
        except (httpx.TransportError, ReleaseError):
            pass
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


@contextmanager
def scraping(binary: str, configuration: str, port: int, folder: Path) -> Iterator[Server]:
    """A Prometheus that scrapes the exporter at `port` as the configuration says."""
    file = folder / "prometheus.yaml"
    file.write_text(configuration.format(port=port))
    own = free_port()
    running = Server(
        [
            binary,
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{own}",
        ],
        Prometheus(url=f"http://127.0.0.1:{own}", scrape_interval=0.5, timeout=3.0),
        folder / "log",
    )
    running.start()
    try:
        yield running
    finally:
        running.stop()


def scrapes(target: Target, number: int) -> None:
    """Wait for so many scrapes, and a moment for the last to be stored."""
    first = target.served
    wait_for(lambda: target.served >= first + number)
    time.sleep(0.1)


def tarsrelease(place: Path, *step: str) -> tuple[int, dict[str, Any]]:
    argv = [sys.executable, "-m", "tarsrelease", *step, "--format", "json"]
    argv += ["--release", str(ROOT / "release" / "v1_0_1"), "--environment", str(place)]
    done = subprocess.run(
        argv,
        cwd=place.parent,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found
