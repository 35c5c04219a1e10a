"""`measure` as commands on a real Prometheus: a recorded day, and what is scraped just now."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_rig import ROOT, Server, Target, scrapes, tarsrelease

KPIS = (
    "availability_pct",
    "error_rate_pct",
    "latency_p95_ms",
    "reconnection_success_rate",
    "websocket_uptime_pct",
)
BOUND = 'http_request_duration_seconds_bucket{namespace="tars-production"}'
ALL = 'http_requests_total{namespace="tars-production"}'


def raw(url: str, selector: str, start: float, end: float) -> list[tuple[dict[str, str], float]]:
    """What each series gained, computed from its raw samples alone (no code of tarsrelease)."""
    reach = int(end - start) + 400
    answer = httpx.get(
        f"{url}/api/v1/query",
        params={"query": f"{selector}[{reach}s]", "time": f"{end:.3f}"},
        trust_env=False,
    ).json()
    found = []
    for series in answer["data"]["result"]:
        gained, last = 0.0, 0.0
        for time_, text in series["values"]:
            value = float(text)
            if start < time_ <= end:
                gained += value - last if value >= last else value
            last = value
        found.append((series["metric"], gained))
    return found


def independent(url: str, start: float, end: float) -> dict[str, float]:
    """Availability, error rate and p95 in the runbook's units."""
    requests = raw(url, ALL, start, end)
    total = sum(gained for _, gained in requests)
    failed = sum(gained for labels, gained in requests if labels["status"].startswith("5"))
    buckets: dict[float, float] = defaultdict(float)
    for labels, gained in raw(url, BOUND, start, end):
        buckets[float(labels["le"])] += gained
    rank, low, few, p95 = 0.95 * buckets[float("inf")], 0.0, 0.0, 0.0
    for bound in sorted(buckets):
        if buckets[bound] >= rank:
            p95 = low + (bound - low) * (rank - few) / (buckets[bound] - few)
            break
        low, few = bound, buckets[bound]
    return {
        "requests": total,
        "error_rate_pct": 100 * failed / total,
        "availability_pct": 100 - 100 * failed / total,
        "latency_p95_ms": 1000 * p95,
    }


def window(hours: float, minutes: float) -> tuple[str, ...]:
    """--from and --to: from so many hours ago, for so many minutes."""
    start = (datetime.now(UTC) - timedelta(hours=hours)).replace(microsecond=0)
    end = start + timedelta(minutes=minutes)
    return ("--from", start.isoformat(), "--to", end.isoformat())


def times(found: dict[str, Any]) -> tuple[float, float]:
    start, end = (datetime.fromisoformat(found[each]).timestamp() for each in ("start", "end"))
    return start, end


@pytest.mark.parametrize(
    ("hours", "minutes"), [(3, 30), pytest.param(23, 1320, marks=pytest.mark.full)]
)
def test_the_numbers_are_those_of_the_raw_samples(
    recorded_day: Path, tmp_path: Path, hours: int, minutes: int
) -> None:
    output, picture = tmp_path / "kpis.json", tmp_path / "kpis.svg"
    chosen = window(hours, minutes)
    more = ("--interval", f"{minutes // 6}m", "--output", str(output), "--plot", str(picture))
    code, outcome = tarsrelease(recorded_day, "measure", "kpi", *chosen, *more)
    assert (code, outcome["verdict"]) == (0, "proceed"), outcome
    found = json.loads(output.read_text())
    assert found == outcome["details"]["kpis"]
    url = recorded_day.read_text().partition("url: ")[2].split()[0]
    for name, expected in independent(url, *times(found)).items():
        assert found[name] == pytest.approx(expected, rel=1e-9), name
    assert {name: found[name] is not None for name in KPIS} == dict.fromkeys(KPIS, True)
    assert len(found["intervals"]) == 6
    assert sum(each["requests"] for each in found["intervals"]) == found["requests"]
    assert set(found["services"]) == {"orchestration-agent", "insight-engine", "dashboard-api"}
    assert found["missing"] == {"dashboard_load_time_s": "no dashboard was requested"}
    assert picture.read_text().count("<g ") == 5


