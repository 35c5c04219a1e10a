"""SHA256SUMS of other tools verify here, and ours with theirs."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tarsrelease.adapters.terminal.hashing_bar import HashingBar
from tarsrelease.cli import main

NAMES = ("plain.txt", "with space", "sub/deep.bin", "a\\b", "line\nfeed", "ümlaut", "(round) = 1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    for number, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * (number * 700_000))
    return folder


def listed_by(folder: Path, *command: str) -> None:
    done = subprocess.run([*command, *NAMES], cwd=folder, check=True, capture_output=True)
    (folder / "SHA256SUMS").write_bytes(done.stdout)


def code(folder: Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(folder), "--offline", "--checksums-only", "--quiet"])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    "command",
    [
        ("sha256sum",),
        ("sha256sum", "--binary"),
        ("sha256sum", "--tag"),
        ("shasum", "-a", "256"),
        ("shasum", "-a", "256", "--tag"),
    ],
    ids=" ".join,
)
def test_lists_of_other_tools_verify_here(folder: Path, command: tuple[str, ...]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    listed_by(folder, *command)
    assert code(folder) == 0
    (folder / "line\nfeed").write_bytes(b"x")
    assert code(folder) == 1


PLAIN = [name for name in NAMES if name not in {"a\\b", "line\nfeed"}]


@pytest.mark.parametrize(
    "command", [("openssl", "dgst", "-sha256"), ("openssl", "dgst", "-sha256", "-r")], ids=" ".join
)
def test_what_openssl_prints_verifies_here(folder: Path, command: tuple[str, ...]) -> None:
    only_plain(folder)
    done = subprocess.run([*command, *PLAIN], cwd=folder, check=True, capture_output=True)
    (folder / "SHA256SUMS").write_bytes(done.stdout)
    assert code(folder) == 0
    (folder / "plain.txt").write_bytes(b"x")
    assert code(folder) == 1


@pytest.mark.parametrize("form", ["{digest} {name}\n", "SHA256 ({name}) = {digest}\n"])
def test_what_bsd_prints_verifies_here(folder: Path, form: str) -> None:
    """sha256(1) of FreeBSD with -r, and without it."""
    only_plain(folder)
    (folder / "SHA256SUMS").write_text(
        "".join(
            form.format(digest=hashlib.sha256((folder / name).read_bytes()).hexdigest(), name=name)
            for name in PLAIN
        )
    )
    assert code(folder) == 0
    (folder / "plain.txt").write_bytes(b"x")
    assert code(folder) == 1


def only_plain(folder: Path) -> None:
    """Without the names that only coreutils can write."""
    for name in set(NAMES) - set(PLAIN):
        (folder / name).unlink()


GO = """\
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
)

func main() {
	for _, name := range os.Args[1:] {
		content, err := os.ReadFile(name)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%x  %s\\n", sha256.Sum256(content), name)
	}
}
"""


@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed")
def test_a_list_of_a_go_program_verifies_here(folder: Path, tmp_path: Path) -> None:
    """As Go's release tools write it: GNU's form, and nothing is ever escaped."""
    (tmp_path / "sums.go").write_text(GO)
    only_plain(folder)
    done = subprocess.run(
        ["go", "run", str(tmp_path / "sums.go"), *PLAIN],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    (folder / "SHA256SUMS").write_bytes(done.stdout)
    assert code(folder) == 0


def test_find_and_sort_write_a_list_that_verifies_here(folder: Path) -> None:
    subprocess.run(
        "find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum > SHA256SUMS",
        shell=True,
        cwd=folder,
        check=True,
    )
    assert code(folder) == 0


def test_what_is_hashed_is_what_hashlib_says(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed_by(folder, "sha256sum")
    with pytest.raises(SystemExit):
        main(["verify", str(folder), "--checksums-only", "--format", "json"])
    rows = json.loads(capsys.readouterr().out)["details"]["artifacts"]
    assert len(rows) == len(NAMES)
    by_size = {row["size"]: row for row in rows}
    for name in NAMES:
        content = (folder / name).read_bytes()
        row = by_size[len(content)]
        assert row["actual"] == row["expected"] == hashlib.sha256(content).hexdigest()
        assert (row["result"], row["source"]) == ("PASS", "SHA256SUMS")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_shows_after_a_second_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("tarsrelease.adapters.terminal.hashing_bar.time.monotonic", lambda: now[0])
    stream = Terminal()
    bar = HashingBar(stream)
    bar.expect(4 * 10**9)
    bar.hashed(10**9)
    now[0] = 0.9
    bar.hashed(10**9)
    assert stream.getvalue() == ""
    now[0] = 2.0
    bar.hashed(10**9)
    assert " 75%  3.0 of 4.0 GB, 1.50 GB/s" in stream.getvalue()
    bar.close()
    assert stream.getvalue().endswith("\r\x1b[K")
    quiet = Terminal()
    HashingBar(quiet, quiet=True).hashed(1)
    assert quiet.getvalue() == ""
