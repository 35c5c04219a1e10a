"""Time until a canary that fails every request is rolled back, on the rehearsal cluster.

    python benchmarks/rollback_speed.py [--runs 10] [--fault errors] [--scrape-interval 5]
                                        [--metrics prometheus,both]

All runs use one cluster. In each run, the release is deployed again, and its canary answers every
request with 500 as soon as it gets 10 % of 100 requests per second (all services together). Prints
minimum / median / maximum in seconds: from the weight in the route to weight 0, from the verdict to
weight 0, and the rollback's phases against their budget of five minutes; and the number of requests
that clients saw fail. Ctrl-C prints those of the runs that have ended.
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

import yaml

from tarsrelease.rehearsal import commands

NAME = "benchmark"
ENVIRONMENT = Path(__file__).parents[1] / "environments" / "rehearsal.yaml"


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


def environment(folder: Path, scrape_interval: float, metrics: str) -> Path:
    content = yaml.safe_load(ENVIRONMENT.read_text())
    content["metrics"] = metrics
    content["prometheus"]["scrape_interval"] = f"{scrape_interval:g}s"
    file = folder / "rehearsal.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def measure(fault: str, place: Path, folder: Path) -> dict[str, float]:
    """Seconds by what took them, and failed requests, of one rehearsed day."""
    done = tarsrelease(
        *("rehearse", "--name", NAME, "--fault", fault, "--stages", "10,100", "--rate", "100"),
        *("--environment", str(place), "--format", "json", "--quiet", "--evidence", str(folder)),
    )
    if done.returncode != 11:
        end = f"the day ended with {done.returncode}, not with a rollback"
        sys.exit(f"{end}:\n{done.stdout}{done.stderr}")
    clients = json.loads(done.stdout)["details"]["clients"]
    statuses = clients.get("by_status", {})
    steps = outcomes(folder)
    gate = next(found for step, found in steps.items() if "gate" in step)["details"]
    rollback = steps["rollback"]["details"]
    # A protection moves the traffic before the proof; a retry then costs more failed requests.
    safe = gate.get("seconds_from_shift_to_protection", gate["seconds_from_shift_to_write"])
    return {
        "weight 10 in the route to weight 0": safe,
        "verdict to weight 0": gate["seconds_from_verdict_to_write"],
        "failed requests (a number)": sum(
            number for status, number in statuses.items() if not status.startswith("2")
        ),
        **{f"rollback, {phase}": seconds for phase, seconds in rollback["phases"].items()},
        "rollback, all of it (budget 300)": rollback["seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--fault", default="errors")
    parser.add_argument("--scrape-interval", type=float, default=5.0)
    parser.add_argument("--metrics", default="prometheus")
    asked = parser.parse_args()
    interval: float = asked.scrape_interval
    sources: list[str] = asked.metrics.split(",")
    commands.up(NAME, lambda line: print(line, file=sys.stderr), interval)
    figures: dict[str, dict[str, list[float]]] = {each: defaultdict(list) for each in sources}
    try:
        for run in range(1, asked.runs + 1):
            for source in sources:
                with tempfile.TemporaryDirectory() as folder:
                    place = environment(Path(folder), interval, source)
                    found = measure(asked.fault, place, Path(folder) / "evidence")
                for what, value in found.items():
                    figures[source][what].append(value)
                latest = found["weight 10 in the route to weight 0"]
                failed = found["failed requests (a number)"]
                print(
                    f"run {run} of {asked.runs}, {source}: weight 0 after {latest:.2f} s, "
                    f"{failed:.0f} failed requests",
                    file=sys.stderr,
                )
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    finally:
        tarsrelease("rehearse", "down", "--name", NAME)
    for source, seen in figures.items():
        runs = max(map(len, seen.values()), default=0)
        print(
            f"{runs} runs, fault {asked.fault}, scraped every {interval:g} s, metrics: "
            f"{source}; seconds: min / median / max"
        )
        for what, values in seen.items():
            low, middle, high = min(values), statistics.median(values), max(values)
            print(f"  {what:38} {low:6.2f} / {middle:6.2f} / {high:6.2f}")


if __name__ == "__main__":
    main()
