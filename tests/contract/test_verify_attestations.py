"""GitHub's artifact attestations: in-toto statements, under a root of trust of our own."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sigstore", reason="the extra [sigstore] is not installed")

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from attesting import Sigstore, Workflow
from bundle_samples import write_sources
from test_evidence_anchors import outcome

from tarsrelease.adapters.files.bundle_build import build_bundle
from tarsrelease.adapters.files.evidence_file import FILE, EvidenceFile
from tarsrelease.adapters.sigstore.attestations import SigstoreSignatures
from tarsrelease.cli import main
from tarsrelease.model.errors import UsageError
from tarsrelease.model.verification import Signed

OURS, OTHER = "a" * 64, "b" * 64
RELEASE = Workflow("demo-org/shared/.github/workflows/release.yml", "demo-org/demo")
SIGNED = Signed(f"{RELEASE.signer}@{RELEASE.ref}", RELEASE.repository, RELEASE.commit)


@pytest.fixture(scope="module")
def sigstore(tmp_path_factory: pytest.TempPathFactory) -> Sigstore:
    return Sigstore(tmp_path_factory.mktemp("tsa"))


def written(folder: Path, name: str, *documents: dict[str, Any]) -> Path:
    path = folder / name
    path.write_text("\n".join(json.dumps(document) for document in documents) + "\n")
    return path


def checked(
    folder: Path, sigstore: Sigstore, *attestations: dict[str, Any], digest: str = OURS
) -> Signed | str:
    return SigstoreSignatures(
        [written(folder, "a.json", *attestations)],
        repository=RELEASE.repository,
        workflow=RELEASE.signer,
        trusted_root=written(folder, "root.json", sigstore.trusted_root()),
    ).check(digest)


@pytest.mark.parametrize("stamped", [False, True], ids=["promised by the log", "timestamped"])
def test_it_holds_and_says_who_signed_and_what_it_was_built_from(
    tmp_path: Path, sigstore: Sigstore, stamped: bool
) -> None:
    attestation = sigstore.attest({"other": OTHER, "ours": OURS}, RELEASE, stamped=stamped)
    assert checked(tmp_path, sigstore, attestation) == SIGNED


def test_of_several_one_that_holds_is_enough(tmp_path: Path, sigstore: Sigstore) -> None:
    several = [
        sigstore.attest({"other": OTHER}, RELEASE),
        sigstore.attest({"ours": OURS}, Workflow("x/y/.github/workflows/z.yml", "x/y")),
        sigstore.attest({"ours": OURS}, RELEASE),
    ]
    assert checked(tmp_path, sigstore, *several) == SIGNED


@pytest.mark.parametrize(
    ("workflow", "said"),
    [
        (Workflow(RELEASE.signer, "demo-org/fork"), "OIDCSourceRepositoryURI does not match"),
        (Workflow(RELEASE.signer, "demo-org/demo2"), "OIDCSourceRepositoryURI does not match"),
        (Workflow("demo-org/demo/.github/workflows/test.yml", RELEASE.repository), "not by demo"),
        (Workflow(RELEASE.signer + "x", RELEASE.repository), "not by demo-org/shared"),
        (Workflow("evil/shared/.github/workflows/release.yml", RELEASE.repository), "not by demo"),
        (
            Workflow(RELEASE.signer, RELEASE.repository, issuer="https://gitlab.com"),
            "OIDCIssuerV2 does not match",
        ),
    ],
    ids=["a fork", "a longer name", "a test", "a longer file", "another owner", "another issuer"],
)
def test_by_another_repository_or_workflow_it_is_refused(
    tmp_path: Path, sigstore: Sigstore, workflow: Workflow, said: str
) -> None:
    found = checked(tmp_path, sigstore, sigstore.attest({"ours": OURS}, workflow))
    assert isinstance(found, str)
    assert said in found


def test_of_other_bytes_it_is_refused(tmp_path: Path, sigstore: Sigstore) -> None:
    found = checked(tmp_path, sigstore, sigstore.attest({"ours": OTHER}, RELEASE))
    assert found == f"none of 1 attestations is for sha256:{OURS}"


def put_in(attestation: dict[str, Any], before: str, after: str) -> None:
    """Change the envelope's payload; its signature stays as it was."""
    payload = base64.b64decode(attestation["dsseEnvelope"]["payload"]).decode()
    assert before in payload
    changed = payload.replace(before, after).encode()
    attestation["dsseEnvelope"]["payload"] = base64.b64encode(changed).decode()


def replayed(attestation: dict[str, Any]) -> None:
    put_in(attestation, OTHER, OURS)


def without_log(attestation: dict[str, Any]) -> None:
    attestation["verificationMaterial"]["tlogEntries"] = []


def without_promise(attestation: dict[str, Any]) -> None:
    attestation["verificationMaterial"]["tlogEntries"][0].pop("inclusionPromise")


