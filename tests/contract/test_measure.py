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
from prometheus_rig import ROOT, Server, Target, tarsrelease

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


@pytest.mark.parametrize(("hours", "minutes"), [(3, 30), (23, 1320)])
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
    assert found["missing"] == {
        "dashboard_load_time_s": "no sli with a bucket of a histogram in rollout.yaml "
        "(objectives.slis)"
    }
    assert picture.read_text().count("<g ") == 5


def test_a_window_before_the_recorded_samples_is_refused(recorded_day: Path) -> None:
    code, outcome = tarsrelease(recorded_day, "measure", "kpi", *window(30, 60 * 10))
    assert code == 2
    assert "the first sample is of" in outcome["error"]["found"]
    code, outcome = tarsrelease(recorded_day, "measure", "kpi", *window(50, 60))
    assert (code, outcome["error"]["found"]) == (2, "no sample in this window")


@pytest.mark.parametrize("duration", ["0s", "-5m", "5", "five minutes"])
def test_a_wrong_duration_is_wrong_usage(recorded_day: Path, duration: str) -> None:
    code, outcome = tarsrelease(recorded_day, "measure", "kpi", f"--duration={duration}")
    assert code == 2
    assert "--duration" in outcome["error"]["found"]


def test_a_baseline_of_another_release_or_shape_is_refused(
    recorded_day: Path, tmp_path: Path
) -> None:
    baseline = tmp_path / "baseline_slos.json"
    chosen = window(3, 10)
    code, _ = tarsrelease(recorded_day, "measure", "kpi", *chosen, "--output", str(baseline))
    assert code == 0
    compare = ("--compare-baseline", str(baseline))
    code, outcome = tarsrelease(recorded_day, "measure", "kpi", *window(2, 10), *compare)
    assert code in (0, 10)
    comparison = outcome["details"]["kpis"]["comparison"]
    difference = comparison["differences"]["availability_pct"]
    assert difference["change"] == pytest.approx(difference["now"] - difference["baseline"])
    assert {each["id"] for each in comparison["checks"]} == {"baseline.errors", "baseline.slow"}
    good = json.loads(baseline.read_text())
    for text, said in (
        (json.dumps(good | {"release": "1.0.0"}), "a baseline of 1.0.0 in recorded"),
        (json.dumps(good | {"requests": "many"}), "requests: "),
        ("{", "Invalid JSON"),
    ):
        baseline.write_text(text)
        code, outcome = tarsrelease(recorded_day, "measure", "kpi", *compare)
        assert code == 2
        assert said in outcome["error"]["found"]


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
    server: Server, tmp_path: Path
) -> None:
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
