"""`canary plan` and `canary backtest` as commands, on a day that a real Prometheus has recorded.

The day is the rehearsal's: a healthy v1.0.0, about 30 requests a second of each service.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_rig import Server, free_port

from tarsrelease.model.environment import Prometheus
from tarsrelease.rehearsal.backfill import backfill
from tarsrelease.rehearsal.binaries import resolve, standard_modules
from tarsrelease.rehearsal.paths import cache_root

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def promtool() -> str:
    modules = [
        replace(module, programs=tuple(p for p in module.programs if p.name == "promtool"))
        for module in standard_modules()
    ]
    found = resolve(cache_root(), print, [module for module in modules if module.programs])
    return found.commands["promtool"][0]


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, prometheus_binary: str, promtool: str
) -> Iterator[Path]:
    """The rehearsal's environment, without its overrides, with the recorded day's Prometheus."""
    folder = tmp_path_factory.mktemp("recorded")
    backfill(promtool, cache_root(), folder / "data", time.time())
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


def test_the_days_traffic_is_enough_to_decide(place: Path) -> None:
    code, outcome = tarsrelease(place, "canary", "plan", "--window", "24h")
    assert (code, outcome["verdict"]) == (0, "proceed"), outcome["checks"]
    planned = outcome["details"]["planned"]
    assert {row["stage"] for row in planned} == {f"canary-{n}" for n in (1, 10, 25, 50, 100)}
    assert {row["service"] for row in planned} == {
        "orchestration-agent",
        "insight-engine",
        "dashboard-api",
    }


def test_stable_is_not_taken_back_and_four_times_its_errors_do_not_pass(
    place: Path, tmp_path: Path
) -> None:
    """At 1 % this traffic is hardly enough for the limits; the answer is no where it is not."""
    now = datetime.now(UTC)
    picture = tmp_path / "power.png"
    code, outcome = tarsrelease(
        place,
        *("canary", "backtest", "--windows", "8", "--plot", str(picture)),
        *("--from", f"{now - timedelta(hours=23):%Y-%m-%dT%H:%M}"),
        *("--to", f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M}"),
    )
    rows = {(row["stage"], row["canary"]): row for row in outcome["details"]["played"]}
    stages = {stage for stage, _ in rows}
    assert len(stages) == 5
    assert [rows[stage, "stable itself"]["rolled_back"] for stage in stages] == [0] * 5
    enough = all(2 * rows[stage, "stable itself"]["proceeded"] > 8 for stage in stages)
    assert (code, outcome["verdict"]) == ((0, "proceed") if enough else (1, "no-go"))
    assert rows["canary-100", "stable itself"]["proceeded"] == 8
    assert rows["canary-100", "errors x 4"]["proceeded"] < 8
    assert {name for _, name in rows} == {
        "stable itself",
        *(f"errors x {factor}" for factor in ("1.5", "2", "4")),
        "20 ms slower",
        "half as slow again",
    }
    assert picture.read_bytes().startswith(b"\x89PNG\r\n")
