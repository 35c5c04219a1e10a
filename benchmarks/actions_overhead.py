"""Time that each action adds to a step: cold (the first of a job, which installs) and warm.

    python benchmarks/actions_overhead.py [--runs 5]

`before` is the time from the start of the action's script until its command begins. `whole` is a
whole step whose command stops at once because there is no cluster; it also contains the command's
imports, its configuration, the outputs and the summary page. CPU time is shown as well, because
other load on the machine does not change it. Exits with 1 if a budget is exceeded.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
WARM_BUDGET = 1.5
COLD_BUDGET = 10.0
"""Seconds before the step's own work."""
INPUTS = {
    "release": "release/v1_0_1",
    "environment": "environments/staging.yaml",
    "event": "started",
    "stage": "10",
    "ref": "release/v1.0.1",
    "checksums-only": "true",
}


def inputs_of(action: str) -> str:
    """What the action is given: of the values above those that it knows."""
    described = (ROOT / "actions" / action / "action.yml").read_text()
    known = described.partition("outputs:")[0]
    return json.dumps({key: value for key, value in INPUTS.items() if f"\n  {key}:\n" in known})


def step(action: str, temporary: Path) -> tuple[float, float, float]:
    """One step. Returns seconds before the command, whole seconds, and processor seconds."""
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(temporary),
        "RUNNER_TEMP": str(temporary),
        "GITHUB_OUTPUT": str(temporary / "output"),
        "GITHUB_STEP_SUMMARY": str(temporary / "summary"),
        "KUBECONFIG": str(temporary / "there-is-none"),
        "INPUTS": inputs_of(action),
        **{key: value for key, value in os.environ.items() if key.startswith(("UV_", "SSL_"))},
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with subprocess.Popen(
        ["bash", str(ROOT / "actions" / "_lib" / "run"), action],
        env=variables,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        command_began = None
        for line in process.stdout:
            if command_began is None and line.startswith(("::stop-commands::", "tarsrelease 0")):
                command_began = time.perf_counter() - began
    whole = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if command_began is None:
        raise SystemExit(f"{action}: its command never began")
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return command_began, whole, spent


@contextmanager
def runner() -> Iterator[Path]:
    """A runner's temporary folder at the beginning of a job."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> int:
    """Measure every action."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    actions = sorted(path.parent.name for path in (ROOT / "actions").glob("*/action.yml"))
    colds = []
    for _ in range(max(1, runs // 2)):
        with runner() as temporary:
            colds.append(step("setup", temporary))
    cold = statistics.median(each[0] for each in colds)
    spent = statistics.median(each[2] for each in colds)
    print(f"cold, any action: {cold:.2f} s before the command ({spent:.2f} s of processor)")
    late = cold > COLD_BUDGET
    print(f"warm, median of {runs}:    before   slowest     whole  processor")
    with runner() as temporary:
        step("setup", temporary)
        for action in actions:
            step(action, temporary)  # the first run writes the byte code
            measured = [step(action, temporary) for _ in range(runs)]
            before, whole, spent = (
                statistics.median(each[i] for each in measured) for i in range(3)
            )
            slowest = max(each[0] for each in measured)
            print(
                f"  {action:<20} {before:6.2f} s  {slowest:6.2f} s  {whole:6.2f} s  {spent:6.2f} s"
            )
            late = late or before > WARM_BUDGET
    print("beyond the budget" if late else "within the budget")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
