"""Evidence against heads kept elsewhere: edited, dropped, forged, replayed, written anew."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tarsrelease.adapters.files.evidence_file import FILE, EvidenceFile, read_segments
from tarsrelease.cli.evidence_anchors import _good
from tarsrelease.evidence.anchors import Anchors, covered_check, covered_records, journal_heads
from tarsrelease.evidence.chain import prove, read_all
from tarsrelease.model.journal import DeployFacts, Entry, Facts, Phase
from tarsrelease.model.outcome import ExitCode, Outcome, Status, Verdict

T = datetime(2026, 1, 1, tzinfo=UTC)


def outcome(step: str) -> Outcome:
    return Outcome(
        step=step,
        release="1.0.1",
        environment=None,
        verdict=Verdict.PROCEED,
        exit_code=ExitCode.DONE,
        summary=step,
        started_at=T,
        finished_at=T,
    )


class Day:
    """A run that records outcomes and writes the journal as the steps do."""

    def __init__(self, folder: Path, run: str = "7-1") -> None:
        self.evidence = EvidenceFile(folder, run, run)
        self.run = run
        self.journal: list[Entry] = []

    def step(self, name: str) -> None:
        action = "deploy" if name == "deploy" else "gate"
        self.journal.append(
            Entry(
                at=T,
                run=self.run,
                release="1.0.1",
                step=name,
                action=action,
                phase=Phase.INTENT,
                facts=DeployFacts() if action == "deploy" else Facts(),
                evidence=self.evidence.heads(),
            )
        )
        self.evidence.append(outcome(name))


@pytest.fixture
def day(tmp_path: Path) -> Day:
    found = Day(tmp_path)
    for name in ("verify", "deploy", "gate 10", "promote"):
        found.step(name)
    return found


def against_journal(folder: Path, journal: list[Entry]) -> tuple[bool, str]:
    """Whether nothing is wrong, and what the report would say."""
    segments = read_segments(folder)
    read = read_all(segments)
    runs = {record.run for segment in read for record in segment.records}
    heads, check = journal_heads(journal, "1.0.1", runs)
    checks = [*prove(segments, journal=heads), check]
    wrong = [one.reason for one in checks if one.status is Status.FAIL]
    known = Anchors(journal=heads)
    return not wrong, "; ".join(wrong) or _good(known, covered_check(read, known))


def test_the_journal_proves_all_but_the_records_after_its_last_head(
    day: Day, tmp_path: Path
) -> None:
    good, said = against_journal(tmp_path, day.journal)
    assert good
    assert "3 heads in the cluster's journal" in said
    assert "1 of 4 records come after the last head" in said
    day.step("finish")
    assert "1 of 5 records" in against_journal(tmp_path, day.journal)[1]


def rewritten(folder: Path, *steps: str, run: str = "7-1") -> None:
    (folder / FILE).unlink()
    for step in steps:
        EvidenceFile(folder, run, run).append(outcome(step))


def test_a_chain_that_was_written_anew_is_found_by_the_journal(day: Day, tmp_path: Path) -> None:
    rewritten(tmp_path, "verify", "deploy", "gate 10, forged", "promote")
    good, said = against_journal(tmp_path, day.journal)
    assert not good
    assert "in the journal" in said


def test_dropped_records_are_found_by_the_journal(day: Day, tmp_path: Path) -> None:
    lines = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    (tmp_path / FILE).write_bytes(b"".join(lines[:2]))
    assert not against_journal(tmp_path, day.journal)[0]


def test_an_edited_last_record_and_a_forged_one_are_not_claimed_to_be_whole(
    day: Day, tmp_path: Path
) -> None:
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes().replace(b'"promote"', b'"forged!"'))
    assert "1 of 4 records come after" in against_journal(tmp_path, day.journal)[1]
    EvidenceFile(tmp_path, "7-1", "a").append(outcome("forged"))
    assert "2 of 5 records come after" in against_journal(tmp_path, day.journal)[1]


def test_another_run_replayed_is_found_by_the_journal(day: Day, tmp_path: Path) -> None:
    before = Day(tmp_path / "other", "6-1")
    for name in ("verify", "deploy", "gate 10", "promote"):
        before.step(name)
    good, said = against_journal(tmp_path / "other", [*before.journal, *day.journal])
    assert not good
    assert "run 7-1 deployed 1.0.1, and the evidence has no record of it" in said


def test_a_head_covers_the_segments_that_its_own_follows(tmp_path: Path) -> None:
    for job in ("verify", "deploy"):
        EvidenceFile(tmp_path / "before" / job, "7-1", job).append(outcome(job))
    last = EvidenceFile(tmp_path, "7-1", "promote")
    last.append(outcome("promote"))
    read = read_all(read_segments(tmp_path))
    covered = covered_records(read, Anchors(given=last.heads()))
    assert set(covered.values()) == {1}
    assert covered_check(read, Anchors(given=last.heads())) is not None
    none = covered_records(read, Anchors(given=("0" * 64,)))
    assert set(none.values()) == {0}


def test_before_its_first_record_a_job_writes_the_heads_of_the_jobs_before(tmp_path: Path) -> None:
    first = EvidenceFile(tmp_path / "before" / "verify", "7-1", "verify")
    first.append(outcome("verify"))
    second = EvidenceFile(tmp_path, "7-1", "deploy")
    assert second.heads() == first.heads()
    second.append(outcome("deploy"))
    assert second.heads() != first.heads()
