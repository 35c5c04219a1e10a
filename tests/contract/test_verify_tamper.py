"""The tamper matrix: whatever is done to a bundle, verify refuses it, names it, writes nothing."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
import tarfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from bundle_samples import commit_all, write_sources
from verify_tampering import (
    ZEROS,
    Tamper,
    changed,
    chart,
    cut,
    flipped,
    hard_linked,
    in_chart,
    linked,
    listed_again,
    manifest,
    packed,
    piped,
    renamed,
    replaced,
    sums,
    swapped,
    tar_of,
    then_listed,
    written,
)

from tarsrelease.adapters.files.bundle_build import build_bundle
from tarsrelease.cli import main

MANIFEST = "manifest.production.json"
ARCHIVE = "demo-1.2.0.tgz"
FILES = (
    "NOTES.md",
    "bundle.yaml",
    "demo-1.2.0.tgz",
    MANIFEST,
    "migrations/1.down.sql",
    "migrations/1.sql",
    "rollout.yaml",
    "values-canary.yaml",
)
LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
)

Case = tuple[str, Tamper, str]
"""A name, what is done, and what the answer must name."""

FOLDER: list[Case] = [
    *((f"one bit of {name}", flipped(name), name) for name in FILES),
    *((f"{name} cut off", cut(name), name) for name in FILES),
    *((f"{name} emptied", written(name, ""), name) for name in (ARCHIVE, MANIFEST)),
    *(
        (f"{name} removed", lambda folder, name=name: (folder / name).unlink(), name)
        for name in FILES
    ),
    ("two files swapped", swapped("migrations/1.sql", "migrations/1.down.sql"), "1.down.sql"),
    ("renamed", renamed("NOTES.md", "NOTES.txt"), "NOTES.txt"),
    ("renamed in case only", renamed("NOTES.md", "notes.md"), "notes.md"),
    ("an extra file", written("extra.txt", "x"), "extra.txt"),
    ("a hidden extra file", written(".hidden", "x"), ".hidden"),
    ("an extra file deep down", written("a/b/c", "x"), "a/b/c"),
    ("an unlisted second list", written("migrations/SHA256SUMS", "x"), "migrations/SHA256SUMS"),
    ("a link that leaves", linked("NOTES.md", "/etc/hostname"), "NOTES.md"),
    ("a link up", linked("NOTES.md", "../../outside"), "NOTES.md"),
    ("a link to nowhere", linked("new", "nowhere"), "new"),
    ("a link to itself", linked("new", "new"), "new"),
    ("a link to a folder", linked("new", "migrations"), "new"),
    ("a hard link", hard_linked("NOTES.md"), "NOTES.md"),
    ("a pipe", piped("NOTES.md"), "NOTES.md"),
    ("a folder for a file", lambda f: ((f / "NOTES.md").unlink(), (f / "NOTES.md").mkdir()),
     "NOTES.md"),
    ("a name that is not UTF-8", lambda f: (Path(os.fsdecode(os.fsencode(f) + b"/\xff"))).touch(),
     "\\xff"),
    ("certification without a list", written("GA_CERTIFICATION/x", "x"), "SHA256SUMS"),
    ("certification that does not match", lambda f: (
        written("GA_CERTIFICATION/x", "x")(f),
        written("GA_CERTIFICATION/SHA256SUMS", f"{ZEROS}  x\n")(f),
    ), "x was changed"),
]  # fmt: skip

LIST: list[Case] = [
    ("no list", lambda f: (f / "SHA256SUMS").unlink(), "SHA256SUMS"),
    ("a folder for a list", lambda f: ((f / "SHA256SUMS").unlink(), (f / "SHA256SUMS").mkdir()),
     "SHA256SUMS"),
    ("a link for a list", linked("SHA256SUMS", "/etc/hostname"), "SHA256SUMS"),
    ("an empty list", sums(lambda _: b""), "is empty"),
    ("a list of line feeds", sums(lambda _: b"\n\n"), "line 1"),
    ("a list cut in a line", sums(lambda s: s[:-20]), "has no line feed"),
    ("a list cut between lines", sums(lambda s: s[: s.rindex(b"\n", 0, -1) + 1]), "values-canary"),
    ("CRLF", sums(lambda s: s.replace(b"\n", b"\r\n")), "carriage return"),
    ("CR alone", sums(lambda s: s.replace(b"\n", b"\r")), "carriage return"),
    ("a byte order mark", sums(lambda s: b"\xef\xbb\xbf" + s), "byte order mark"),
    ("UTF-16", sums(lambda s: s.decode().encode("utf-16")), "byte order mark"),
    ("not UTF-8", sums(lambda s: s + ZEROS.encode() + b"  \xff\n"), "not UTF-8"),
    ("NUL", sums(lambda s: s.replace(b"NOTES.md", b"NOTES.md\0")), "NUL"),
    ("a huge line", sums(lambda s: s + b"x" * 2_000_000 + b"\n"), "malformed"),
    ("a huge list", sums(lambda s: s + b"x\n" * 9_000_000), "are not read"),
    ("100 000 malformed lines", sums(lambda s: s + b"x\n" * 100_000), "more lines are wrong"),
    ("100 000 absent files", sums(
        lambda s: s + b"".join(f"{ZEROS}  f{n}\n".encode() for n in range(100_000))
    ), "f0 is absent"),
    ("a line twice", sums(lambda s: s + s.splitlines(True)[0]), "is listed twice"),
    ("a path twice", sums(lambda s: s + f"{ZEROS}  ./NOTES.md\n".encode()), "is listed twice"),
    ("an absolute path", sums(lambda s: s + f"{ZEROS}  /dev/null\n".encode()), "/dev/null"),
    ("a path that leaves", sums(lambda s: s + f"{ZEROS}  a/../../x\n".encode()), "a/../../x"),
    ("a comment", sums(lambda s: b"# x\n" + s), "line 1"),
    ("MD5", sums(lambda s: s + b"MD5 (NOTES.md) = " + b"0" * 32 + b"\n"), "MD5"),
    ("SHA-1", sums(lambda s: s + b"0" * 40 + b"  NOTES.md\n"), "SHA-1"),
    ("SHA-512", sums(lambda s: s + b"SHA512 (NOTES.md) = " + b"0" * 128 + b"\n"), "SHA512"),
    ("a control character", sums(lambda s: s + f"{ZEROS}  a\x1b[2J\n".encode()), "x1b[2J"),
    ("a bad escape", sums(lambda s: s + f"\\{ZEROS}  a\\x\n".encode()), "escape"),
    ("a backslash", sums(lambda s: s + f"{ZEROS}  a\\..\\b\n".encode()), "backslash"),
    ("a digest of zeros", sums(lambda s: s.replace(s[:64], b"0" * 64)), "NOTES.md was changed"),
]  # fmt: skip


def second(data: dict[str, object], key: str) -> object:
    """The first item of a list, once more."""
    items = data[key]
    assert isinstance(items, list)
    items.append(items[0])
    return items


CONTENT: list[Case] = [
    ("a second manifest", then_listed(written("Manifest.Production.json", "{}")), "differ only"),
    ("a second manifest deep down", then_listed(
        lambda f: shutil.copy(f / MANIFEST, f / "migrations" / MANIFEST)
    ), f"migrations/{MANIFEST}"),
    ("a stranger, listed", then_listed(written("stranger", "x")), "stranger"),
    ("a name that only looks alike", then_listed(written("v\N{CYRILLIC SMALL LETTER A}lues", "x")),
     "u0430lues"),
    ("a name that reads backwards", then_listed(written("a\u202egpj.sh", "x")), "u202egpj.sh"),
    ("a line feed in a name", then_listed(written("a\nb", "x")), "a\\nb"),
    ("two names but for case", then_listed(written("notes.md", "x")), "notes.md"),
    ("version of the manifest", manifest(lambda m: m.update(version="1.2.1")), "1.2.1"),
    ("version of the chart entry", manifest(lambda m: m["chart"].update(version="1.2.1")), "1.2.1"),
    ("version in a tag", manifest(lambda m: m["images"][0].update(tag="v1.1.0")),
     "the tag of registry.example/demo/web says v1.1.0"),
    ("version of the rollout", then_listed(replaced("rollout.yaml", "version: 1.2.0",
     "version: 1.2.1")), "rollout.yaml says 1.2.1"),
    ("version of bundle.yaml", then_listed(replaced("bundle.yaml", "version: 1.2.0",
     "version: 1.2.1")), "version is '1.2.1' in bundle.yaml"),
    ("version of Chart.yaml", in_chart("demo/Chart.yaml", 'version: "1.2.0"', 'version: "2.0.0"'),
     "Chart.yaml's version says 2.0.0"),
    ("appVersion", in_chart("demo/Chart.yaml", 'appVersion: "1.2.0"', 'appVersion: "2.0.0"'),
     "Chart.yaml's appVersion says 2.0.0"),
    ("version in the archive's name", then_listed(lambda f: (
        renamed(ARCHIVE, "demo-1.1.0.tgz")(f),
        replaced(MANIFEST, ARCHIVE, "demo-1.1.0.tgz")(f),
        replaced("rollout.yaml", ARCHIVE, "demo-1.1.0.tgz")(f),
    )), "demo-1.1.0.tgz"),
    ("version in a migration's name", then_listed(lambda f: (
        renamed("migrations/1.sql", "migrations/v1_1_0_add.sql")(f),
        replaced(MANIFEST, "migrations/1.sql", "migrations/v1_1_0_add.sql")(f),
        replaced("bundle.yaml", "migrations/1.sql", "migrations/v1_1_0_add.sql")(f),
    )), "v1_1_0_add.sql"),
    ("another application", manifest(lambda m: m.update(application="other")), "'other'"),
    ("a least version beyond this one", manifest(lambda m: m.update(min_previous_version="1.3.0")),
     "min_previous_version is 1.3.0"),
    ("a least version below bundle.yaml's", manifest(
        lambda m: m.update(min_previous_version="1.0.0")), "'1.1.0' in bundle.yaml"),
    ("a hotfix less", manifest(lambda m: m.update(hotfixes=[])), "DEMO-1 is only in bundle.yaml"),
    ("a hotfix twice", manifest(lambda m: second(m, "hotfixes")), "DEMO-1 is listed twice"),
    ("another title", manifest(lambda m: m["hotfixes"][0].update(title="x")), "DEMO-1: title"),
    ("another digest", manifest(lambda m: m["images"][0].update(digest="sha256:" + "b" * 64)),
     "images: web: digest"),
    ("a tag that clears the screen", manifest(lambda m: m["images"][0].update(tag="\x1b[2J")),
     "\\x1b[2J"),
    ("a digest of another algorithm", manifest(
        lambda m: m["images"][0].update(digest="md5:" + "b" * 32)), "images[0].digest"),
    ("an image twice", manifest(lambda m: second(m, "images")), "web is listed twice"),
    ("no images", manifest(lambda m: m.update(images=[])), "images"),
    ("a migration's content", then_listed(written("migrations/1.sql", "SELECT 2;\n")),
     "migrations/1.sql: the manifest pins"),
    ("a gap in the order", manifest(lambda m: m["migrations"][0].update(order=2)), "1, 2, 3"),
    ("a chart that leaves", manifest(lambda m: m["chart"].update(file="../x.tgz")), "../x.tgz"),
    ("a file that is not there", manifest(lambda m: m.update(canary_values="other.yaml")),
     "other.yaml is named"),
    ("an unknown key", manifest(lambda m: m.update(extra=1)), "extra"),
    ("an unclean tree", manifest(lambda m: m["source"].update(clean=False)), "uncommitted"),
    ("another tag", manifest(lambda m: m["source"].update(tag="v1.1.0")), "the tag is v1.1.0"),
    ("a tag that is not there", manifest(lambda m: m["source"].update(tag="v1.2.0")),
     "has no tag"),
    ("bundle.yaml of no commit", then_listed(replaced("bundle.yaml", "files: [", "files:  [")),
     "bundle.yaml differs from commit"),
    ("a manifest in YAML", then_listed(written(MANIFEST, "schema: x\n")), "is not JSON"),
    ("a manifest with a byte order mark", then_listed(
        changed(MANIFEST, lambda c: b"\xef\xbb\xbf" + c)), f"{MANIFEST}: begins with a byte"),
    ("a manifest with a NUL", then_listed(changed(MANIFEST, lambda c: c[:-2] + b"\0" + c[-2:])),
     f"{MANIFEST}: has a NUL"),
    ("a manifest that is not UTF-8", then_listed(written(MANIFEST, b'{"a": "\xff"}')), "not UTF-8"),
    ("a deep manifest", then_listed(written(MANIFEST, "[" * 100_000 + "]" * 100_000)), "deep"),
    ("a key twice", then_listed(changed(MANIFEST, lambda c: c.replace(
        b'"version"', b'"version": "9.9.9", "version"', 1))), "duplicate key"),
    ("a manifest of NaN", then_listed(written(MANIFEST, '{"version": NaN}')), "NaN"),
    ("a manifest of a list", then_listed(written(MANIFEST, "[]")), MANIFEST),
    ("a huge manifest", then_listed(changed(MANIFEST, lambda c: c + b" " * 300_000)),
     "are not read"),
    ("a rollout that expands", then_listed(written("rollout.yaml", LAUGHS)), "aliases"),
    ("a rollout that contains itself", then_listed(written("rollout.yaml", "a: &a [*a]\n")),
     "itself"),
    ("a rollout with a tag", then_listed(written("rollout.yaml", "a: !!python/object:os.x {}\n")),
     "rollout.yaml"),
    ("a canary's values so deep that a parser dies", then_listed(
        written("values-canary.yaml", "a:\n  " + "- " * 100_000 + "x\n")),
     "values-canary.yaml:2: nested deeper"),
    ("a canary's values that expand", then_listed(written("values-canary.yaml", LAUGHS)),
     "once aliases are followed"),
    ("a canary's values that contain themselves", then_listed(
        written("values-canary.yaml", "a: &a\n  b: [*a]\n")), "values-canary.yaml:2: an alias"),
    ("a canary's values of a list", then_listed(written("values-canary.yaml", "[]\n")),
     "values-canary.yaml"),
    ("SQL that does not parse", then_listed(written("migrations/1.down.sql", "DROP FOO BAR;\n")),
     "migrations/1.down.sql:1"),
    ("SQL for psql alone", then_listed(written("migrations/1.down.sql", "\\i /etc/passwd\n")),
     "migrations/1.down.sql:1"),
    ("SQL that blocks", then_listed(written("migrations/1.down.sql", "VACUUM FULL missions;\n")),
     "vacuum-full"),
    ("no bundle.yaml", then_listed(lambda f: (f / "bundle.yaml").unlink()), "bundle.yaml"),
]  # fmt: skip

ARCHIVES: list[Case] = [
    ("path traversal", chart(lambda m: [*m, ("demo/../../evil", b"x")]), "demo/../../evil"),
    ("an absolute member", chart(lambda m: [*m, ("/etc/evil", b"x")]), "/etc/evil"),
    ("a link", chart(lambda m: [*m, ("demo/link", "/etc/passwd")]), "demo/link"),
    ("a hard link in it", chart(lambda m: [*m, ("demo/link", "demo/Chart.yaml")], tarfile.LNKTYPE),
     "hard link"),
    ("a device", chart(lambda m: [*m, ("demo/null", None)]), "a device"),
    ("Chart.yaml twice", chart(lambda m: [*m, ("demo/Chart.yaml", b"name: evil\n")]),
     "'demo/Chart.yaml' is there twice"),
    ("Chart.yaml by another way", chart(lambda m: [*m, ("demo/./Chart.yaml", b"name: evil\n")]),
     "demo/./Chart.yaml"),
    ("Chart.yaml in capitals", chart(lambda m: [*m, ("demo/CHART.yaml", b"name: evil\n")]),
     "demo/CHART.yaml"),
    ("no Chart.yaml", chart(lambda m: [one for one in m if one[0] != "demo/Chart.yaml"]),
     "demo/Chart.yaml is missing"),
    ("another root", chart(lambda m: [*m, ("evil/x", b"x")]), "evil/x"),
    ("a backslash in a member", chart(lambda m: [*m, ("demo\\..\\x", b"x")]), "demo"),
    ("a decompression bomb", chart(lambda m: [*m, ("demo/big", bytes(64 * 2**20))]), "bomb"),
    ("a large member", chart(lambda m: [*m, ("demo/big", bytes(6 * 2**20))]), "demo/big"),
    ("too many members", chart(lambda m: [*m, *((f"demo/f{n}", b"") for n in range(10_001))]),
     "10000 files"),
    ("a subchart with a link", chart(
        lambda m: [*m, ("demo/charts/sub.tgz", gzip.compress(tar_of([("sub/x", "/etc/passwd")])))]
    ), "demo/charts/sub.tgz"),
    ("bytes after the gzip", packed(lambda c: c + b"x"), "data after the end"),
    ("a second gzip", packed(lambda c: c + gzip.compress(b"x")), "data after the end"),
    ("bytes after the archive", packed(
        lambda c: gzip.compress(gzip.decompress(c) + tar_of([("demo/x", b"x")]))
    ), "has data after its end"),
    ("a gzip cut off", packed(lambda c: c[:-4]), "is truncated"),
    ("a gzip of nothing", packed(lambda _: gzip.compress(b"")), ARCHIVE),
    ("no gzip", packed(lambda _: b"PK\x03\x04"), "not a gzipped tar archive"),
    ("values that expand", in_chart("demo/values.yaml", "replicas: 2", f"replicas: 2\n{LAUGHS}"),
     "once aliases are followed"),
    ("values so deep that a parser dies", in_chart(
        "demo/values.yaml", "replicas: 2", "replicas: " + "[" * 100_000), "nested deeper than 50"),
    ("a Chart.yaml that contains itself", in_chart(
        "demo/Chart.yaml", "name: demo", "name: demo\na: &a [*a]"), "demo/Chart.yaml"),
    ("values in Latin-1", in_chart("demo/values.yaml", "replicas: 2", "replicas: 2 # \udcff"),
     "demo/values.yaml"),
    ("values that the schema refuses", in_chart("demo/values.yaml", "replicas: 2", "replicas: 0"),
     "$.replicas"),
    ("a schema from elsewhere", in_chart("demo/values.schema.json", '"type": "object",',
     '"$ref": "http://127.0.0.1:9/x.json",'), "refers to what is not in it"),
    ("an image of nobody", in_chart("demo/values.yaml", "images:\n",
     "images:\n  other: {repository: x}\n"), "images.other"),
]  # fmt: skip

CASES = [*FOLDER, *LIST, *CONTENT, *ARCHIVES]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in a repository, with the bundle committed as it was built."""
    sources = write_sources(tmp_path_factory.mktemp("built") / "project")
    commit_all(sources.root)
    build_bundle(sources.source, "1.2.0", sources.out)
    return sources.root


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of whatever lies in a folder, by path."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and standard output of ``tarsrelease verify``."""
    with pytest.raises(SystemExit) as ended:
        main(["verify", *arguments])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert isinstance(ended.value.code, int)
    return ended.value.code, printed.out