def test_a_window_before_the_recorded_samples_is_refused(recorded_day: Path) -> None:
    code, outcome = tarsrelease(recorded_day, "measure", "kpi", *window(30, 60 * 10))
    assert code == 2
    assert "the first sample is of" in outcome["error"]["found"]


@pytest.mark.parametrize("duration", ["0s", "-5m"])
def test_a_wrong_duration_is_wrong_usage(recorded_day: Path, duration: str) -> None:
    code, outcome = tarsrelease(recorded_day, "measure", "kpi", f"--duration={duration}")
    assert code == 2
    assert "--duration" in outcome["error"]["found"]


def test_a_baseline_is_measured_and_kept(recorded_day: Path, tmp_path: Path) -> None:
    """Into the evidence folder, each criterion over its own window; then KPIs and SLOs use it."""
    kept = ("--evidence", str(tmp_path))
    code, outcome = tarsrelease(recorded_day, "measure", "baseline", *kept)
    assert (code, outcome["verdict"]) == (0, "proceed"), outcome
    found = json.loads((tmp_path / "baseline_slos.json").read_text())
    windows = {each["id"]: each["window"] for each in found["slos"] if each["status"] == "pass"}
    assert windows == {
        "slo.availability": 86400.0,
        "slo.error_rate": 3600.0,
        "slo.latency_p95": 3600.0,
        "slo.reconnection": 86400.0,
        "slo.websocket_uptime": 86400.0,
    }
    compare = ("--compare-baseline", "baseline_slos.json", "--output", "kpis.json")
    code, outcome = tarsrelease(recorded_day, "measure", "kpi", *window(2, 30), *compare, *kept)
    assert (code, outcome["verdict"]) == (0, "proceed"), outcome
    comparison = json.loads((tmp_path / "kpis.json").read_text())["comparison"]
    difference = comparison["differences"]["availability_pct"]
    assert difference["change"] == pytest.approx(difference["now"] - difference["baseline"])
    assert {each["id"] for each in comparison["checks"]} == {"baseline.errors", "baseline.slow"}


def test_production_is_like_staging_over_the_same_day(recorded_day: Path, tmp_path: Path) -> None:
    staging = tmp_path / "staging.yaml"
    staging.write_text(
        recorded_day.read_text()
        .replace("name: recorded", "name: staging", 1)
        .replace("namespace: tars-production", "namespace: tars-staging")
    )
    code, outcome = tarsrelease(
        recorded_day,
        *("measure", "drift", "--compare-to", str(staging), "--output", str(tmp_path / "d.json")),
        *(*window(3, 60), "--interval", "15m"),
    )
    found = json.loads((tmp_path / "d.json").read_text())
    assert (found["ours"], found["theirs"], len(found["intervals"])) == ("recorded", "staging", 4)
    effects = {(each["service"], each["metric"]): each for each in found["metrics"]}
    assert len(effects) == 9
    assert abs(effects["dashboard-api", "errors"]["effect"]) < 0.001
    assert effects["dashboard-api", "memory"]["verdict"] == "pass"
    assert code in (0, 10), outcome["checks"]


def test_burn_rates_of_a_day_and_none_of_what_is_not_recorded(recorded_day: Path) -> None:
    code, outcome = tarsrelease(recorded_day, "measure", "slo", "--once", "--window", "30m")
    details = outcome["details"]
    rates = {each["long_seconds"]: each for each in details["burn_rates"]}
    assert rates[3600.0]["alert"] is False
    # 0.03 % of 0.1 %. Twelve series count whole errors, about 70 to 130 in all in an hour, so that
    # each may be one off.
    assert rates[3600.0]["long_rate"] == pytest.approx(0.3, rel=0.2)
    assert rates[259200.0]["long_rate"] is None
    assert "the first sample is of" in rates[259200.0]["reason"]
    assert details["budget"]["remaining_share"] == pytest.approx(0.7, rel=0.05)
    assert (code, outcome["verdict"], details["alerts"]) == (0, "proceed", [])


