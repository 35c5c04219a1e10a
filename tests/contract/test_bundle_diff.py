"""bundle diff on real bundles."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from bundle_samples import write_sources

from tarsrelease.adapters.files.bundle_build import build_bundle
from tarsrelease.bundle.difference import document_differences
from tarsrelease.cli import main


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """The same bundle, built in two places."""
    built = []
    for name in ("one", "two"):
        sources = write_sources(tmp_path / name)
        build_bundle(sources.source, "1.2.0", sources.out)
        built.append(sources.out)
    return built[0], built[1]


def compared(
    capsys: pytest.CaptureFixture[str], pair: tuple[Path, Path], *more: str
) -> tuple[int, list[str]]:
    with pytest.raises(SystemExit) as ended:
        main(["bundle", "diff", str(pair[0]), str(pair[1]), "--format", "json", *more])
    assert isinstance(ended.value.code, int)
    return ended.value.code, json.loads(capsys.readouterr().out)["details"]["differences"]


def test_the_same_input_gives_no_difference(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared(capsys, pair, "--exit-code") == (0, [])


def test_every_kind_of_difference_is_told(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    second = pair[1]
    chart = second.parents[1] / "app/chart"
    (chart / "templates/new.yaml").write_text("# nothing\n")
    bundle = (second / "bundle.yaml").read_text()
    bundle = bundle.replace("title: It works", "title: It really works")
    bundle = bundle.replace("NOTES.md", "READ.md").replace("a" * 64, "b" * 64)
    (second / "bundle.yaml").write_text(bundle)
    (second / "NOTES.md").rename(second / "READ.md")
    rollout = (second / "rollout.yaml").read_text()
    loosened = rollout.replace("below: 2%", "below: 9%", 1)
    assert loosened != rollout
    (second / "rollout.yaml").write_text(loosened)
    build_bundle(second.parents[1] / "app", "1.2.0", second)
    code, found = compared(capsys, pair)
    assert code == 0
    assert "file     renamed  NOTES.md to READ.md" in found
    assert any(line.startswith("file     changed  demo-1.2.0.tgz: ") for line in found)
    assert "manifest hotfixes.DEMO-1.title: It works to It really works" in found
    digests = ("sha256:" + "a" * 64, "sha256:" + "b" * 64)
    assert f"manifest images.web.digest: {digests[0]} to {digests[1]}" in found
    assert "chart    added    templates/new.yaml" in found
    assert any(line.startswith("chart    changed  values.yaml") for line in found)
    assert f"chart    values.yaml images.web.digest: {digests[0]} to {digests[1]}" in found
    assert "rollout  stages.100.checks.canary.error_rate.below: 2% to 9%" in found
    assert not any("Chart.yaml" in line for line in found)
    assert compared(capsys, pair, "--exit-code")[0] == 1


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([1, 2], [1, 3], ["a.1: 2 to 3"]),
        ([1], [1, 2], ["a: [1] to [1, 2]"]),
        ([{"x": 1}], [{"x": 1}, {"x": 2}], ["a: 1 items to 2 items"]),
        ([{"id": "b", "x": 1}, {"id": "c"}], [{"id": "c"}, {"id": "b", "x": 2}],
         ["a.b.x: 1 to 2"]),
        ([{"id": "b"}, {"id": "b", "x": 1}], [{"id": "b"}, {"id": "b", "x": 2}],
         ["a.1.x: 1 to 2"]),
        ([{"id": "b"}], [], ["a.b: removed"]),
        ({1: "x"}, {"\x1b[2J": "x"}, ["a.'\\x1b[2J': added", "a.1: removed"]),
    ],
)  # fmt: skip
def test_lists_are_compared_by_name_then_by_place(
    before: object, after: object, said: list[str]
) -> None:
    assert document_differences({"a": before}, {"a": after}) == said


def test_a_broken_bundle_can_be_looked_at(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (pair[1] / "manifest.production.json").write_text("{")
    (pair[1] / "out").symlink_to("/etc/hostname")
    with pytest.raises(SystemExit) as ended:
        main(["bundle", "diff", str(pair[0]), str(pair[1])])
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert "NOT COMPARED" in out.splitlines()[-1]
    assert "file     added    out" in out
