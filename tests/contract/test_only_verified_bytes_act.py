"""Steps work on a private copy of the listed bytes; other bytes are refused."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from verify_tampering import listed_again

from tarsrelease.adapters.files.private_bundle import private_copy
from tarsrelease.cli.session import Session
from tarsrelease.cli.settings import Settings
from tarsrelease.model.errors import RefusedError, UsageError
from tarsrelease.model.journal import DeployFacts, Entry, Phase
from tarsrelease.operations.snapshot import refuse_other_bytes

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return shutil.copytree(ROOT / "release/v1_0_1", tmp_path / "v1_0_1")


def session(bundle: Path) -> Session:
    place = str(ROOT / "environments/rehearsal.yaml")
    return Session(Settings(release=bundle, environment=place))


def test_what_is_exchanged_after_the_check_is_not_used(bundle: Path) -> None:
    found = session(bundle)
    release = found.release
    before = Path(release.chart).read_bytes()
    assert before == (bundle / release.manifest.chart.file).read_bytes()
    (bundle / release.manifest.chart.file).write_bytes(b"another chart")
    (bundle / "rollout.yaml").write_text("stages: []\n")
    assert Path(release.chart).read_bytes() == before
    assert not Path(release.folder).is_relative_to(bundle)
    assert Path(release.folder).stat().st_mode & 0o077 == 0
    assert release.directory == str(bundle)
    found.close()
    assert not Path(release.folder).exists()


@pytest.mark.parametrize("name", ["tars-1.0.1.tgz", "rollout.yaml", "values-canary.yaml"])
def test_a_file_that_is_not_as_listed_is_refused(bundle: Path, name: str) -> None:
    path = bundle / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(UsageError, match="is not the file that SHA256SUMS lists"):
        _ = session(bundle).release


def test_a_bundle_without_a_list_is_refused(bundle: Path) -> None:
    (bundle / "SHA256SUMS").unlink()
    with pytest.raises(UsageError, match="SHA256SUMS"):
        _ = session(bundle).release


def test_a_link_out_of_the_bundle_is_not_followed(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes((bundle / "rollout.yaml").read_bytes())
    (bundle / "rollout.yaml").unlink()
    (bundle / "rollout.yaml").symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError, match=r"rollout\.yaml is missing"), private_copy(bundle):
        pass


def test_a_mistake_in_the_rollout_names_the_bundles_own_file(bundle: Path) -> None:
    (bundle / "rollout.yaml").write_text("stagez: []\n")
    listed_again(bundle)
    with pytest.raises(UsageError) as caught:
        _ = session(bundle).release
    assert f"{bundle}/rollout.yaml" in caught.value.detail.found


def test_a_bundle_that_was_loosened_and_listed_again_is_another(bundle: Path) -> None:
    verified = session(bundle).release
    text = (bundle / "rollout.yaml").read_text()
    (bundle / "rollout.yaml").write_text(text + "# loosened\n")
    listed_again(bundle)
    loosened = session(bundle).release
    assert verified.identity != loosened.identity
    deployed = Entry(
        at=datetime.now(UTC),
        run="r",
        release=verified.version,
        step="canary deploy",
        action="deploy",
        phase=Phase.INTENT,
        facts=DeployFacts(),
        identity=verified.identity,
    )
    refuse_other_bytes("promoting", verified, [deployed])
    with pytest.raises(RefusedError, match="was deployed from"):
        refuse_other_bytes("promoting", loosened, [deployed])