def test_a_report_of_a_day_and_of_seven_of_which_one_is_recorded(
    recorded_day: Path, tmp_path: Path
) -> None:
    """The availability is that of the raw samples; the six other days are named, not guessed."""
    kept = ("--evidence", str(tmp_path), "--output-dir", str(tmp_path))
    code, outcome = tarsrelease(recorded_day, "report", "slo", "--days", "7", *kept)
    assert (code, outcome["verdict"]) == (10, "hold"), outcome
    statuses = {check["id"]: check["status"] for check in outcome["checks"]}
    assert statuses.pop("slo.recorded") == "inconclusive"
    assert set(statuses.values()) <= {"pass", "skipped"}
    found = json.loads((tmp_path / "slo_report.json").read_text())
    url = recorded_day.read_text().partition("url: ")[2].split()[0]
    start, end = times(found["kpis"])
    expected = independent(url, start, end)["availability_pct"]
    assert found["kpis"]["availability_pct"] == pytest.approx(expected, rel=0.001)
    assert {row["deployment"] for row in found["capacity"]} >= {"tars-ppo-agent"}
    assert (tmp_path / "slo_report.html").read_text().startswith("<!doctype html>")


@pytest.fixture
def traffic(target: Target) -> Iterator[None]:
    """Requests to two pods that come and go, with a reset, for as long as the test lasts."""
    target.lines = {}
    done = threading.Event()
    counts: dict[str, float] = {}

    def serve() -> None:
        tick = 0
        while not done.wait(0.1):
            tick += 1
            pod = f"tars-dashboard-api-5b7f8d96c4-bx{tick // 60 % 8 + 2:03d}"
            if tick == 25:
                counts.clear()
            counts[pod] = counts.get(pod, 0.0) + 7
            for name, value in list(counts.items()):
                own = f'namespace="tars-production",service="dashboard-api",pod="{name}"'
                own += ',deployment="stable",version="1.0.0",path="/api/v1/missions"'
                target.lines |= {
                    f'http_requests_total{{{own},status="200"}}': value,
                    f'http_requests_total{{{own},status="500"}}': value // 500,
                }
                for bound, share in (("0.05", 0.5), ("0.1", 0.97), ("0.25", 1.0), ("+Inf", 1.0)):
                    line = f'http_request_duration_seconds_bucket{{{own},le="{bound}"}}'
                    target.lines[line] = value * share // 1
                count = f"http_request_duration_seconds_count{{{own}}}"
                target.lines[count] = value

    worker = threading.Thread(target=serve, daemon=True)
    worker.start()
    yield
    done.set()
    worker.join()


@pytest.mark.usefixtures("traffic")
def test_live_numbers_are_those_of_the_same_window_afterwards(
    server: Server, target: Target, tmp_path: Path
) -> None:
    scrapes(target, 2)  # the window begins with the command
    text = (ROOT / "environments" / "rehearsal.yaml").read_text().partition("\noverrides:")[0]
    place = tmp_path / "live.yaml"
    place.write_text(
        text.replace("name: rehearsal", "name: live", 1)
        .replace("http://127.0.0.1:9090", server.settings.url)
        .replace("scrape_interval: 5s", "scrape_interval: 500ms")
        + "\n"
    )
    live = tmp_path / "live.json"
    options = ("--interval", "3s", "--output")
    tarsrelease(place, "measure", "kpi", "--live", "--duration", "8s", *options, str(live))
    soon = json.loads(live.read_text())
    assert soon["requests"] > 100
    time.sleep(1.0)
    later = tmp_path / "later.json"
    chosen = ("--from", soon["start"], "--to", soon["end"])
    tarsrelease(place, "measure", "kpi", *chosen, *options, str(later))
    after = json.loads(later.read_text())
    assert after == soon
    for name, expected in independent(server.settings.url, *times(soon)).items():
        assert soon[name] == pytest.approx(expected, rel=1e-3), name
