"""signatures.attestation on a real signature from the public log; nothing is asked for it."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sigstore", reason="the extra [sigstore] is not installed")

from tarsrelease.adapters.sigstore.attestations import SigstoreSignatures, subjects
from tarsrelease.model.errors import UsageError
from tarsrelease.model.verification import Signed

FILE = Path(__file__).parent / "attestations/rfc8785-0.1.2.sigstore.json"
DIGEST = "c4e92e9ecc828bef2aa7dba1de8ac983511f7532a0df11c770d39099a25cf201"
REPOSITORY = "trailofbits/rfc8785.py"
WORKFLOW = f"{REPOSITORY}/.github/workflows/release.yml"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


def check(
    path: Path = FILE,
    digest: str = DIGEST,
    repository: str = REPOSITORY,
    workflow: str = WORKFLOW,
) -> Signed | str:
    return SigstoreSignatures([path], repository=repository, workflow=workflow).check(digest)


def test_it_holds_and_says_who_signed(tmp_path: Path) -> None:
    assert check() == Signed(
        signer=f"{WORKFLOW}@refs/tags/v0.1.2",
        repository=REPOSITORY,
        commit="d8b4a6445f38c48b9137a8099706d9b8073146e4",
    )
    assert not (tmp_path / "home").exists()  # nothing is written, not even a cache


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"digest": "0" * 64}, "none of 1 attestations is for sha256:0000"),
        ({"repository": "trailofbits/other"}, "OIDCSourceRepositoryURI does not match"),
        ({"workflow": WORKFLOW.replace("release", "test")}, "signed by https://github.com/"),
        ({"workflow": WORKFLOW[:-1]}, "signed by https://github.com/"),
        ({"workflow": "evil/x/.github/workflows/release.yml"}, "not by evil/x"),
    ],
)
def test_of_other_bytes_repository_or_workflow_it_is_refused(
    changes: dict[str, str], said: str
) -> None:
    found = check(**changes)  # type: ignore[arg-type]
    assert isinstance(found, str)
    assert said in found


def replayed(data: dict[str, Any]) -> None:
    """The signature of other bytes, under a digest that is claimed to be ours."""
    data["messageSignature"]["messageDigest"]["digest"] = base64.b64encode(bytes(32)).decode()


def flipped_signature(data: dict[str, Any]) -> None:
    raw = bytearray(base64.b64decode(data["messageSignature"]["signature"]))
    raw[-1] ^= 1
    data["messageSignature"]["signature"] = base64.b64encode(raw).decode()


def no_log(data: dict[str, Any]) -> None:
    data["verificationMaterial"]["tlogEntries"] = []


def later(data: dict[str, Any]) -> None:
    entry = data["verificationMaterial"]["tlogEntries"][0]
    entry["integratedTime"] = str(int(entry["integratedTime"]) + 86400)


def other_body(data: dict[str, Any]) -> None:
    entry = data["verificationMaterial"]["tlogEntries"][0]
    body = base64.b64decode(entry["canonicalizedBody"]).replace(b"c4e92e9e", b"00000000")
    entry["canonicalizedBody"] = base64.b64encode(body).decode()


@pytest.mark.parametrize(
    ("tamper", "digest"),
    [
        (replayed, "0" * 64),
        (flipped_signature, DIGEST),
        (no_log, DIGEST),
        (later, DIGEST),
        (other_body, DIGEST),
    ],
)
def test_a_tampered_one_is_refused(
    tmp_path: Path, tamper: Callable[[dict[str, Any]], None], digest: str
) -> None:
    data = json.loads(FILE.read_text())
    tamper(data)
    path = tmp_path / "tampered.sigstore.json"
    path.write_text(json.dumps(data))
    found = check(path, digest)
    assert isinstance(found, str)
    assert found.startswith("tampered.sigstore.json: ")


@pytest.mark.parametrize("content", ["", "[]", "{", "\0", "[" * 100_000])
def test_what_is_no_attestation_is_wrong_usage(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(UsageError):
        check(path)


def test_a_folder_and_json_lines_are_read(tmp_path: Path) -> None:
    line = json.dumps(json.loads(FILE.read_text()))
    (tmp_path / "a.jsonl").write_text(f"{{}}\n{line}\n")
    assert isinstance(check(tmp_path), Signed)


def test_subjects_of_a_statement() -> None:
    statement = {"subject": [{"digest": {"sha256": "a"}}, {"digest": {"sha512": "b"}}]}
    assert subjects(json.dumps(statement).encode()) == {"a"}
    for other in (b"", b"[]", b"{}", b'{"subject": [1]}', b'{"subject": null}'):
        assert subjects(other) == set()
