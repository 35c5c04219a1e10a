"""Fixtures of all contract tests: a real Prometheus, and what it scrapes."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus_rig import CONFIGURATION, ROOT, Server, Target, free_port, scraping

from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.metrics_server import Prometheus
from tarsrelease.rehearsal.backfill import backfill
from tarsrelease.rehearsal.binaries import resolve, standard_modules
from tarsrelease.rehearsal.paths import cache_root


@pytest.fixture(scope="session")
def prometheus_binary() -> str:
    """From where the rehearsal gets it (cache, PATH, built); else whatever is on PATH."""
    modules = [
        replace(module, programs=tuple(p for p in module.programs if p.name == "prometheus"))
        for module in standard_modules()
    ]
    try:
        found = resolve(cache_root(), print, [module for module in modules if module.programs])
        return found.commands["prometheus"][0]
    except ReleaseError as error:
        on_path = shutil.which("prometheus")
        if on_path is None:
            pytest.fail(f"no Prometheus: {error}")
        return on_path


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    state = Target()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not state.up:
                self.send_error(503)
                return
            body = "".join(f"{name} {value}\n" for name, value in state.lines.items()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            state.served += 1

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def server(
    prometheus_binary: str, target: Target, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("prometheus")
    with scraping(prometheus_binary, CONFIGURATION, target.port, folder) as running:
        yield running


@pytest.fixture(scope="session")
def promtool() -> str:
    modules = [
        replace(module, programs=tuple(p for p in module.programs if p.name == "promtool"))
        for module in standard_modules()
    ]
    found = resolve(cache_root(), print, [module for module in modules if module.programs])
    return found.commands["promtool"][0]


@pytest.fixture(scope="session")
def recorded_day(
    tmp_path_factory: pytest.TempPathFactory, prometheus_binary: str, promtool: str
) -> Iterator[Path]:
    """An environment file of the rehearsal, with a Prometheus that has recorded a whole day."""
    folder = tmp_path_factory.mktemp("recorded")
    # It goes on for two hours, so that no test finds that its samples have stopped.
    (folder / "data").mkdir()
    for later in (0, 7200):
        written = folder / f"data-{later}"
        backfill(promtool, cache_root(), written, time.time() + later)
        for block in written.iterdir():
            if not (folder / "data" / block.name).exists():
                block.rename(folder / "data" / block.name)
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 1m}\n")
    port = free_port()
    argv = [
        prometheus_binary,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--storage.tsdb.retention.time=3d",
    ]
    server = Server(argv, Prometheus(url=f"http://127.0.0.1:{port}"), folder / "log")
    text = (ROOT / "environments" / "rehearsal.yaml").read_text().partition("\noverrides:")[0]
    path = folder / "environments" / "recorded.yaml"
    path.parent.mkdir()
    path.write_text(
        text.replace("name: rehearsal", "name: recorded", 1)
        .replace("http://127.0.0.1:9090", server.settings.url)
        .replace("scrape_interval: 5s", "scrape_interval: 1m")
        + "\n"
    )
    server.start()
    try:
        yield path
    finally:
        server.stop()