def test_the_matrix_is_wide_enough() -> None:
    names = [name for name, _, _ in CASES]
    assert len(names) == len(set(names))
    assert len(names) >= 60


@pytest.mark.parametrize(
    ("tamper", "named"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_it_is_refused_and_nothing_is_written(
    built: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tamper: Tamper,
    named: str,
) -> None:
    shutil.copytree(built, tmp_path / "project")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(home))
    monkeypatch.setenv("TARSRELEASE_HELM", "no-helm")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "project/release/v1_2_0"
    tamper(folder)
    before = everything(tmp_path)
    code, out = answer(
        capsys, str(folder), "--offline", "--format", "json", "--evidence", "evidence"
    )
    assert code in (1, 2)
    outcome = json.loads(out)
    assert all(
        check["reason"].replace("\n", "").isprintable() for check in outcome["checks"]
    )  # nothing in a bundle can move the reader's cursor
    failed = [check["reason"] for check in outcome["checks"] if check["status"] == "fail"]
    assert named in "\n".join(failed)
    after = everything(tmp_path)
    assert {path for path in after if after[path] != before.get(path)} == {
        str(path) for path in (tmp_path / "evidence").rglob("*") if path.is_file()
    }
    assert not before.keys() - after.keys()


def test_the_bundle_that_nobody_touched_passes(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without this, refusing everything would pass the whole matrix."""
    code, out = answer(capsys, str(built / "release/v1_2_0"), "--offline", "--format", "json")
    assert code == 0, out
    listed_again(built / "release/v1_2_0")
    assert answer(capsys, str(built / "release/v1_2_0"), "--offline")[0] == 0


@pytest.mark.parametrize("folder", ["absent", "file", "a" * 5000], ids=["absent", "a file", "long"])
def test_what_is_no_folder_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    (tmp_path / "file").touch()
    code, _ = answer(capsys, str(tmp_path / folder), "--offline", "--format", "json")
    assert code == 2


def test_a_bundle_that_is_not_there_is_answered_with_those_that_are(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = answer(capsys, str(built / "release/v9_9_9"), "--offline", "--format", "json")
    assert code == 2
    assert str(built / "release/v1_2_0") in json.loads(out)["error"]["next"]


def test_the_folders_own_version_counts(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(built / "release/v1_2_0", tmp_path / "v1_1_0")
    code, out = answer(capsys, str(tmp_path / "v1_1_0"), "--offline")
    assert code == 1
    assert "the folder v1_1_0 says 1.1.0" in out


def test_a_newest_bundle_that_cannot_be_read_is_not_passed_over(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(built / "release", tmp_path / "release")
    monkeypatch.chdir(tmp_path)
    assert answer(capsys, "--offline")[0] == 0
    for content in ("{", "[]", "{}", "\0", "[" * 100_000):
        written(f"release/v1_3_0/{MANIFEST}", content)(tmp_path)
        code, out = answer(capsys, "--offline", "--format", "json")
        assert code == 2
        assert f"release/v1_3_0/{MANIFEST} has no version" in out


@pytest.mark.parametrize("group", ["images", "signatures", "chart", "previous"])
def test_what_is_required_may_not_be_left_unchecked(
    built: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    group: str,
) -> None:
    monkeypatch.setenv("TARSRELEASE_HELM", "no-helm")
    folder = str(built / "release/v1_2_0")
    code, out = answer(capsys, folder, "--offline", "--require", group)
    assert code == 1
    assert f"--require {group} requires it" in out


def test_an_older_version_than_asked_for_runs(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(built / "release/v1_2_0")
    for running, expected in (("1.1.0", 0), ("1.1.0-rc.1", 1), ("1.0.9", 1), ("x", 1)):
        assert answer(capsys, folder, "--offline", "--running", running)[0] == expected
