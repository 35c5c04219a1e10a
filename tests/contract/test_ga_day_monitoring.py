"""The bundle's alert rules and dashboards: promtool accepts them, and their metrics exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tarsrelease.rehearsal.paths import cache_root

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "release" / "v1_0_1" / "monitoring"
PROCESS = {"process_start_time_seconds", "process_resident_memory_bytes"}
"""What Prometheus's own collectors export."""


def promtool() -> str:
    found = [*sorted((cache_root() / "bin").glob("promtool-*/promtool"))]
    path = str(found[-1]) if found else shutil.which("promtool")
    if path is None:
        pytest.skip("promtool is not built: a first rehearsal builds it")
    return path


@pytest.mark.parametrize(
    "command",
    [["check", "rules", "ga_day_alerts.yaml"], ["test", "rules", "ga_day_alerts_test.yaml"]],
)
def test_promtool_accepts_the_alert_rules(command: list[str]) -> None:
    done = subprocess.run(
        [promtool(), *command], cwd=MONITORING, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def exported() -> set[str]:
    """The metrics that the services' sources name, with those of a histogram."""
    names = set(PROCESS)
    for path in (ROOT / "examples/tars/services").rglob("*.go"):
        text = path.read_text()
        names |= set(re.findall(r'Name:\s+"([a-z_]+)"', text))
        names |= set(re.findall(r'NewDesc\("([a-z_]+)"', text))
    return names | {f"{name}_{part}" for name in names for part in ("bucket", "count", "sum")}


def test_every_query_asks_for_metrics_that_the_services_export() -> None:
    texts = [(MONITORING / "ga_day_alerts.yaml").read_text()]
    boards = [json.loads(path.read_text()) for path in sorted(MONITORING.glob("*.json"))]
    assert {board["uid"] for board in boards} == {"tars-overview", "tars-evaluation", "tars-agents"}
    texts += [t["expr"] for b in boards for panel in b["panels"] for t in panel["targets"]]
    asked = {name for text in texts for name in re.findall(r"\b([a-z_]+)\{", text)}
    assert len(asked) > 10
    assert asked <= exported()
