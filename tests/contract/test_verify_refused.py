"""What lies outside of the bundle: with --require, each lie of a registry is a no of the whole
command, that names the artifact and writes nothing. (Attestations: test_verify_attestations.)"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from bundle_samples import write_sources
from test_verify_lying_registry import (
    ARM,
    CONFIG,
    INDEX,
    Liar,
    digest,
    honest,
    liar,
    manifest_of,
    text,
    with_entry,
)

from tarsrelease.adapters.files.bundle_build import build_bundle
from tarsrelease.cli import main
from tarsrelease.model.verification import INDEXES, MANIFESTS

__all__ = ["liar"]

WRONG = "text/html"
ARM_MANIFEST = text(manifest_of(ARM))


def nothing(_: Liar) -> None:
    """The registry says what is true."""


def another_platform(liar: Liar) -> None:
    """What the manifest pins is a manifest for arm64 alone."""
    liar.says("manifests/v1.2.0", ARM_MANIFEST, MANIFESTS[0])
    liar.says(f"blobs/{digest(ARM)}", ARM, "application/octet-stream")


def another_index(liar: Liar) -> None:
    """The tag was moved after the bundle was built."""
    liar.says("manifests/v1.2.0", text(with_entry(size=1)), INDEXES[0])


def wrong_type(liar: Liar) -> None:
    liar.says("manifests/v1.2.0", text(INDEX), WRONG)


def lying_header(liar: Liar) -> None:
    liar.says("manifests/v1.2.0", text(INDEX), INDEXES[0], Docker_Content_Digest=digest(b"x"))


def other_bytes(liar: Liar) -> None:
    """The right header over other bytes."""
    changed = text({**INDEX, "annotations": {"a": "b"}})
    liar.says("manifests/v1.2.0", changed, INDEXES[0], Docker_Content_Digest=digest(text(INDEX)))


def no_tag(liar: Liar) -> None:
    del liar.answers["/v2/demo/web/manifests/v1.2.0"]


def other_configuration(liar: Liar) -> None:
    liar.says(f"blobs/{digest(CONFIG)}", ARM, "application/octet-stream")


def expired_token(liar: Liar) -> None:
    """Every token that is given is refused as soon as it is used."""
    challenge = f'Bearer realm="http://{liar.host}/token",service="x"'
    liar.answers["/token"] = (200, {}, text({"token": "expired"}))
    for path in [path for path in liar.answers if path.startswith("/v2/")]:
        liar.answers[path] = (401, {"WWW-Authenticate": challenge}, b"")


def out_of_order(liar: Liar) -> None:
    for path in liar.answers:
        liar.answers[path] = (503, {}, b"")


LIES = (
    another_platform,
    another_index,
    wrong_type,
    lying_header,
    other_bytes,
    no_tag,
    other_configuration,
    expired_token,
    out_of_order,
)


@pytest.mark.parametrize("lie", [nothing, *LIES], ids=lambda lie: lie.__name__)
def test_a_registry_that_lies_is_a_no(
    liar: Liar,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lie: Callable[[Liar], None],
) -> None:
    pinned = digest(ARM_MANIFEST if lie is another_platform else honest(liar))
    liar.answers["/v2/demo/web/manifests/v1.2.0"] = liar.answers.get(
        "/v2/demo/web/manifests/v1", (404, {}, b"")
    )
    lie(liar)
    sources = write_sources(tmp_path / "project")
    described = (sources.out / "bundle.yaml").read_text()
    described = described.replace("registry.example", liar.host)
    (sources.out / "bundle.yaml").write_text(described.replace(f"sha256:{'a' * 64}", pinned))
    build_bundle(sources.source, "1.2.0", sources.out)
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("TARSRELEASE_HELM", "no-helm")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(sources.out), "--require", "images", "--format", "json"])
    outcome = json.loads(capsys.readouterr().out)
    failed = [check["reason"] for check in outcome["checks"] if check["status"] == "fail"]
    assert sorted(tmp_path.rglob("*")) == before
    if lie is nothing:
        assert (ended.value.code, failed) == (0, [])
        return
    assert ended.value.code == 1
    assert len(failed) == 1
    assert f"{liar.host}" in failed[0]
    assert "demo/web" in failed[0] or lie is out_of_order
    rows = {row["artifact"]: row["result"] for row in outcome["details"]["artifacts"]}
    unread = lie in (expired_token, out_of_order)
    assert rows[f"{liar.host}/demo/web:v1.2.0"] == ("NOT CHECKED" if unread else "FAIL")
    said = "1 required checks could not be made" if unread else "checks failed"
    assert said in outcome["summary"]
