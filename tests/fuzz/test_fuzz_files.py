"""Every file that a person writes, mutated: a result or an error with exit code 2, never a bug."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzzing import EXAMPLES, MINUTES, damaged, long, mutated, short
from hypothesis import strategies as st

from tarsrelease.adapters.files.configuration import load_environment, load_release
from tarsrelease.adapters.files.evidence_file import FILE, EvidenceFile, read_segments
from tarsrelease.adapters.kubernetes.client import KubernetesApi
from tarsrelease.evidence.anchors import Anchors, covered_check
from tarsrelease.evidence.chain import prove, read_all
from tarsrelease.model.outcome import ExitCode, Outcome, Verdict
from tarsrelease.wiring.verification import Wishes, verified

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "release" / "v1_0_1"
ENVIRONMENTS = {
    name: ROOT / "environments" / f"{name}.yaml" for name in ("production", "rehearsal")
}
_VERIFIED = 5
"""Examples of a file whose whole bundle is verified, which takes half a second."""
KUBECONFIG = {
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
}


def as_yaml(document: Any) -> bytes:
    """YAML where it can be written, else JSON, which is YAML, too."""
    try:
        return yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "surrogatepass")
    except (yaml.YAMLError, ValueError):
        return json.dumps(document).encode("utf-8", "surrogatepass")


def files(valid: bytes) -> st.SearchStrategy[bytes]:
    """A YAML file with other values, or damaged as text."""
    return mutated(yaml.safe_load(valid)).map(as_yaml) | damaged(valid)


class Folder:
    """A bundle of its own; one file is exchanged, and SHA256SUMS written anew."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.bundle = shutil.copytree(BUNDLE, folder / "v1_0_1")
        self.environment = load_environment(str(ENVIRONMENTS["rehearsal"]))

    def environment_file(self, content: bytes) -> None:
        path = self.path / "e.yaml"
        path.write_bytes(content)
        load_environment(str(path))

    def exchanged(self, name: str, content: bytes) -> None:
        target = self.bundle / name
        before = target.read_bytes()
        lines = (BUNDLE / "SHA256SUMS").read_text().splitlines()
        digest = hashlib.sha256(content).hexdigest()
        listed = [f"{digest}  {name}" if line.endswith(f" {name}") else line for line in lines]
        try:
            target.write_bytes(content)
            (self.bundle / "SHA256SUMS").write_text("\n".join(listed) + "\n")
            outcome = verified(self.bundle, Wishes(offline=True))
            assert outcome.exit_code in (0, 1), outcome.summary
            load_release(self.bundle, self.environment)
        finally:
            target.write_bytes(before)
            shutil.copyfile(BUNDLE / "SHA256SUMS", self.bundle / "SHA256SUMS")

    def checksums(self, content: bytes) -> None:
        (self.bundle / "SHA256SUMS").write_bytes(content)
        try:
            for alone in (True, False):
                verified(self.bundle, Wishes(offline=True, checksums_only=alone))
        finally:
            shutil.copyfile(BUNDLE / "SHA256SUMS", self.bundle / "SHA256SUMS")

    def evidence(self, content: bytes) -> None:
        (self.path / "evidence").mkdir(exist_ok=True)
        (self.path / "evidence" / FILE).write_bytes(content)
        segments = read_segments(self.path / "evidence")
        prove(segments, ["0" * 64])
        covered_check(read_all(segments), Anchors(given=("0" * 64,)))

    def kubeconfig(self, content: bytes) -> None:
        path = self.path / "kubeconfig"
        path.write_bytes(content)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KUBECONFIG", str(path))
            KubernetesApi.connect(None, "tars")


def _evidence() -> bytes:
    import tempfile
    from datetime import UTC, datetime

    at = datetime(2026, 1, 1, tzinfo=UTC)
    outcome = Outcome(
        step="verify",
        release="1.0.1",
        environment=None,
        verdict=Verdict.PROCEED,
        exit_code=ExitCode.DONE,
        summary="done",
        started_at=at,
        finished_at=at,
    )
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(3):
            EvidenceFile(Path(folder), "r", "s").append(outcome)
        return (Path(folder) / FILE).read_bytes()


def _exchange(name: str) -> Callable[[Folder, bytes], None]:
    return lambda folder, content: folder.exchanged(name, content)


_BUNDLED = ("rollout.yaml", "values-canary.yaml", "manifest.production.json", "SHA256SUMS")
Case = tuple[Callable[[Folder, bytes], None], st.SearchStrategy[bytes]]
CASES: dict[str, Case] = {
    **{
        f"environments/{name}.yaml": (Folder.environment_file, files(path.read_bytes()))
        for name, path in ENVIRONMENTS.items()
    },
    **{name: (_exchange(name), files((BUNDLE / name).read_bytes())) for name in _BUNDLED[:-1]},
    "SHA256SUMS": (Folder.checksums, damaged((BUNDLE / "SHA256SUMS").read_bytes())),
    "evidence.jsonl": (Folder.evidence, damaged(_evidence())),
    "kubeconfig": (Folder.kubeconfig, files(as_yaml(KUBECONFIG))),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("name", CASES)
def test_a_file_with_anything_in_it_is_a_result_or_an_error(folder: Folder, name: str) -> None:
    act, values = CASES[name]
    few = _VERIFIED if name in _BUNDLED else EXAMPLES
    short(lambda content: act(folder, content), values, few)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", CASES)
def test_new_files_for_minutes(folder: Folder, name: str) -> None:
    act, values = CASES[name]
    share = MINUTES * 60 * 0.3 / len(CASES)
    assert long(lambda content: act(folder, content), values, share) > 0


def test_the_valid_files_are_taken(folder: Folder) -> None:
    for name, path in ENVIRONMENTS.items():
        assert load_environment(str(path)).name == name
    assert load_release(folder.bundle, folder.environment).version == "1.0.1"
