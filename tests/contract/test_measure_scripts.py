"""The scripts of the bundle, called as the runbook calls them, on a recorded day."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_rig import ROOT

from tarsrelease.cli.runbook_scripts import run

BUNDLE = ROOT / "release" / "v1_0_1"
NAMES = ("ga_kpi_collector", "monitor_realtime_slos", "drift_detector", "monitor_websocket_health")


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def call(recorded_day: Path, line: str) -> tuple[int, str]:
    """A command line of the runbook, in the scripts' own directory."""
    script, *options = line.split()
    done = subprocess.run(
        [sys.executable, str(BUNDLE / "ga_monitoring_scripts" / script), *options],
        cwd=recorded_day.parents[1],
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "kpi --environment=production --duration=5m --output=baseline_slos.json",
        "slo --environment=production --deployment=canary --threshold-availability=99.0 "
        "--threshold-latency-p95=120 --threshold-error-rate=2.0 --alert-webhook=http://slack",
        "drift --deployment=canary --baseline=stable",
        "websocket --deployment=canary --duration=5m",
        "drift --environment=production --canary-deployment=canary --stable-deployment=stable "
        "--duration=10m --output=drift_report_25pct.json",
        "kpi --environment=production --deployment=canary --duration=10m "
        "--output=canary_50pct_kpis.json",
        "kpi --environment=production --duration=30m --output=ga_first_30min_kpis.json "
        "--compare-baseline=baseline_slos.json",
        "websocket --environment=production --duration=10m --output=websocket_health_ga.json",
        "kpi --environment=production --duration=24h --interval=5m --output=ga_24h_kpis.json",
        "drift --environment=production --compare-to=staging --duration=24h --interval=15m "
        "--output=ga_24h_drift.json",
    ],
)
def test_every_call_of_the_runbook_is_understood(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options and values are refused before --help is printed, as the last assertion shows."""
    monkeypatch.chdir(tmp_path)
    command, *options = line.split()
    script = dict(zip(("kpi", "slo", "drift", "websocket"), NAMES, strict=True))[command]
    path = str(BUNDLE / "ga_monitoring_scripts" / f"{script}.py")
    assert run(command, path, [*options, "--help"]) == 0
    assert run(command, path, [*options, "--no-such-option", "--help"]) == 2


@pytest.mark.parametrize("name", NAMES)
def test_every_script_takes_the_runbooks_flags(recorded_day: Path, name: str) -> None:
    """--help lists each flag that the runbook's text gives to the script."""
    flags = {
        "ga_kpi_collector": "environment duration output deployment compare-baseline interval",
        "monitor_realtime_slos": "environment deployment threshold-availability "
        "threshold-latency-p95 threshold-error-rate alert-webhook",
        "drift_detector": "environment deployment baseline canary-deployment stable-deployment "
        "duration output compare-to interval",
        "monitor_websocket_health": "environment deployment duration output",
    }
    code, text = call(recorded_day, f"{name}.py --help")
    assert code == 0
    assert [flag for flag in flags[name].split() if f"--{flag}" not in text] == []


def test_the_runbooks_files_and_keys_and_nothing_in_the_bundle(recorded_day: Path) -> None:
    before = contents(BUNDLE)
    folder = recorded_day.parents[1]
    recorded = "--environment=recorded"
    code, said = call(
        recorded_day, f"ga_kpi_collector.py {recorded} --duration=1h --output=baseline_slos.json"
    )
    assert code in (0, 10), said
    code, said = call(
        recorded_day,
        f"ga_kpi_collector.py {recorded} --duration=30m --output=ga_first_30min_kpis.json "
        "--compare-baseline=baseline_slos.json",
    )
    assert code in (0, 10), said
    kpis = json.loads((folder / "evidence" / "ga_first_30min_kpis.json").read_text())
    # Twelve series count whole errors, each off by one at most, in 118 000 requests or more.
    assert kpis["error_rate_pct"] == pytest.approx(0.03, abs=12 / 1180)
    assert kpis["availability_pct"] == pytest.approx(100 - kpis["error_rate_pct"])
    assert kpis["latency_p95_ms"] == pytest.approx(48.5, abs=0.2)  # between 25 ms and 50 ms
    assert kpis["comparison"]["differences"]["availability_pct"]["change"] is not None
    assert contents(BUNDLE) == before
