"""bundle build against git, Helm and coreutils: same input, same bytes, and they accept it."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from bundle_samples import BUNDLE, Sources, commit_all, git, write_sources

from tarsrelease.adapters.files.bundle_build import BuiltBundle, build_bundle
from tarsrelease.adapters.helm.chart_package import gzip_stored, package_chart
from tarsrelease.model.errors import UsageError
from tarsrelease.rehearsal.binaries import resolve, standard_modules
from tarsrelease.rehearsal.paths import cache_root


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    sources = write_sources(tmp_path / "project")
    commit_all(sources.root)
    return sources


def build(sources: Sources) -> BuiltBundle:
    return build_bundle(sources.source, "1.2.0", sources.out)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_input_gives_the_same_bytes_elsewhere_and_later(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(sources)
    clone = tmp_path / "elsewhere"
    git(tmp_path, "clone", "-q", str(sources.root), str(clone))
    other = Sources(clone, clone / "app", clone / "release/v1_2_0", clone / "unused")
    for path in other.source.rglob("*"):
        os.utime(path, (1, 1))
    (other.source / "chart/values.yaml").chmod(0o755)
    git(clone, "checkout", "-q", "--", ".")
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    build(other)
    assert contents(other.out) == contents(sources.out)


def test_committing_the_bundle_itself_changes_nothing(sources: Sources) -> None:
    first = build(sources)
    commit_all(sources.root)
    again = build(sources)
    assert again.changed == ()
    assert again.manifest.source == first.manifest.source
    assert first.manifest.source is not None
    assert first.manifest.source.clean


def test_a_changed_input_changes_the_bytes_and_the_commit(sources: Sources) -> None:
    first = build(sources)
    (sources.source / "chart/templates/web.yaml").write_text("kind: Secret\n")
    commit = commit_all(sources.root)
    second = build(sources)
    assert second.manifest.source is not None
    assert second.manifest.source.commit == commit
    assert first.digests["demo-1.2.0.tgz"] != second.digests["demo-1.2.0.tgz"]


def test_a_tag_on_the_inputs_commit_is_recorded(sources: Sources) -> None:
    git(sources.root, "tag", "v1.2.0")
    source = build(sources).manifest.source
    assert source is not None
    assert source.tag == "v1.2.0"


def test_uncommitted_inputs_are_recorded_as_such(sources: Sources) -> None:
    (sources.source / "chart/new.txt").write_text("not committed")
    source = build(sources).manifest.source
    assert source is not None
    assert not source.clean


def test_outside_of_a_repository_no_commit_is_named(tmp_path: Path) -> None:
    sources = write_sources(tmp_path)
    assert build(sources).manifest.source is None


def test_a_shallow_clone_is_refused(sources: Sources, tmp_path: Path) -> None:
    commit_all_again = sources.out / "NOTES.md"
    commit_all_again.write_text("second")
    commit_all(sources.root)
    clone = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{sources.root}", str(clone))
    with pytest.raises(UsageError) as caught:
        build_bundle(clone / "app", "1.2.0", clone / "release/v1_2_0")
    assert "unshallow" in caught.value.detail.next


def test_source_date_epoch_dates_the_archive(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    build(sources)
    with tarfile.open(sources.out / "demo-1.2.0.tgz") as archive:
        assert {member.mtime for member in archive} == {1767225600}
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        build(sources)


def test_sha256sum_accepts_the_list(sources: Sources) -> None:
    build(sources)
    done = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"],
        cwd=sources.out,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "demo-1.2.0.tgz: OK" in done.stdout


def test_helm_accepts_the_chart_with_everything_set(sources: Sources, helm_binary: str) -> None:
    build(sources)
    archive = str(sources.out / "demo-1.2.0.tgz")

    def helm(*arguments: str) -> str:
        done = subprocess.run([helm_binary, *arguments], check=True, capture_output=True, text=True)
        return done.stdout

    assert "0 chart(s) failed" in helm("lint", archive)
    shown = helm("show", "chart", archive)
    assert "version: 1.2.0" in shown
    assert "appVersion: 1.2.0" in shown
    values = helm("show", "values", archive)
    assert f'digest: "sha256:{"a" * 64}"' in values
    assert "# where it lies" in values  # comments stay
    assert "kind: ConfigMap" in helm("template", "demo", archive)


@pytest.fixture(scope="module")
def helm_binary() -> str:
    """Helm as the tool finds it, or the rehearsal's own (built where it is not there yet)."""
    found = os.environ.get("TARSRELEASE_HELM") or shutil.which("helm")
    if found:
        return found
    modules = [
        replace(module, programs=tuple(one for one in module.programs if one.name == "helm"))
        for module in standard_modules()
    ]
    wanted = [module for module in modules if module.programs]
    return resolve(cache_root(), print, wanted).commands["helm"][0]


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 200_000])
def test_the_archive_is_gzip_for_everyone(size: int) -> None:
    content = os.urandom(size)
    packed = gzip_stored(content)
    assert gzip.decompress(packed) == content
    done = subprocess.run(["gzip", "-dc"], input=packed, check=True, capture_output=True)
    assert done.stdout == content


def test_the_order_of_the_files_does_not_matter() -> None:
    files = {"values.yaml": b"1", "Chart.yaml": b"2", "templates/a": b"3"}
    backwards = dict(reversed(files.items()))
    assert package_chart("demo", files) == package_chart("demo", backwards)


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("release/v1_2_0/bundle.yaml", BUNDLE.replace("1.2.0\n", "1.3.0\n", 1), "version 1.3.0"),
        ("release/v1_2_0/stranger.txt", "x", "stranger.txt, which bundle.yaml does not name"),
        ("app/chart/Chart.yaml", "name: other\nversion: 0\nappVersion: 0\n", "the name 'other'"),
        ("app/chart/Chart.yaml", "name: demo\nappVersion: 0\n", "no line `version:`"),
        ("app/chart/values.yaml", "images: {web: {tag: x}}\n", "has no images.web.repository"),
        ("app/chart/values.yaml", "images: [\n", "values.yaml:"),
        (
            "release/v1_2_0/bundle.yaml",
            BUNDLE.replace(
                "files:", "  - {file: migrations/1.sql, phase: expand, order: 2}\nfiles:"
            ),
            "migrations/1.sql is listed twice",
        ),
        (
            "release/v1_2_0/bundle.yaml",
            BUNDLE.replace("sha256:a", "sha256:G"),
            "images[0].digest",
        ),
    ],
)
def test_wrong_input_is_refused_and_nothing_is_written(
    sources: Sources, path: str, text: str, said: str
) -> None:
    (sources.root / path).write_text(text)
    before = contents(sources.out)
    with pytest.raises(UsageError) as caught:
        build(sources)
    assert said in caught.value.detail.found
    assert contents(sources.out) == before


def test_a_killed_build_leaves_a_bundle_that_is_refused_and_built_anew(sources: Sources) -> None:
    build(sources)
    whole = contents(sources.out)
    (sources.out / "demo-1.2.0.tgz.part").write_bytes(b"half")
    (sources.out / "demo-1.2.0.tgz").unlink()
    build(sources)
    assert contents(sources.out) == whole


def test_a_link_in_the_chart_is_refused(sources: Sources) -> None:
    (sources.source / "chart/templates/link.yaml").symlink_to("/etc/hostname")
    with pytest.raises(UsageError, match="is a link"):
        build(sources)