def another_kind(attestation: dict[str, Any]) -> None:
    attestation["dsseEnvelope"]["payloadType"] = "text/plain"


def unsigned(attestation: dict[str, Any]) -> None:
    attestation["dsseEnvelope"]["signatures"] = []


@pytest.mark.parametrize("tamper", [replayed, without_log, without_promise, another_kind, unsigned])
def test_one_that_was_tampered_with_is_refused(
    tmp_path: Path, sigstore: Sigstore, tamper: Callable[[dict[str, Any]], None]
) -> None:
    """`replayed` is a signature of another artifact, under a payload that names ours."""
    attestation = sigstore.attest({"ours": OTHER if tamper is replayed else OURS}, RELEASE)
    tamper(attestation)
    found = checked(tmp_path, sigstore, attestation)
    assert isinstance(found, str)
    assert found.startswith("a.json: ")


def test_the_entry_of_another_attestation_is_refused(tmp_path: Path, sigstore: Sigstore) -> None:
    one, other = (sigstore.attest({"ours": OURS}, RELEASE) for _ in range(2))
    one["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"]
    found = checked(tmp_path, sigstore, one)
    assert "log entry" in str(found)


@pytest.mark.parametrize("stamped", [False, True], ids=["promised by the log", "timestamped"])
def test_a_signature_made_after_its_certificate_expired_is_refused(
    tmp_path: Path, sigstore: Sigstore, stamped: bool
) -> None:
    late = sigstore.attest(
        {"ours": OURS}, RELEASE, stamped=stamped, logged_after=timedelta(minutes=11)
    )
    assert "not valid at validation time" in str(checked(tmp_path, sigstore, late))


def test_a_statement_that_is_no_provenance_is_refused(tmp_path: Path, sigstore: Sigstore) -> None:
    """The same workflow may well have signed that the artifact failed its tests."""
    failed = "https://in-toto.io/attestation/test-result/v0.1"
    found = checked(tmp_path, sigstore, sigstore.attest({"ours": OURS}, RELEASE, predicate=failed))
    assert "test-result" in str(found)
    assert isinstance(found, str)


def test_signed_by_somebody_whom_the_root_does_not_trust(
    tmp_path: Path, sigstore: Sigstore
) -> None:
    stranger = Sigstore(tmp_path)
    found = checked(tmp_path, sigstore, stranger.attest({"ours": OURS}, RELEASE))
    assert isinstance(found, str)
    assert "failed to build" in found


def test_the_root_may_be_lines_as_gh_prints_them(tmp_path: Path, sigstore: Sigstore) -> None:
    """GitHub's own root, one of those lines, has no log: it vouches for nothing here."""
    stranger = Sigstore(tmp_path)
    no_log = stranger.trusted_root() | {"tlogs": []}
    lines = written(
        tmp_path, "roots.jsonl", stranger.trusted_root(), no_log, sigstore.trusted_root()
    )
    attestation = written(tmp_path, "a.json", sigstore.attest({"ours": OURS}, RELEASE))

    def by(root: Path) -> Signed | str:
        return SigstoreSignatures(
            [attestation],
            repository=RELEASE.repository,
            workflow=RELEASE.signer,
            trusted_root=root,
        ).check(OURS)

    assert by(lines) == SIGNED
    with pytest.raises(UsageError) as caught:
        by(written(tmp_path, "no-log.jsonl", no_log))
    assert "holds no root with a transparency log" in caught.value.detail.found
    assert "gh attestation verify" in caught.value.detail.next
    for content in ("", "{}", "[]", "{", '{"mediaType": "x"}'):
        path = tmp_path / "no-root.json"
        path.write_text(content)
        with pytest.raises(UsageError):
            by(path)


