"""The actions' scripts as processes: installing, at once and with wrong hashes; being cancelled."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
import runner_reader

ROOT = Path(__file__).parents[2]


def variables(temporary: Path, **more: str) -> dict[str, str]:
    """A runner's environment, and nothing of this one but where programs are."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "RUNNER_TEMP": str(temporary),
        "GITHUB_OUTPUT": str(temporary / "output"),
        "GITHUB_STEP_SUMMARY": str(temporary / "summary.md"),
        **more,
    }


def install(root: Path, temporary: Path, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", str(root / "actions" / "_lib" / "install")],
        env=variables(temporary, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runner's folder in which two actions of two jobs installed at the same time."""
    temporary = tmp_path_factory.mktemp("runner")
    both = [install(ROOT, temporary), install(ROOT, temporary)]
    ended = [(*process.communicate(timeout=280), process.returncode) for process in both]
    assert [code for _, _, code in ended] == [0, 0], ended
    assert len({out for out, _, _ in ended}) == 1
    assert sum("checking hashes" in errors for _, errors, _ in ended) == 1
    return temporary


def test_two_at_once_install_once(installed: Path) -> None:
    python = install(ROOT, installed).communicate(timeout=60)[0].strip()
    probe = subprocess.run(
        [python, "-I", "-c", "import kubernetes, pydantic, psycopg; print('all there')"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert probe.stdout == "all there\n", probe.stderr


def test_an_installation_that_was_killed_is_made_anew(installed: Path) -> None:
    (marker,) = installed.glob("*/venv-*/.complete")
    shutil.rmtree(marker.parent / "lib")
    marker.unlink()
    process = install(ROOT, installed)
    _, errors = process.communicate(timeout=280)
    assert process.returncode == 0
    assert "checking hashes" in errors
    assert marker.exists()


def copied(folder: Path) -> Path:
    """The little of this repository that installing reads."""
    shutil.copytree(ROOT / "actions" / "_lib", folder / "actions" / "_lib")
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    return folder


def test_a_package_with_another_hash_is_not_installed(tmp_path: Path, installed: Path) -> None:
    root = copied(tmp_path / "repository")
    lock = root / "requirements" / "actions.txt"
    lines = lock.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("click=="))
    last = first + 1
    while last < len(lines) and lines[last].startswith(" "):
        last += 1
    lines[first:last] = [lines[first], f"    --hash=sha256:{'0' * 64}"]
    lock.write_text("\n".join(lines) + "\n")
    temporary = tmp_path / "runner"
    uv = next(installed.glob("*/uv-*"))
    (temporary / uv.parent.name).mkdir(parents=True, mode=0o700)
    shutil.copytree(uv, temporary / uv.parent.name / uv.name)
    process = install(root, temporary)
    out, errors = process.communicate(timeout=280)
    assert process.returncode == 2
    assert out == ""
    assert "::error title=tarsrelease setup::" in errors
    assert not list(temporary.glob("*/venv-*/.complete"))


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_cache_that_others_can_write_is_not_trusted(tmp_path: Path, mode: int) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(mode)
    done = subprocess.run(
        [ROOT / "actions/_lib/install"],
        env={**os.environ, "TARSRELEASE_ACTIONS_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "can be written by others" in done.stderr
    assert list(cache.iterdir()) == []


def test_without_a_python_it_says_what_to_do(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "mkdir", "id", "dirname", "cat"):
        (programs / name).symlink_to(str(shutil.which(name)))
    process = install(ROOT, tmp_path, PATH=str(programs))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "::error title=tarsrelease setup::no Python 3.11 or newer; next: add" in errors


@pytest.fixture
def silent_server() -> Iterator[int]:
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_a_cancelled_step_leaves_no_kubeconfig_and_tells_how_it_ended(
    number: signal.Signals, silent_server: int, installed: Path, tmp_path: Path
) -> None:
    """What a runner does to a job that is cancelled, to the process that it started."""
    shutil.copytree(ROOT / "release" / "v1_0_1", tmp_path / "release" / "v1_0_1")
    kubeconfig = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{silent_server}"}}],
        "contexts": [{"name": "tars-production", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "a-token"}}],
        "current-context": "tars-production",
    }
    inputs = {
        "release": "release/v1_0_1",
        "environment": str(ROOT / "environments" / "production.yaml"),
        "kubeconfig": json.dumps(kubeconfig),
    }
    temporary = tmp_path / "runner"
    temporary.mkdir()
    process = subprocess.Popen(
        ["bash", "-e", "-c", 'exec bash "$LIB/run" promote'],
        env=variables(
            temporary,
            TARSRELEASE_ACTIONS_CACHE=str(next(installed.glob("tarsrelease-*"))),
            TARS_PROMETHEUS_TOKEN="a-secret",
            INPUTS=json.dumps(inputs),
            LIB=str(ROOT / "actions" / "_lib"),
        ),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(temporary.glob("kubeconfig-*/config")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(temporary.glob("kubeconfig-*/config"))
    time.sleep(1.0)  # into the request that is never answered
    process.send_signal(number)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130, printed
    assert not list(temporary.glob("kubeconfig-*"))
    assert runner_reader.outputs(temporary / "output")["exit-code"] == "130"
    titles = [one.properties.get("title") for one in runner_reader.commands(printed)]
    assert "promote: INTERRUPTED" in titles
