"""What the version before typed details wrote is read as it was: evidence and journal entries.

The files in format_v1/ were written by that version in a simulated release that was rolled back
and, once repaired, promoted.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pytest

from tarsrelease.adapters.files.evidence_file import EvidenceFile, read_segments
from tarsrelease.cli.explain import explain
from tarsrelease.cli.schemas import all_schemas
from tarsrelease.evidence.chain import prove
from tarsrelease.model.details import Details
from tarsrelease.model.evidence import Record
from tarsrelease.model.journal import FACTS, Entry, Facts, GateFacts, Phase
from tarsrelease.model.outcome import Outcome, Status
from tarsrelease.model.step_details import DETAILS, GateDetails, RollbackDetails, RunDetails
from tarsrelease.report.day_page import whole_day
from tarsrelease.report.rows import stage_rows
from tarsrelease.rollout import release_journal

BEFORE = Path(__file__).parent / "format_v1"
RECORDS = (BEFORE / "evidence.jsonl").read_text().splitlines()
ENTRIES = (BEFORE / "journal.jsonl").read_text().splitlines()
NEW = "1.0.1"
SCHEMAS = all_schemas()


def record(step: str) -> dict[str, object]:
    """The first outcome of the step in the old evidence."""
    found = (json.loads(line)["outcome"] for line in RECORDS)
    return next(outcome for outcome in found if outcome["step"] == step)


@pytest.mark.parametrize("line", RECORDS, ids=lambda line: json.loads(line)["outcome"]["step"])
def test_a_record_without_a_format_has_the_details_of_its_step(line: str) -> None:
    read = Record.model_validate_json(line)
    assert read.format == "tarsrelease/evidence/v1"
    assert type(read.outcome.details) is DETAILS.get(read.outcome.step, Details)
    assert json.loads(read.outcome.model_dump_json()) == json.loads(line)["outcome"]
    jsonschema.validate(json.loads(line), SCHEMAS["evidence"])


@pytest.mark.parametrize("line", ENTRIES)
def test_an_entry_has_the_facts_of_its_action(line: str) -> None:
    read = Entry.model_validate_json(line)
    assert type(read.facts) is FACTS.get(read.action, Facts)
    assert json.loads(read.model_dump_json()) == json.loads(line)
    jsonschema.validate(json.loads(line), SCHEMAS["journal"])


def test_a_segment_of_v1_goes_on_with_records_of_v2_in_one_chain(tmp_path: Path) -> None:
    shutil.copy(BEFORE / "evidence.jsonl", tmp_path)
    file = EvidenceFile(tmp_path, "run-2", "run-2")
    written = file.append(Record.model_validate_json(RECORDS[0]).outcome)
    assert written.number == len(RECORDS) + 1
    assert written.segment == json.loads(RECORDS[0])["segment"]
    last = json.loads(file.path.read_text().splitlines()[-1])
    assert last["schema"] == "tarsrelease/evidence/v2"
    assert [check.status for check in prove(read_segments(tmp_path))] == [Status.PASS]


def test_the_old_evidence_is_reported_and_explained() -> None:
    page = whole_day(Record.model_validate_json(line) for line in RECORDS)
    assert page is not None
    assert {row[0] for row in stage_rows(page)} == {"canary-10"}
    explained = explain(BEFORE / "evidence.jsonl", 10, None)
    assert "canary-10" in explained.summary
    assert len(explained.details.history) == 2


def test_the_old_evidence_says_what_it_said() -> None:
    gate = GateDetails.of(Outcome.model_validate(record("gate")).details)
    assert gate is not None
    assert (gate.weight, gate.stage) == (10, "canary-10")
    assert gate.seconds_from_shift_to_verdict == pytest.approx(4.76)
    rollback = RollbackDetails.of(Outcome.model_validate(record("rollback")).details)
    assert rollback is not None
    assert (rollback.version, rollback.within_budget) == ("1.0.0", True)
    run = RunDetails.of(Outcome.model_validate(record("run")).details)
    assert run is not None
    assert run.rollback == rollback
    assert [row.name for row in run.stages if row.weight is not None] == ["canary-10"]


def test_the_old_journal_says_what_it_said() -> None:
    entries = [Entry.model_validate_json(line) for line in ENTRIES]
    decided = next(
        number
        for number, entry in enumerate(entries)
        if entry.facts.verdict == "rollback" and entry.phase is Phase.RESULT
    )
    assert release_journal.rolled_back(entries[: decided + 1], NEW)
    assert not release_journal.rolled_back(entries, NEW), "it was deployed again since"
    assert release_journal.verdict(entries, NEW, 100) == "proceed"
    assert release_journal.promotion(entries) == entries[-1]
    pins = release_journal.pins(entries, NEW)
    assert pins is not None
    assert (pins.version, pins.revision) == ("1.0.0", 1)
    assert release_journal.restarts_at_shift(entries, NEW, entries[-1].at)


def test_what_a_newer_version_adds_is_kept_and_what_it_changed_costs_no_record() -> None:
    newer = {**record("gate"), "details": {"stage": "canary-10", "added": [1]}}
    outcome = Outcome.model_validate(newer)
    assert json.loads(outcome.model_dump_json())["details"] == newer["details"]
    changed = {**newer, "details": {"stage": {"name": "canary-10"}, "plan": ["first"]}}
    assert Outcome.model_validate(changed).details.plan == ("first",)
    entry = {**json.loads(ENTRIES[0]), "action": "gate", "facts": {"weight": 10, "added": {}}}
    assert json.loads(Entry.model_validate(entry).model_dump_json())["facts"] == entry["facts"]


def test_a_fact_that_is_none_is_not_written() -> None:
    assert GateFacts(weight=10, cause=None).model_dump() == {"weight": 10}


@pytest.mark.parametrize("given", [None, [], "text"])
def test_details_and_facts_are_mappings(given: object) -> None:
    with pytest.raises(ValueError, match="details"):
        Outcome.model_validate({**record("gate"), "details": given})
    with pytest.raises(ValueError, match="facts"):
        Entry.model_validate({**json.loads(ENTRIES[0]), "facts": given})
