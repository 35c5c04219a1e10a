"""Steps work on a private copy of the listed bytes; other bytes are refused."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from verify_tampering import listed_again

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

from contexts import assignment

from tarsrelease.adapters.files.configuration import load_environment
from tarsrelease.adapters.files.private_bundle import private_copy
from tarsrelease.cli.session import Session
from tarsrelease.cli.settings import Settings
from tarsrelease.model.errors import RefusedError, UnreachableError, UsageError
from tarsrelease.model.journal import DeployFacts, Entry, Facts, Phase
from tarsrelease.model.outcome import Outcome, Status
from tarsrelease.model.release import Release
from tarsrelease.operations.migrations.release_phase import journaled
from tarsrelease.operations.snapshot import (
    check_identity,
    refuse_other_bytes,
    refuse_other_than_migrated,
)

ROOT = Path(__file__).parents[2]
OUTCOME = {
    "step": "migrate up",
    "release": "1.0.1",
    "environment": None,
    "verdict": "proceed",
    "exit_code": 0,
    "summary": "done",
    "started_at": "2026-01-01T00:00:00Z",
    "finished_at": "2026-01-01T00:00:00Z",
}


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


@pytest.fixture
def verified_and_loosened(bundle: Path) -> tuple[Release, Release]:
    verified = session(bundle).release
    text = (bundle / "rollout.yaml").read_text()
    (bundle / "rollout.yaml").write_text(text + "# loosened\n")
    listed_again(bundle)
    return verified, session(bundle).release


def entry(release: Release, action: str, facts: Facts) -> Entry:
    return Entry(
        at=datetime.now(UTC),
        run="r",
        release=release.version,
        step="test",
        action=action,
        phase=Phase.INTENT,
        facts=facts,
        identity=release.identity,
    )


class InMemory:
    def __init__(self, *entries: Entry) -> None:
        self.written = list(entries)

    def entries(self) -> list[Entry]:
        return self.written

    def append(self, new: Entry) -> None:
        self.written.append(new)


def test_migrate_records_the_identity_and_refuses_another_than_was_deployed(
    verified_and_loosened: tuple[Release, Release],
) -> None:
    verified, loosened = verified_and_loosened
    place = load_environment(str(ROOT / "environments/rehearsal.yaml"))
    journal = InMemory()
    done = Outcome.model_validate(OUTCOME)
    journaled(assignment(verified, place), journal, "expand", lambda: done)
    assert {each.identity for each in journal.written} == {verified.identity}
    refuse_other_than_migrated("deploying", verified, journal.written)
    with pytest.raises(RefusedError, match="expand migrations are those of"):
        refuse_other_than_migrated("deploying", loosened, journal.written)
    rolled_back = [*journal.written, entry(verified, "rollback", Facts())]
    refuse_other_than_migrated("deploying", loosened, rolled_back)

    def never() -> Outcome:
        raise AssertionError("the migration began")

    deployed = InMemory(entry(verified, "deploy", DeployFacts()))
    with pytest.raises(RefusedError, match="was deployed from"):
        journaled(assignment(loosened, place), deployed, "contract", never)
    assert len(deployed.written) == 1


def test_validate_compares_the_bundle_with_the_journal_before_it_runs_the_suite(
    verified_and_loosened: tuple[Release, Release],
) -> None:
    verified, loosened = verified_and_loosened
    deployed = [entry(verified, "deploy", DeployFacts())]

    def check(release: Release, entries: list[Entry]) -> Status:
        return check_identity(release, lambda: entries, "validation.identity").status

    assert check(verified, deployed) is Status.PASS
    assert check(verified, []) is Status.SKIPPED
    with pytest.raises(RefusedError, match="was deployed from"):
        check(loosened, deployed)

    def away() -> list[Entry]:
        raise UnreachableError(doing="asking", found="nobody", expected="one", next_step="wait")

    found = check_identity(verified, away, "validation.identity")
    assert found.status is Status.SKIPPED
    assert "cannot be read" in found.reason


def test_a_command_that_reads_may_choose_the_listed_bytes_only_at_first(bundle: Path) -> None:
    settings = Settings(release=bundle, environment=str(ROOT / "environments/rehearsal.yaml"))
    chosen, late = (Session(settings, changes=False) for _ in range(2))
    chosen.use_listed_bytes()
    assert chosen.release.identity is not None
    chosen.use_listed_bytes()
    assert late.release.identity is None
    with pytest.raises(RuntimeError, match="was read before"):
        late.use_listed_bytes()
    for each in (chosen, late):
        each.close()
