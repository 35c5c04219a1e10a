"""Runs a command and kills it (SIGKILL) at a line of its progress, or when a condition holds then.

python kill_at.py TEXT WAIT COMMAND...: TEXT is looked for in the lines on standard error, WAIT is
a shell command that ends when the moment has come (empty: at once). Exits with 137 when the
command was killed, else with 1: the line never came.
"""

from __future__ import annotations

import subprocess
import sys


def main() -> int:
    text, wait, *command = sys.argv[1:]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        sys.stderr.write(line)
        if text in line:
            subprocess.run(["bash", "-c", wait], check=True, timeout=180)
            process.kill()
            process.wait()
            return 137
    return 1


if __name__ == "__main__":
    sys.exit(main())