class Signing:
    """A bundle, and what the command says of it with these attestations."""

    def __init__(
        self, folder: Path, sigstore: Sigstore, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sources = write_sources(folder / "project")
        build_bundle(sources.source, "1.2.0", sources.out)
        self.bundle, self.folder, self.sigstore, self.capsys = sources.out, folder, sigstore, capsys
        self.images = json.loads((sources.out / "manifest.production.json").read_text())["images"]
        self.image = self.images[0]["digest"].removeprefix("sha256:")
        listed = (sources.out / "SHA256SUMS").read_text().splitlines()
        self.chart = next(line.split()[0] for line in listed if line.endswith(".tgz"))

    def verify(self, *attestations: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        arguments = {
            "--attestations": str(written(self.folder, "all.jsonl", *attestations)),
            "--trusted-root": str(written(self.folder, "root.json", self.sigstore.trusted_root())),
            "--repository": RELEASE.repository,
            "--signer-workflow": RELEASE.signer,
            "--require": "signatures",
            "--format": "json",
        }
        flat = [part for pair in arguments.items() for part in pair]
        before = {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        with pytest.raises(SystemExit) as ended:
            main(["verify", str(self.bundle), "--offline", *flat])
        after = {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        assert after == before, "nothing is written"
        return int(str(ended.value.code)), json.loads(self.capsys.readouterr().out)


@pytest.fixture
def signing(tmp_path: Path, sigstore: Sigstore, capsys: pytest.CaptureFixture[str]) -> Signing:
    return Signing(tmp_path, sigstore, capsys)


def test_the_command_requires_that_chart_and_images_are_signed(
    signing: Signing, sigstore: Sigstore
) -> None:
    code, outcome = signing.verify(
        sigstore.attest({"chart": signing.chart}, RELEASE),
        sigstore.attest({"image": signing.image}, RELEASE),
    )
    assert code == 0, outcome
    signed = [row for row in outcome["details"]["artifacts"] if row["signer"]]
    assert len(signed) == 1 + len(signing.images)
    assert {(row["signer"], row["built_from"]) for row in signed} == {
        (SIGNED.signer, f"{SIGNED.repository}@{SIGNED.commit}")
    }
    code, outcome = signing.verify(sigstore.attest({"chart": signing.chart}, RELEASE))
    assert code == 1
    failed = [check["reason"] for check in outcome["checks"] if check["status"] == "fail"]
    assert len(failed) == len(signing.images)
    assert signing.images[0]["name"] in failed[0]


FORK = Workflow(RELEASE.signer, "demo-org/fork")
TEST = Workflow("demo-org/demo/.github/workflows/test.yml", RELEASE.repository)
REPLAYS: dict[str, Callable[[Sigstore, str], dict[str, Any]]] = {
    "of the release before": lambda sigstore, _: sigstore.attest({"chart": OTHER}, RELEASE),
    "under another payload": lambda sigstore, ours: put_under(
        sigstore.attest({"chart": OTHER}, RELEASE), ours
    ),
    "of a fork": lambda sigstore, ours: sigstore.attest({"chart": ours}, FORK),
    "of another workflow": lambda sigstore, ours: sigstore.attest({"chart": ours}, TEST),
}


def put_under(attestation: dict[str, Any], ours: str) -> dict[str, Any]:
    """A signature of other bytes, under a payload that names ours."""
    put_in(attestation, OTHER, ours)
    return attestation


@pytest.mark.parametrize("replay", REPLAYS)
def test_a_replayed_attestation_is_a_no_of_the_whole_command(
    signing: Signing, sigstore: Sigstore, replay: str
) -> None:
    image = sigstore.attest({"image": signing.image}, RELEASE)
    code, outcome = signing.verify(REPLAYS[replay](sigstore, signing.chart), image)
    assert code == 1
    failed = [check["reason"] for check in outcome["checks"] if check["status"] == "fail"]
    assert len(failed) == 1
    assert failed[0].startswith("demo-1.2.0.tgz: ")
    [row] = [r for r in outcome["details"]["artifacts"] if r["artifact"] == "demo-1.2.0.tgz"]
    assert (row["result"], row["signer"]) == ("FAIL", None)


def test_report_evidence_compares_every_segment_with_the_attestation(
    tmp_path: Path, sigstore: Sigstore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Edited, dropped and forged segments are found, and the signer is named."""
    folder = tmp_path / "evidence"
    for job in ("verify", "deploy"):
        EvidenceFile(folder / job, "7-1", job).append(outcome(job))
    digests = {
        f"{job}/evidence.jsonl": hashlib.sha256((folder / job / FILE).read_bytes()).hexdigest()
        for job in ("verify", "deploy")
    }
    options = [
        *("--attestations", str(written(tmp_path, "a.jsonl", sigstore.attest(digests, RELEASE)))),
        *("--repository", RELEASE.repository, "--signer-workflow", RELEASE.signer),
        *("--trusted-root", str(written(tmp_path, "root.json", sigstore.trusted_root()))),
    ]

    def reported() -> tuple[int, dict[str, Any]]:
        with pytest.raises(SystemExit) as ended:
            main(["report", "evidence", str(folder), *options, "--format", "json"])
        assert isinstance(ended.value.code, int)
        return ended.value.code, json.loads(capsys.readouterr().out)

    code, said = reported()
    assert code == 0, said
    assert f"whole, compared with the attestation by {RELEASE.signer}@" in said["summary"]
    kept = (folder / "deploy" / FILE).read_bytes()
    (folder / "deploy" / FILE).unlink()
    code, said = reported()
    assert code == 1
    assert "missing: sha256:" in " ".join(check["reason"] for check in said["checks"])
    (folder / "deploy" / FILE).write_bytes(kept.replace(b"deploy", b"forged"))
    code, said = reported()
    assert code == 1
    (folder / "deploy" / FILE).write_bytes(kept)
    EvidenceFile(folder / "more", "7-1", "more").append(outcome("forged"))
    code, said = reported()
    assert code == 1
    assert "none of 1 attestations is for" in " ".join(c["reason"] for c in said["checks"])
