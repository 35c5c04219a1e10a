"""Where programs come from: the order of the places, and builds that are whole or not there."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
from pathlib import Path

import pytest

from tarsrelease.model.errors import UsageError
from tarsrelease.rehearsal.binaries import Module, Program, resolve, standard_modules

needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="no go on PATH")


def _program_that_says(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)
    return path


def _unbuildable(tmp_path: Path, *programs: Program) -> Module:
    """A module whose build fails, so that a test sees when it is reached."""
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "go.mod").write_text("module example\n\ngo 1.21\n")
    return Module(folder, programs)


def _module(folder: Path, text: str = "hello") -> Module:
    (folder / "cmd/hello").mkdir(parents=True, exist_ok=True)
    (folder / "go.mod").write_text("module example\n\ngo 1.21\n")
    (folder / "cmd/hello/main.go").write_text(
        f'package main\n\nvar word = "{text}"\n\nfunc main() {{ print(word) }}\n'
    )
    program = Program("hello", "./cmd/hello", "1.0", ("go.mod", "cmd/hello"))
    return Module(folder, (program,))


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def test_the_cache_comes_before_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program_that_says(tmp_path / "path/helm", "v4.9.0")
    cached = _program_that_says(tmp_path / "cache/bin/helm-4.2.3/helm", "cached")
    monkeypatch.setenv("PATH", str(tmp_path / "path"), prepend=":")
    module = _unbuildable(tmp_path, Program("helm", "example/helm", "4.2.3"))
    assert resolve(tmp_path / "cache", print, [module]).commands["helm"] == [str(cached)]


def test_path_comes_before_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _program_that_says(tmp_path / "path/helm", "v3.16.1+g5a5449d")
    monkeypatch.setenv("PATH", str(tmp_path / "path"), prepend=":")
    module = _unbuildable(tmp_path, Program("helm", "example/helm", "4.2.3"))
    resolved = resolve(tmp_path / "cache", print, [module])
    assert resolved.commands["helm"] == [str(found)]
    assert resolved.versions["helm"] == "3.16.1"  # what runs, not what is pinned


@needs_go
@pytest.mark.parametrize("version", ["v3.15.4", "no version at all"])
def test_one_on_path_that_is_too_old_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    _program_that_says(tmp_path / "path/helm", version)
    monkeypatch.setenv("PATH", str(tmp_path / "path"), prepend=":")
    module = _unbuildable(tmp_path, Program("helm", "./helm", "4.2.3"))
    with pytest.raises(Exception, match="Go packages"):
        resolve(tmp_path / "cache", print, [module])


@needs_go
def test_the_control_plane_is_taken_as_a_whole_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    assets = tmp_path / "assets"
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    _program_that_says(assets / parts[0], "etcd Version: 3.6.1")
    for part in parts[1:3]:
        _program_that_says(assets / part, "Kubernetes v1.40.0")
    module = _unbuildable(tmp_path, Program("controlplane", "./x", "1", provides=parts))
    with pytest.raises(Exception, match="Go packages"):
        resolve(tmp_path / "cache", print, [module])
    _program_that_says(assets / parts[3], "Kubernetes v1.40.0")
    commands = resolve(tmp_path / "cache", print, [module]).commands
    assert {part: commands[part] for part in parts} == {
        part: [str(assets / part)] for part in parts
    }


def test_one_program_for_several_parts_is_told_which_to_be(tmp_path: Path) -> None:
    path = _program_that_says(tmp_path / "cache/bin/controlplane-v1/controlplane", "")
    module = _unbuildable(tmp_path, Program("controlplane", "./x", "v1", provides=("etcd",)))
    assert resolve(tmp_path / "cache", print, [module]).commands["etcd"] == [str(path), "etcd"]


@needs_go
def test_a_build_sets_what_the_linker_is_told_and_is_kept(tmp_path: Path) -> None:
    module = _module(tmp_path / "module")
    program = module.programs[0]
    stamped = Program(
        program.name,
        program.package,
        program.version,
        program.sources,
        symbols={"main.word": "stamped"},
    )
    module = Module(module.folder, (stamped,))
    said: list[str] = []
    command = resolve(tmp_path / "cache", said.append, [module]).commands["hello"]
    assert _said(command) == "stamped"
    assert said
    said.clear()
    assert resolve(tmp_path / "cache", said.append, [module]).commands["hello"] == command
    assert said == []


@needs_go
def test_changed_sources_are_built_anew(tmp_path: Path) -> None:
    first = resolve(tmp_path / "cache", print, [_module(tmp_path / "m", "one")]).commands["hello"]
    second = resolve(tmp_path / "cache", print, [_module(tmp_path / "m", "two")]).commands["hello"]
    assert (_said(first), _said(second)) == ("one", "two")


@needs_go
def test_a_failed_build_leaves_nothing_that_could_be_taken_for_a_program(tmp_path: Path) -> None:
    module = _module(tmp_path / "module")
    (module.folder / "cmd/hello/main.go").write_text("package main\n\nfunc main() { nonsense }\n")
    leftover = tmp_path / "cache/bin/.build-killed"
    leftover.mkdir(parents=True)
    with pytest.raises(UsageError) as caught:
        resolve(tmp_path / "cache", print, [module])
    assert "nonsense" in caught.value.detail.found
    assert [entry.name for entry in (tmp_path / "cache/bin").iterdir()] == [".lock"]


def _resolve_and_report(cache: Path, folder: Path, results: multiprocessing.Queue[str]) -> None:
    said: list[str] = []
    resolve(cache, said.append, [_described(folder)])
    results.put("built" if any(text.startswith("building") for text in said) else "found")


def _described(folder: Path) -> Module:
    return Module(folder, (Program("hello", "./cmd/hello", "1.0", ("go.mod", "cmd/hello")),))


@needs_go
def test_of_two_at_once_one_builds_and_the_other_waits(tmp_path: Path) -> None:
    folder = _module(tmp_path / "module").folder
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[str] = context.Queue()
    both = [
        context.Process(target=_resolve_and_report, args=(tmp_path / "cache", folder, results))
        for _ in range(2)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert sorted([results.get(timeout=1), results.get(timeout=1)]) == ["built", "found"]


def test_the_pinned_versions_are_read_from_the_module() -> None:
    versions = {one.name: one.version for one in standard_modules()[0].programs}
    assert versions["controlplane"].startswith("v1.")
    assert versions["helm"].startswith("4.")
    assert versions["prometheus"].startswith("3.")
