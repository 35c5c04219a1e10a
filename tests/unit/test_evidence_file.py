"""The evidence: whole as written; every alteration, cut and torn line shows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarsrelease.adapters.files.evidence_file import FILE, EvidenceFile, head_of, read_segments
from tarsrelease.cli import main
from tarsrelease.evidence.chain import prove
from tarsrelease.model.errors import UsageError
from tarsrelease.model.outcome import Check, ExitCode, Outcome, Status, Verdict

T = datetime(2026, 1, 1, tzinfo=UTC)


def outcome(step: str = "verify") -> Outcome:
    return Outcome(
        step=step,
        release="1.0.1",
        environment=None,
        verdict=Verdict.PROCEED,
        exit_code=ExitCode.DONE,
        summary="line one\nline two",
        started_at=T,
        finished_at=T,
    )


def chain(folder: Path, count: int, segment: str = "a") -> bytes:
    for number in range(count):
        EvidenceFile(folder, "run", segment).append(outcome(f"step {number}"))
    return (folder / "evidence.jsonl").read_bytes()


WRITER = """\
import sys
from pathlib import Path
from typing import Any
from tarsrelease.adapters.files.evidence_file import EvidenceFile
from tarsrelease.model.outcome import Outcome
outcome = Outcome.model_validate_json(sys.argv[3])
for _ in range(int(sys.argv[2])):
    EvidenceFile(Path(sys.argv[1]), "run", "a").append(outcome)
