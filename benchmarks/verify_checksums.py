"""Speed of verify, as ratios against other tools, in one run, on the same files, warm.

``python benchmarks/verify_checksums.py [--folder DIR]``; DIR should be in memory (tmpfs), so that
the disk has no influence. Goals: at least 4 times `sha256sum -c` on several large files, at least
0.9 times `openssl dgst` on one large file, 10 000 files in less than 2 s, and less than 100 MB of
memory.

The best of several runs counts, and the tools take turns, so that other load slows all of them.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

MEGABYTE = 10**6
ROUNDS = 5


def listed(folder: Path) -> None:
    lines = []
    for path in sorted(folder.iterdir()):
        if path.name != "SHA256SUMS":
            with path.open("rb") as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n")
    (folder / "SHA256SUMS").write_text("".join(lines))


def files(folder: Path, count: int, size: int) -> Path:
    """A folder of `count` files of `size` bytes, with its SHA256SUMS."""
    folder.mkdir()
    block = os.urandom(min(size, MEGABYTE))
    for number in range(count):
        with (folder / f"file{number:05}").open("wb") as file:
            file.write(number.to_bytes(4, "big"))
            for _ in range(size // len(block)):
                file.write(block)
    listed(folder)
    return folder


def best(*runs: Callable[[], float]) -> list[float]:
    """The least of each run's figures over all rounds, in turns."""
    rounds = [[run() for run in runs] for _ in range(ROUNDS)]
    return [min(figures) for figures in zip(*rounds, strict=True)]


def seconds(*command: str | Path, folder: Path | None = None) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def verify(folder: Path) -> float:
    """The whole command, start of the interpreter included."""
    return seconds(
        sys.executable, "-m", "tarsrelease", "verify", folder, "--offline", "--checksums-only",
        "--quiet",
    )  # fmt: skip


def hashing(path: Path) -> float:
    """Hashing one file as verify does it, without the start of an interpreter."""
    from tarsrelease.adapters.files.hashing import hash_files

    began = time.perf_counter()
    hash_files([(path, path.stat().st_size)])
    return time.perf_counter() - began


PEAK = """
import resource, sys
from tarsrelease.cli import main
try:
    main(["verify", sys.argv[1], "--offline", "--checksums-only", "--quiet", "--format", "json"])
except SystemExit:
    pass
sys.stderr.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""


def peak(folder: Path) -> float:
    """Megabytes of memory that a run needs at most."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(folder)], check=True, capture_output=True, text=True
    )
    return int(done.stderr) * 1024 / MEGABYTE


def main() -> int:
    """Print the figures. Exit code 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--size", type=int, default=400, help="megabytes of a large file")
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(dir=arguments.folder if arguments.folder.is_dir() else None))
    try:
        large = files(root / "large", 4, arguments.size * MEGABYTE)
        ours, theirs = best(
            lambda: verify(large),
            lambda: seconds("sha256sum", "-c", "--quiet", "SHA256SUMS", folder=large),
        )
        one = large / "file00000"
        mine, openssl = best(
            lambda: hashing(one), lambda: seconds("openssl", "dgst", "-sha256", one)
        )
        memory = peak(large)
        many = files(root / "many", 10_000, 4000)
        (count,) = best(lambda: verify(many))
        many_memory = peak(many)
    finally:
        shutil.rmtree(root)
    goals = [
        (f"4 files of {arguments.size} MB, times as fast as sha256sum -c", theirs / ours, 4.0, "≥"),
        ("one of them, times as fast as openssl dgst", openssl / mine, 0.9, "≥"),
        ("10 000 files, seconds", count, 2.0, "<"),
        ("megabytes of memory, large files", memory, 100.0, "<"),
        ("megabytes of memory, 10 000 files", many_memory, 100.0, "<"),
    ]
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; verify {ours:.2f} s, "
          f"sha256sum {theirs:.2f} s; hashing {mine:.2f} s, openssl {openssl:.2f} s")  # fmt: skip
    missed = 0
    for name, figure, goal, sign in goals:
        good = figure >= goal if sign == "≥" else figure < goal
        missed += not good
        print(f"{'ok    ' if good else 'MISSED'}  {name}: {figure:.2f} (goal {sign} {goal:g})")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
