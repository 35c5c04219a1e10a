"""Runs a command and kills it (SIGKILL) a moment after a line of its progress.

python kill_at.py TEXT DELAY COMMAND...: TEXT is looked for in the lines on standard error.
Exits with 137 when the command was killed, else with 1: the line never came.
"""

from __future__ import annotations

import subprocess
import sys
import time


def main() -> int:
    text, delay, *command = sys.argv[1:]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        sys.stderr.write(line)
        if text in line:
            time.sleep(float(delay))
            process.kill()
            process.wait()
            return 137
    return 1


if __name__ == "__main__":
    sys.exit(main())