"""


def start_writer(folder: Path, count: int) -> subprocess.Popen[bytes]:
    """Another process that appends `count` records."""
    argv = [sys.executable, "-c", WRITER, str(folder), str(count), outcome().model_dump_json()]
    return subprocess.Popen(argv)


def faults(segments: dict[str, bytes], *heads: str) -> list[str]:
    return [check.reason for check in prove(segments, heads) if check.status is not Status.PASS]


def test_what_was_recorded_is_proven_whole(tmp_path: Path) -> None:
    content = chain(tmp_path, 3)
    checks: tuple[Check, ...] = prove(read_segments(tmp_path))
    assert [check.status for check in checks] == [Status.PASS]
    assert checks[0].samples == 3
    records = [json.loads(line) for line in content.splitlines()]
    assert [record["number"] for record in records] == [1, 2, 3]
    assert records[0]["previous"] is None


def test_every_step_keeps_the_segments_name(tmp_path: Path) -> None:
    chain(tmp_path, 1, "first")
    record = EvidenceFile(tmp_path, "other-run", "second").append(outcome())
    assert (record.segment, record.run, record.number) == ("first", "other-run", 2)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_byte_can_be_changed_unseen_but_in_the_last_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = chain(tmp_path_factory.mktemp("chain"), 3)
    head = head_of(content)
    assert head is not None
    position = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != content[position]))
    changed = content[:position] + bytes([byte]) + content[position + 1 :]
    assert faults({"x": changed}, head) != []
    in_last_line = position >= content.rstrip(b"\n").rindex(b"\n") + 1
    if not in_last_line:
        assert faults({"x": changed}) != []


def test_a_line_that_was_taken_out_shows(tmp_path: Path) -> None:
    first, second, third = chain(tmp_path, 3).splitlines(keepends=True)
    assert "does not follow" in " ".join(faults({"x": first + third}))
    assert "beginning was removed" in " ".join(faults({"x": second + third}))
    assert faults({"x": third + second + first}) != []
    assert faults({"x": first + first + second}) != []
    assert faults({"x": b""}) != []


def test_a_cut_end_shows_against_a_head_kept_elsewhere(tmp_path: Path) -> None:
    content = chain(tmp_path, 3)
    head = head_of(content)
    assert head is not None
    cut = b"".join(content.splitlines(keepends=True)[:2])
    assert faults({"x": cut}) == []
    assert "missing" in faults({"x": cut}, head)[0]
    assert faults({"x": content}, head) == []


def test_a_segment_names_the_ones_it_follows(tmp_path: Path) -> None:
    handed_on = chain(tmp_path / "job-1", 2, "job-1")
    record = EvidenceFile(tmp_path, "run", "job-2").append(outcome())
    assert record.follows == (head_of(handed_on),)
    segments = read_segments(tmp_path)
    assert len(segments) == 2
    assert faults(segments) == []
    del segments["job-1/evidence.jsonl"]
    assert "a segment or its end is missing" in faults(segments)[0]


@pytest.mark.parametrize("kept", [1, 40, -2, -1])
def test_a_torn_line_is_kept_named_and_followed(tmp_path: Path, kept: int) -> None:
    content = chain(tmp_path, 2)
    first, second = content.splitlines(keepends=True)
    path = tmp_path / "evidence.jsonl"
    path.write_bytes(first + second[:kept])
    assert faults(read_segments(tmp_path)) != []
    EvidenceFile(tmp_path, "run", "a").append(outcome("after"))
    repaired = path.read_bytes()
    assert repaired.startswith(first + second[:kept] + b"\n")
    said = faults(read_segments(tmp_path))
    if kept == -1:
        assert said == []  # only the newline was lost, and the next record made it good
    else:
        assert len(said) == 1
        assert said[0].startswith("line 2 is ")
    assert json.loads(repaired.splitlines()[-1])["number"] == 3


def test_processes_that_append_at_once_keep_one_chain(tmp_path: Path) -> None:
    writers = [start_writer(tmp_path, 15) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    checks = prove(read_segments(tmp_path))
    assert [(check.status, check.samples) for check in checks] == [(Status.PASS, 45)]


def test_a_writer_that_is_killed_leaves_a_chain_that_can_be_continued(tmp_path: Path) -> None:
    writer = start_writer(tmp_path, 100_000)
    path = tmp_path / "evidence.jsonl"
    deadline = time.monotonic() + 30
    while not path.exists() or path.stat().st_size < 20_000:
        assert time.monotonic() < deadline
        assert writer.poll() is None
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    before = path.read_bytes()
    record = EvidenceFile(tmp_path, "run", "a").append(outcome())
    assert path.read_bytes().startswith(before)
    assert record.number == len(path.read_bytes().splitlines())
    assert all("torn" in said for said in faults(read_segments(tmp_path)))


def test_what_cannot_be_written_is_known_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    evidence = EvidenceFile(tmp_path / "file" / "below", "run", "a")
    with pytest.raises(UsageError, match="cannot be written"):
        evidence.check_writable()
    with pytest.raises(UsageError, match="cannot be written"):
        evidence.append(outcome())
    fine = EvidenceFile(tmp_path / "new" / "below", "run", "a")
    fine.check_writable()
    assert not (tmp_path / "new").exists()


def test_no_evidence_is_no_proof(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no evidence\.jsonl"):
        read_segments(tmp_path)


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, dict[str, Any]]:
    with pytest.raises(SystemExit) as ended:
        main(["report", "evidence", *arguments, "--format", "json"])
    return ended.value.code, json.loads(capsys.readouterr().out)


def test_without_a_head_it_claims_no_more_than_consistency(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in ("one", "two"):
        EvidenceFile(tmp_path, "run", "a").append(outcome(step))
    head = head_of((tmp_path / FILE).read_bytes())
    assert head
    # Somebody drops the last record, or writes the whole chain anew.
    (tmp_path / FILE).unlink()
    EvidenceFile(tmp_path, "run", "a").append(outcome("one"))
    code, said = report(capsys, str(tmp_path))
    assert code == 0
    assert said["summary"].endswith("consistent with itself; it was compared with nothing else")
    (anchor,) = [one for one in said["checks"] if one["id"] == "evidence.anchor"]
    assert anchor["status"] == "skipped"
    code, said = report(capsys, str(tmp_path), "--head", head)
    assert code == 1
    assert "NOT whole" in said["summary"]


def test_records_after_the_head_are_covered_by_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    EvidenceFile(tmp_path, "run", "a").append(outcome("one"))
    head = head_of((tmp_path / FILE).read_bytes()) or ""
    code, said = report(capsys, str(tmp_path), "--head", head)
    assert code == 0
    assert said["summary"].endswith("whole up to 1 given head")
    EvidenceFile(tmp_path, "run", "a").append(outcome("forged"))
    _, said = report(capsys, str(tmp_path), "--head", head)
    reasons = [one["reason"] for one in said["checks"] if one["id"] == "evidence.head"]
    assert "later ones have no head" in reasons[0]
