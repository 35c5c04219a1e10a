"""`canary plan` and `canary backtest` as commands, on a day that a real Prometheus has recorded.

The day is the rehearsal's: a healthy v1.0.0, about 30 requests a second of each service.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_rig import tarsrelease


def test_the_days_traffic_is_enough_to_decide(recorded_day: Path) -> None:
    code, outcome = tarsrelease(recorded_day, "canary", "plan", "--window", "24h")
    assert (code, outcome["verdict"]) == (0, "proceed"), outcome["checks"]
    planned = outcome["details"]["planned"]
    assert {row["stage"] for row in planned} == {f"canary-{n}" for n in (1, 10, 25, 50, 100)}
    assert {row["service"] for row in planned} == {
        "orchestration-agent",
        "insight-engine",
        "dashboard-api",
    }


def test_stable_is_not_taken_back_and_four_times_its_errors_do_not_pass(
    recorded_day: Path, tmp_path: Path
) -> None:
    """At 1 % this traffic is hardly enough for the limits; the answer is no where it is not."""
    now = datetime.now(UTC)
    picture = tmp_path / "power.png"
    code, outcome = tarsrelease(
        recorded_day,
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
