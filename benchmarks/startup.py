"""Time until the command line answers, for whole processes, from exec to exit.

    python benchmarks/startup.py [--runs 20]

Prints the median and the slowest run in milliseconds, and the CPU time, which other load on the
machine does not change. Exits with 1 if `--help` or `--version` exceeds its budget or any help
imports a heavy library.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

BUDGET_MS = 150.0
BUDGETED = (["--version"], ["--help"])
COMMANDS = (*BUDGETED, ["canary", "--help"], ["verify", "--help"])
FORBIDDEN = ("pydantic", "kubernetes", "rich", "httpx", "git", "psycopg", "jinja2", "yaml")


def milliseconds(command: list[str]) -> tuple[float, float]:
    """One whole process: wall time, and processor time (which a busy machine does not stretch)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall * 1000, cpu * 1000


def imported(arguments: list[str]) -> list[str]:
    """Which of the expensive libraries the command imports."""
    program = (
        "import sys\n"
        "from tarsrelease.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {FORBIDDEN!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True
    )
    return [name for name in FORBIDDEN if f"'{name}'" in done.stderr]


def main() -> int:
    """Measure every command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    program = str(Path(sys.executable).with_name("tarsrelease"))
    print(f"{runs} runs each, budget of --version and --help {BUDGET_MS:.0f} ms (median)")
    late = False
    for arguments in COMMANDS:
        milliseconds([program, *arguments])  # the first run writes the byte code
        times = [milliseconds([program, *arguments]) for _ in range(runs)]
        median = statistics.median(wall for wall, _ in times)
        cpu = statistics.median(cpu for _, cpu in times)
        too_much = imported(arguments)
        late |= (arguments in BUDGETED and median > BUDGET_MS) or bool(too_much)
        print(
            f"tarsrelease {' '.join(arguments):<16} median {median:6.1f} ms"
            f"   slowest {max(times)[0]:6.1f} ms   processor {cpu:6.1f} ms"
            f"   imports {', '.join(too_much) or 'nothing heavy'}"
        )
    return int(late)


if __name__ == "__main__":
    sys.exit(main())
