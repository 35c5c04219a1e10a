"""The image builder's bookkeeping, with a compiler that is a script."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tarsrelease.rehearsal.images import (
    SERVICES,
    ImageBuildError,
    ImageEntry,
    build_images,
    layers_of,
    record_of,
    this_architecture,
)

COMPILER = """\
#!/bin/sh
while [ "$1" != -o ]; do shift; done
echo "$GOARCH $GOFLAGS $GOTOOLCHAIN" >> "$LOG"
[ -z "$BROKEN" ] || { echo "main.go:1: it does not compile"; exit 1; }
cat main.go > "$2"; echo "$GOARCH" >> "$2"; chmod +x "$2"
"""


class Builder:
    """A source folder, a cache, and a compiler that notes its calls."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache, self.source = folder / "cache", folder / "source"
        self.source.mkdir()
        (self.source / "go.mod").write_text("module example\n")
        (self.source / "main.go").write_text("package main\n")
        self.go = folder / "go"
        self.go.write_text(COMPILER)
        self.go.chmod(0o755)
        self.log = folder / "log"
        self.log.touch()
        self.said: list[str] = []
        monkeypatch.setenv("LOG", str(self.log))

    def build(self) -> list[ImageEntry]:
        return build_images(
            self.cache, self.source, self.said.append, go=str(self.go), versions=["1.0.1"]
        )

    def compiled(self) -> int:
        return len(self.log.read_text().splitlines())


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    return Builder(tmp_path, monkeypatch)


def test_entries_name_this_machines_program(builder: Builder) -> None:
    entries = builder.build()
    services = entries[: len(SERVICES)]
    for service, entry in zip(SERVICES, services, strict=True):
        assert (entry["name"], entry["tag"]) == (f"ghcr.io/tars-ai/tars-{service}", "v1.0.1")
        program, argument = entry["command"]
        assert argument == service
        assert Path(program).read_text().endswith(f"{this_architecture()}\n")
        assert os.access(program, os.X_OK)
    assert len({entry["digest"] for entry in services}) == len(SERVICES)
    assert [entry["name"] for entry in entries[len(SERVICES) :]] == [
        "docker.io/library/postgres",
        "docker.io/valkey/valkey",
        "ghcr.io/tars-ai/tarsrelease",
    ]


def test_unchanged_sources_are_built_once(builder: Builder) -> None:
    first = builder.build()
    assert builder.compiled() == 2  # one an architecture
    assert builder.build() == first
    assert builder.compiled() == 2


def test_the_other_architecture_is_compiled_only_for_a_layer_that_is_not_recorded(
    builder: Builder,
) -> None:
    both = builder.build()
    layers = layers_of(
        builder.source, "1.0.1", builder.cache / "program", builder.said.append, go=str(builder.go)
    )
    record_of(builder.source).write_text(json.dumps({"1.0.1": layers}))
    shutil.rmtree(builder.cache / "images")
    compiled = builder.compiled()
    assert [entry["digest"] for entry in builder.build()] == [entry["digest"] for entry in both]
    assert builder.compiled() == compiled + 1
    (builder.source / "main.go").write_text("package main // changed\n")
    assert builder.build()[0]["digest"] != both[0]["digest"]
    assert builder.compiled() == compiled + 3


def test_changed_sources_are_built_anew_and_tests_do_not_count(builder: Builder) -> None:
    before = builder.build()[0]["digest"]
    (builder.source / "main_test.go").write_text("package main // changed\n")
    assert builder.build()[0]["digest"] == before
    (builder.source / "main.go").write_text("package main // changed\n")
    assert builder.build()[0]["digest"] != before


def test_the_users_go_settings_do_not_reach_the_compiler(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOFLAGS", "-tags=other")
    monkeypatch.setenv("GOTOOLCHAIN", "local")
    builder.build()
    assert set(builder.log.read_text().splitlines()) == {
        "amd64 -mod=readonly go1.26.8",
        "arm64 -mod=readonly go1.26.8",
    }


def test_a_failed_build_says_why_and_leaves_nothing(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKEN", "yes")
    with pytest.raises(ImageBuildError, match="it does not compile"):
        builder.build()
    assert [path.name for path in (builder.cache / "images").iterdir()] == [".lock"]
    monkeypatch.delenv("BROKEN")
    assert builder.build()


def test_missing_compiler_and_missing_sources_are_named(builder: Builder) -> None:
    builder.go.unlink()
    with pytest.raises(ImageBuildError, match="install Go"):
        builder.build()
    (builder.source / "go.mod").unlink()
    with pytest.raises(ImageBuildError, match=r"go\.mod"):
        builder.build()
