"""All channels' messages of a rehearsed release, as the receivers stored them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_whole_day import rehearse, story

from tarsrelease.model.outcome import ExitCode
from tarsrelease.rehearsal.inside import MESSAGES
from tarsrelease.rehearsal.receivers import CHANNELS

pytestmark = [pytest.mark.slow, pytest.mark.full]

ANSWER = 5.0
"""Seconds that a request waits for a channel that does not answer."""
ONE_BY_ONE = ("slack", "email", "webhook teams", "slack #tars-deployments")


def stored(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The bodies by receiver, in their order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in (folder / "evidence" / MESSAGES).read_text().splitlines():
        message = json.loads(line)
        found.setdefault(message["receiver"], []).append(message["body"])
    return found


def steps(folder: Path) -> dict[str, dict[str, Any]]:
    """The last recorded outcome of each step."""
    lines = (folder / "evidence" / "evidence.jsonl").read_text().splitlines()
    outcomes = [json.loads(line)["outcome"] for line in lines]
    return {outcome["step"]: outcome for outcome in outcomes}


def subjects(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The e-mails' subjects without what all of them have."""
    begins = "tars 1.0.1 "
    return [mail["subject"].removeprefix(begins).partition(" in ")[0] for mail in found["email"]]


def statuses(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    return [body["status"] for body in found["statuspage"]]


def same_everywhere(found: dict[str, list[dict[str, Any]]]) -> None:
    """Each channel with all details got as many messages, and each bot channel one thread."""
    assert len({len(found[each]) for each in ONE_BY_ONE}) == 1, {
        each: len(found[each]) for each in ONE_BY_ONE
    }
    for name, _ in CHANNELS:
        first, *others = found[f"slack {name}"]
        assert {each["thread_ts"] for each in others} == {first["ts"]}


BEGUN = ["is scheduled", "has begun"]


def test_a_good_release(tmp_path: Path) -> None:
    outcome = rehearse(tmp_path, "--stages", "10,100")
    assert outcome["verdict"] == "proceed", story(outcome)
    found = stored(tmp_path)
    at_stage = "is at its next stage"
    waits = "waits for an approval"
    assert subjects(found) == [*BEGUN, at_stage, waits, at_stage, "is promoted", "is complete"]
    assert statuses(found) == ["scheduled", "in_progress", "verifying", "completed"]
    same_everywhere(found)


def test_a_hold(tmp_path: Path) -> None:
    outcome = rehearse(tmp_path, "--fault", "low-traffic", "--stages", "10,100")
    assert outcome["exit_code"] == ExitCode.HOLD, story(outcome)
    found = stored(tmp_path)
    holds = "holds and waits for a decision"
    assert subjects(found) == [*BEGUN, "is at its next stage", holds]
    (alert,) = [body for body in found["pagerduty"] if body.get("event_action")]
    assert alert["payload"]["severity"] == "warning"
    same_everywhere(found)


def test_a_protection_that_becomes_a_rollback(tmp_path: Path) -> None:
    """After an incident of stable, the first failing evaluation protects, the second rolls back."""
    faults = ("--fault", "stable-pod-ill", "--fault", "errors")
    outcome = rehearse(tmp_path, *faults, "--stages", "10,100")
    assert outcome["exit_code"] == ExitCode.ROLLBACK, story(outcome)
    found = stored(tmp_path)
    said = subjects(found)
    protected = "lost its traffic to protect users"
    assert said[:4] == [*BEGUN, "is at its next stage", protected]
    assert said[-3:] == ["is being rolled back", "is rolled back", "has no incident any more"]
    assert said.count(protected) == 1
    alerts = [body for body in found["pagerduty"] if body.get("event_action")]
    severities = [a["payload"]["severity"] for a in alerts if a["event_action"] == "trigger"]
    assert severities == ["warning", "critical"]
    assert "identified" in statuses(found)
    same_everywhere(found)


def test_a_rollback(tmp_path: Path) -> None:
    outcome = rehearse(tmp_path, "--fault", "errors", "--stages", "10,100")
    assert outcome["exit_code"] == ExitCode.ROLLBACK, story(outcome)
    found = stored(tmp_path)
    said = subjects(found)
    assert said[:3] == [*BEGUN, "is at its next stage"]
    assert said[-3:] == ["is being rolled back", "is rolled back", "has no incident any more"]
    assert statuses(found) == [
        *("scheduled", "in_progress", "identified", "monitoring", "completed", "resolved"),
    ]
    actions = [body for body in found["pagerduty"] if body.get("event_action")]
    opened = [body for body in actions if body["event_action"] == "trigger"]
    assert opened[-1]["payload"]["severity"] == "critical"
    assert opened[-1]["dedup_key"] in {
        body["dedup_key"] for body in actions if body["event_action"] == "resolve"
    }
    same_everywhere(found)
    print(f"alive: {rollback_seconds(tmp_path)}")


def rollback_seconds(folder: Path) -> dict[str, float]:
    """From the verdict to all traffic on stable, and of the whole rollback with its proof."""
    known = steps(folder)
    write = known["gate"]["details"]["seconds_from_verdict_to_write"]
    return {"traffic": write, "rollback": known["rollback"]["details"]["seconds"]}


def test_a_rollback_while_no_channel_answers(tmp_path: Path) -> None:
    faults = ("--fault", "errors", "--fault", "silent-channels")
    outcome = rehearse(tmp_path, *faults, "--stages", "10,100")
    assert outcome["exit_code"] == ExitCode.ROLLBACK, story(outcome)
    assert stored(tmp_path) == {}
    assert len(steps(tmp_path)["messages"]["details"]["warnings"]) > 20
    print(f"dead: {rollback_seconds(tmp_path)}")
    assert rollback_seconds(tmp_path)["traffic"] < ANSWER, "it waited for a channel"
    proof = [check for check in outcome["checks"] if check["id"].startswith("rollback.")]
    assert {check["status"] for check in proof} == {"pass"}, story(outcome)
