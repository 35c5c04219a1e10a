"""The dashboard, open in headless Chromium while a release is rehearsed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tars_day import Day
from test_whole_day import rehearse, story

from tarsrelease.rehearsal import commands

pytestmark = [pytest.mark.slow, pytest.mark.full]

ADDRESS = "127.0.0.1:8400"
SOON = 2.0
"""Seconds from a change to the page that shows it."""


@contextmanager
def running(argv: list[str], env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("w") as file:
        process = subprocess.Popen(
            argv, env=env, stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()  # the browser ends by itself, the server by a signal
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait(20)


def wait_until_served(day: Day, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until the page answers. A busy machine takes its time to start the server."""
    ends_at = time.monotonic() + 240
    while day.cluster.run(["curl", "-sf", "--max-time", "20", f"http://{ADDRESS}/"]).returncode:
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < ends_at, f"the page is not served: {log.read_text()}"
        time.sleep(0.2)


def lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_page_follows_a_release_within_two_seconds(tmp_path: Path) -> None:
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))):
        pytest.skip("no chromium on this machine")
    name = f"live-{os.getpid()}"
    cluster = commands.up(name, print, tied=True)
    shown = tmp_path / "shown"
    shown.mkdir()
    try:
        day = Day(cluster, tmp_path)
        server = [*day.command("dashboard"), "--listen", ADDRESS]
        browser = [sys.executable, str(Path(__file__).with_name("live_page.py"))]
        browser += [f"http://{ADDRESS}/", str(shown)]
        env = {**cluster.env}
        log = tmp_path / "server.log"
        with running(cluster.enter_argv(server), env, log) as process:
            wait_until_served(day, process, log)
            with running(cluster.enter_argv(browser), env, tmp_path / "browser.log"):
                outcome = rehearse(tmp_path, "--name", name, "--stages", "10,50,100")
        assert outcome["verdict"] == "proceed", story(outcome)
        stored = day.kubectl("get", "configmap", "tarsrelease-tars", "--output", "json")
    finally:
        cluster.close(keep_logs=False)
    seen = lines(shown / "seen.jsonl")
    late = {}
    for weight, at in shifts(stored):
        shown_at = [each["time"] for each in seen if each["weight"] == weight]
        after = [each - at for each in shown_at if each >= at - SOON]
        assert after, f"{weight} % was never shown: {seen}"
        late[weight] = round(after[0], 2)
    print(f"seconds from the shift to the page: {late}")
    assert set(late) >= {10, 50, 100}
    assert max(late.values()) <= SOON, late
    assert seen[-1]["at"] == "promoted"
    assert {each.split("/")[2] for each in lines(shown / "requests.jsonl")} == {ADDRESS}
    pictures = sorted(shown.glob("*.png"))
    assert len(pictures) >= len(late)
    if folder := os.environ.get("TARSRELEASE_KEEP_PICTURES"):
        for picture, each in zip(pictures, seen, strict=False):
            shutil.copy(picture, Path(folder) / f"live-{each['at']}-{each['weight']}.png")


def shifts(stored: str) -> list[tuple[int, float]]:
    """Weight and time of each shift of the stages, from the journal on the cluster."""
    found: dict[int, float] = {}
    for entry in map(json.loads, json.loads(stored)["data"]["journal.jsonl"].splitlines()):
        if entry.get("action") == "shift" and entry.get("phase") == "result":
            weight = entry["facts"]["weight"]
            found.setdefault(weight, datetime.fromisoformat(entry["at"]).timestamp())
    return [(weight, at) for weight, at in found.items() if weight in (10, 50, 100)]
