"""Time until a canary that fails every request is rolled back, on the rehearsal cluster.

    python benchmarks/rollback_speed.py [--runs 10] [--fault errors]

All runs use one cluster. In each run, the release is deployed again, and its canary answers every
request with 500 as soon as it gets 10 % of 100 requests per second (all services together), scraped
every 5 s. Prints minimum / median / maximum in seconds: from the weight in the route to weight 0,
from the verdict to weight 0, and the rollback's phases against their budget of five minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

NAME = "benchmark"


def tarsrelease(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tarsrelease", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def outcomes(evidence: Path) -> dict[str, dict[str, Any]]:
    lines = (evidence / "evidence.jsonl").read_text().splitlines()
    found = [json.loads(line)["outcome"] for line in lines]
    return {outcome["step"]: outcome for outcome in found}


def measure(fault: str, folder: Path) -> dict[str, float]:
    """Seconds by what took them, of one rehearsed day."""
    done = tarsrelease(
        *("rehearse", "--name", NAME, "--fault", fault, "--stages", "10,100", "--rate", "100"),
        *("--format", "json", "--quiet", "--evidence", str(folder)),
    )
    if done.returncode != 11:
        sys.exit(f"the day ended with {done.returncode}, not with a rollback:\n{done.stderr}")
    steps = outcomes(folder)
    gate = next(found for step, found in steps.items() if "gate" in step)["details"]
    rollback = steps["rollback"]["details"]
    return {
        "weight 10 in the route to weight 0": gate["seconds_from_shift_to_write"],
        "verdict to weight 0": gate["seconds_from_verdict_to_write"],
        **{f"rollback, {phase}": seconds for phase, seconds in rollback["phases"].items()},
        "rollback, all of it (budget 300)": rollback["seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--fault", default="errors")
    asked = parser.parse_args()
    started = tarsrelease("rehearse", "up", "--name", NAME)
    if started.returncode:
        sys.exit(started.stderr)
    figures: dict[str, list[float]] = defaultdict(list)
    try:
        for run in range(1, asked.runs + 1):
            with tempfile.TemporaryDirectory() as folder:
                for what, seconds in measure(asked.fault, Path(folder)).items():
                    figures[what].append(seconds)
            latest = figures["weight 10 in the route to weight 0"][-1]
            print(f"run {run} of {asked.runs}: weight 0 after {latest:.2f} s", file=sys.stderr)
    finally:
        tarsrelease("rehearse", "down", "--name", NAME)
    print(f"{asked.runs} runs, fault {asked.fault}, seconds: min / median / max")
    for what, seen in figures.items():
        print(f"  {what:38} {min(seen):6.2f} / {statistics.median(seen):6.2f} / {max(seen):6.2f}")


if __name__ == "__main__":
    main()
