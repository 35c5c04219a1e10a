"""verify: a bundle as it was built passes; whatever is done to it afterwards does not."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from bundle_samples import commit_all, git, write_sources

from tarsrelease.adapters.clock import SystemClock
from tarsrelease.adapters.files.bundle_build import build_bundle
from tarsrelease.adapters.files.bundle_files import FolderFiles
from tarsrelease.adapters.files.configuration import read_manifest, read_rollout
from tarsrelease.adapters.files.yaml_source import read_values
from tarsrelease.bundle.checksum_parser import parse_checksums
from tarsrelease.model.outcome import Outcome, Status, Verdict
from tarsrelease.steps.verify import Readers, Scope, verify


def verified(folder: Path, *, checksums_only: bool = False) -> Outcome:
    return verify(
        str(folder),
        files=FolderFiles(folder),
        readers=Readers(read_manifest, read_rollout, read_values),
        clock=SystemClock(),
        scope=Scope(checksums_only=checksums_only, offline=True),
    )


def failures(outcome: Outcome) -> dict[str, str]:
    """The reason of each failed check, by its id."""
    return {check.id: check.reason for check in outcome.checks if check.status is Status.FAIL}


def list_again(folder: Path) -> None:
    """Write SHA256SUMS anew, as somebody who tampers would."""
    paths = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    )
    lines = [
        f"{hashlib.sha256((folder / path).read_bytes()).hexdigest()}  {path}\n" for path in paths
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    sources = write_sources(tmp_path)
    commit_all(sources.root)
    build_bundle(sources.source, "1.2.0", sources.out)
    return sources.out


def test_a_bundle_as_built_is_whole(bundle: Path) -> None:
    outcome = verified(bundle)
    assert outcome.verdict is Verdict.PROCEED, failures(outcome)
    assert outcome.release == "1.2.0"
    skipped = [check for check in outcome.checks if check.status is Status.SKIPPED]
    assert {check.id for check in skipped} == {
        "chart.values",
        "chart.render",
        "chart.images",
        "images.registry",
        "manifest.commit",
        "manifest.input",
        "manifest.previous",
        "migrations.lint",
        "signatures.attestation",
    }  # as the step was given no means to look further
    assert all(check.reason.startswith("NOT CHECKED") for check in skipped)


def append(path: str) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        with (folder / path).open("ab") as file:
            file.write(b"x")

    return tamper


def sums(change: Callable[[str], str]) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        path = folder / "SHA256SUMS"
        path.write_text(change(path.read_text()))

    return tamper


def link(name: str, target: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).symlink_to(target)


def replace_by_link(folder: Path) -> None:
    outside = folder.parent / "outside.md"
    (folder / "NOTES.md").rename(outside)
    (folder / "NOTES.md").symlink_to("../outside.md")


def fifo(folder: Path) -> None:
    (folder / "NOTES.md").unlink()
    os.mkfifo(folder / "NOTES.md")


SUMS_OF_NOTHING = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("tamper", "check", "said"),
    [
        (append("rollout.yaml"), "bundle.digest", "rollout.yaml was changed"),
        (append("demo-1.2.0.tgz"), "bundle.digest", "demo-1.2.0.tgz was changed"),
        (lambda f: (f / "NOTES.md").unlink(), "bundle.completeness", "NOTES.md is absent"),
        (lambda f: (f / "new").touch(), "bundle.completeness", "new is not listed"),
        (lambda f: (f / ".hidden").touch(), "bundle.completeness", ".hidden is not listed"),
        (lambda f: (f / "SHA256SUMS").unlink(), "bundle.checksums_form", "no SHA256SUMS"),
        (sums(lambda _: ""), "bundle.checksums_form", "is empty"),
        (sums(lambda s: s.rstrip("\n")), "bundle.checksums_form", "has no line feed"),
        (sums(lambda s: s + s.splitlines()[0] + "\n"), "bundle.checksums_form", "is listed twice"),
        (sums(lambda s: s.replace("  ", "\t", 1)), "bundle.checksums_form", "line 1 is malformed"),
        (
            sums(lambda s: s.replace("\n", "\r\n")),
            "bundle.checksums_form",
            "line 1 has a carriage return",
        ),
        (sums(lambda s: "# hello\n" + s), "bundle.checksums_form", "line 1 is malformed"),
        (
            sums(lambda s: s + f"{SUMS_OF_NOTHING}  ../x\n"),
            "bundle.checksums_form",
            "leaves the bundle",
        ),
        (
            sums(lambda s: s + f"{SUMS_OF_NOTHING}  /dev/null\n"),
            "bundle.checksums_form",
            "absolute",
        ),
        (
            sums(lambda s: s + f"{SUMS_OF_NOTHING}  absent\n"),
            "bundle.completeness",
            "absent is absent",
        ),
        (sums(lambda s: s.replace(s[:64], "0" * 64)), "bundle.digest", "was changed"),
        (link("out", "/etc/hostname"), "bundle.links", "leaves the bundle"),
        (link("nowhere", "not-there"), "bundle.links", "a broken link"),
        (link("round", "round"), "bundle.links", "a broken link"),
        (link("folder", "migrations"), "bundle.links", "a link to a folder"),
        (replace_by_link, "bundle.links", "leaves the bundle"),
        (fifo, "bundle.links", "neither a file nor a folder"),
    ],
)
def test_tampering_shows(
    bundle: Path, tamper: Callable[[Path], object], check: str, said: str
) -> None:
    tamper(bundle)
    for checksums_only in (False, True):
        outcome = verified(bundle, checksums_only=checksums_only)
        assert outcome.verdict is Verdict.NO_GO
        assert said in failures(outcome)[check]


def edit_manifest(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        path = folder / "manifest.production.json"
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    return tamper


def edit_chart(
    change: Callable[[dict[str, bytes]], object], **extra: str
) -> Callable[[Path], None]:
    """Repack the chart; `extra` is name and link target of a link to add."""

    def tamper(folder: Path) -> None:
        path = folder / "demo-1.2.0.tgz"
        with tarfile.open(path) as archive:
            members = {m.name: archive.extractfile(m) for m in archive.getmembers()}
            files = {name: file.read() for name, file in members.items() if file}
        change(files)
        with tarfile.open(path, "w:gz") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            for name, target in extra.items():
                member = tarfile.TarInfo(f"demo/{name}")
                member.type, member.linkname = tarfile.SYMTYPE, target
                archive.addfile(member)

    return tamper


def replaced(name: str, before: bytes, after: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        assert before in files[name]
        files[name] = files[name].replace(before, after)

    return change


@pytest.mark.parametrize(
    ("tamper", "check", "said"),
    [
        (
            lambda f: (f / "manifest.production.json").unlink(),
            "manifest.schema",
            "manifest.production.json is absent",
        ),
        (edit_manifest(lambda m: m.pop("images")), "manifest.schema", "images: is missing"),
        (edit_manifest(lambda m: m.update(extra=1)), "manifest.schema", "unknown key"),
        (edit_manifest(lambda m: m.update(version="1.2.1")), "manifest.agreement", "1.2.1"),
        (edit_manifest(lambda m: m.update(rollout="r.yaml")), "rollout.schema", "is absent"),
        (
            edit_manifest(lambda m: m["chart"].update(file="x.tgz")),  # type: ignore[attr-defined]
            "manifest.files",
            "x.tgz is named, but not in the bundle",
        ),
        (
            edit_manifest(
                lambda m: m["migrations"][0].update(sha256="0" * 64)  # type: ignore[index]
            ),
            "manifest.migrations",
            "the manifest pins 0000",
        ),
        (
            edit_manifest(lambda m: m["migrations"][0].update(order=2)),  # type: ignore[index]
            "manifest.migrations",
            "must count 1, 2, 3",
        ),
        (
            edit_manifest(
                lambda m: m["images"][0].update(digest="sha256:" + "b" * 64)  # type: ignore[index]
            ),
            "manifest.images",
            "images.web.digest is 'sha256:aaaa",
        ),
        (
            edit_manifest(lambda m: m["source"].update(clean=False)),  # type: ignore[attr-defined]
            "manifest.source",
            "uncommitted changes",
        ),
        (
            lambda f: (f / "rollout.yaml").write_text(
                (f / "rollout.yaml").read_text().replace("version: 1.2.0", "version: 1.2.1")
            ),
            "manifest.agreement",
            "rollout.yaml says 1.2.1",
        ),
        (
            edit_chart(replaced("demo/Chart.yaml", b'version: "1.2.0"', b'version: "9.9.9"')),
            "manifest.agreement",
            "Chart.yaml's version says 9.9.9",
        ),
        (
            edit_chart(replaced("demo/values.yaml", b"v1.2.0", b"latest")),
            "manifest.images",
            "images.web.tag is 'latest'",
        ),
        (
            edit_chart(lambda files: files.update({"evil/x": b""})),
            "chart.archive",
            "is outside demo/",
        ),
        (
            edit_chart(lambda _: None, link="/etc/passwd"),
            "chart.archive",
            "neither a file nor a folder",
        ),
        (
            lambda f: (f / "demo-1.2.0.tgz").write_bytes(b"no archive"),
            "chart.archive",
            "not a gzipped tar archive",
        ),
    ],
)
def test_a_bundle_that_was_listed_again_must_still_agree_with_itself(
    bundle: Path, tamper: Callable[[Path], object], check: str, said: str
) -> None:
    tamper(bundle)
    list_again(bundle)
    outcome = verified(bundle)
    assert outcome.verdict is Verdict.NO_GO
    found = failures(outcome)
    assert set(found) & {"bundle.digest", "bundle.completeness"} == set()
    assert said in found[check]
    assert verified(bundle, checksums_only=True).verdict is Verdict.PROCEED


def test_certification_may_stand_unlisted_but_must_be_whole_itself(bundle: Path) -> None:
    folder = bundle / "GA_CERTIFICATION"
    folder.mkdir()
    (folder / "certificate.json").write_text("{}")
    assert "certification.checksums_form" in failures(verified(bundle))
    list_again(folder)
    assert verified(bundle).verdict is Verdict.PROCEED
    (folder / "certificate.json").write_text("{ }")
    assert "certificate.json was changed" in failures(verified(bundle))["certification.digest"]


def test_any_folder_with_checksums_can_be_checked(tmp_path: Path) -> None:
    (tmp_path / "a name with spaces é").write_text("x")
    list_again(tmp_path)
    outcome = verified(tmp_path, checksums_only=True)
    assert outcome.verdict is Verdict.PROCEED
    assert any(check.status is Status.SKIPPED for check in outcome.checks)
    assert verified(tmp_path).verdict is Verdict.NO_GO  # without --checksums-only it is no bundle


def test_the_form_of_find_and_of_binary_mode_is_read() -> None:
    listed = parse_checksums(f"{'A' * 64} *./a/b\n".encode())
    assert listed.faults == ()
    assert listed.digests == {"a/b": "a" * 64}


def test_bytes_that_are_no_text_are_a_fault() -> None:
    assert parse_checksums(b"\xff\n").faults


def test_uncommitted_inputs_do_not_pass(tmp_path: Path) -> None:
    sources = write_sources(tmp_path)
    commit_all(sources.root)
    (sources.out / "NOTES.md").write_text("other")
    build_bundle(sources.source, "1.2.0", sources.out)
    assert "uncommitted" in failures(verified(sources.out))["manifest.source"]
    commit_all(sources.root)
    build_bundle(sources.source, "1.2.0", sources.out)
    assert verified(sources.out).verdict is Verdict.PROCEED
    assert git(sources.root, "status", "--porcelain").splitlines() != []  # the built files, still
