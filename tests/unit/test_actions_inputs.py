"""What the composite actions hand on: every input is looked at, every command line parses."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click
import pytest
import yaml

from tarsrelease.actions import kinds
from tarsrelease.actions.command_lines import ACTIONS
from tarsrelease.actions.inputs import read
from tarsrelease.actions.kinds import Kind
from tarsrelease.cli.app import root
from tarsrelease.cli.lazy import LazyGroup

FOLDER = Path(__file__).parents[2] / "actions"
DESCRIBED = {path.parent.name: path for path in sorted(FOLDER.glob("*/action.yml"))}


def parses(words: list[str]) -> None:
    """Raise click's error where these arguments do not fit their command."""
    command: click.Command = root
    while words and isinstance(command, LazyGroup) and words[0] in command.entries:
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    assert not isinstance(command, LazyGroup), f"no such command: {shlex.join(words)}"
    command.make_context("tarsrelease", words)


def test_every_action_is_described_and_every_description_has_its_action() -> None:
    assert set(DESCRIBED) == set(ACTIONS)


@pytest.mark.parametrize("name", ACTIONS)
def test_the_description_and_the_program_agree_on_the_inputs(name: str) -> None:
    described = yaml.safe_load(DESCRIBED[name].read_text())
    inputs = described.get("inputs", {})
    assert {
        key: (bool(one.get("required")), one.get("default", "")) for key, one in inputs.items()
    } == {key: (one.required, one.default) for key, one in ACTIONS[name].inputs.items()}
    assert all(one["description"].endswith(".") for one in inputs.values())
    outputs = {"verdict", "exit-code", "evidence", "summary", *ACTIONS[name].outputs}
    assert set(described["outputs"]) == outputs


@pytest.mark.parametrize("name", ACTIONS)
def test_a_description_holds_no_logic(name: str) -> None:
    text = DESCRIBED[name].read_text()
    assert len(text.splitlines()) <= 70
    (step,) = yaml.safe_load(text)["runs"]["steps"]
    assert step["run"] == f'exec bash "${{GITHUB_ACTION_PATH}}/../_lib/run" {name}'
    assert step["env"] == {"INPUTS": "${{ toJSON(inputs) }}"}
    assert set(step) == {"name", "id", "shell", "env", "run"}


def test_reading_says_what_is_wrong_and_what_is_allowed() -> None:
    known = ACTIONS["canary-gate"].inputs
    seen = read('{"stag": "10", "wait": "yes", "stage-duration": "10 minutes"}', known)
    assert seen.problems == (
        '"stag" is not an input of this action; did you mean stage? allowed: ' + ", ".join(known),
        'wait: "yes" is not a boolean; allowed: true, false',
        'stage-duration: "10 minutes" is not a duration; allowed: a number with one of the units '
        "ms, s, m, h, d, such as 10m or 3m30s",
        "release: is missing; allowed: " + known["release"].kind.allowed,
        "environment: is missing; allowed: " + known["environment"].kind.allowed,
    )


SAMPLES = {
    "out": "page/release.html",
    "by": "octocat",
    "support-tickets": "3",
    "usual-tickets": "5",
    "pagerduty-alerts": "0",
    "release": "release/v1_0_1",
    "environment": "production",
    "evidence": "evidence",
    "ref": "release/v1.0.1",
    "stage": "10%",
    "stages": "1,10,100",
    "stage-duration": "10m",
    "stage-minutes": "0.5",
    "for": "30m",
    "wait": "10m",
    "lifted-by": "octocat",
    "reason": "it's the cache, cold (50 %)",
    "starts": "2026-12-01T09:00Z",
    "ends": "2026-12-01T13:00Z",
    "answers": "canary.chat=yes, canary.mail=no",
    "about": "canary-10",
    "approval": "production-full",
    "mark": "hotfix, health",
    "deadline": "10m",
    "require": "images,chart",
    "running": "1.0.0",
    "platform": "linux/arm64",
    "attestations": "a.jsonl,b.jsonl",
    "repository": "tars-ai/tars",
    "signer-workflow": "tars-ai/tars/.github/workflows/build.yaml",
    "trusted-root": "root.json",
    "approvals": "1234567890",
    "votes": "qa=go:Ada O'Neill, engineering=no-go",
    "require-votes": "qa, engineering",
    "window": "10m",
    "young": "24h",
    "staging": "staging",
}


def good(kind: Kind, key: str) -> list[str]:
    """Texts that the input takes; for a choice, all of them."""
    if kind.pattern.startswith("true|"):
        return ["true", "false"]
    if kind.name == "one of its words":
        return kind.allowed.split(", ")
    return [SAMPLES[key]]


def samples(name: str) -> list[dict[str, str]]:
    """Sets of inputs in which each value of each input stands at least once, where it may."""
    inputs = {key: one for key, one in ACTIONS[name].inputs.items() if key != "kubeconfig"}
    base = {key: good(one.kind, key)[0] for key, one in inputs.items() if one.required}
    sets = [base]
    for key, one in inputs.items():
        sets += [{**base, key: value} for value in good(one.kind, key)]
        for word in ("up", "down", "plan") if name == "migrate" else ():
            sets += [{**base, "command": word, key: value} for value in good(one.kind, key)]
    if name == "canary-gate":
        sets = [{"stage": "10", **each} for each in sets]
        sets += [{**base, "wait": "true", "for": "10m"}, {**base, "observe": "true"}]
        sets += [{**base, "stage": "10", "lifted-by": "octocat", "reason": "looked at it"}]
    return sets


@pytest.mark.parametrize("name", [name for name in ACTIONS if name != "setup"])
def test_every_good_input_makes_a_command_line_that_parses(name: str) -> None:
    action = ACTIONS[name]
    parsed = 0
    for given in samples(name):
        seen = read(json.dumps(given), action.inputs)
        assert not seen.problems, given
        if action.refusal(seen.given) is None:
            parses([*action.arguments(seen.given), "--format=json"])
            parsed += 1
    assert parsed > len(action.inputs) / 2


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("migrate", {"command": "plan", "wait": "10m"}, "wait: does not go with the command plan"),
        ("migrate", {"command": "up", "accept-loss": "true"}, "allowed with: down"),
        ("canary-gate", {}, "stage: is missing"),
        ("canary-gate", {"wait": "true", "observe": "true"}, "observe: does not go with wait"),
        ("canary-gate", {"stage": "10", "lifted-by": "octocat"}, "reason: is missing"),
    ],
)
def test_inputs_that_do_not_go_together_are_refused(
    name: str, given: dict[str, str], said: str
) -> None:
    place = {"release": "release/v1_0_1", "environment": "production"}
    seen = read(json.dumps({**place, **given}), ACTIONS[name].inputs)
    assert not seen.problems
    assert said in str(ACTIONS[name].refusal(seen.given))


def test_an_empty_expression_is_no_input() -> None:
    known = ACTIONS["canary-gate"].inputs
    given = {"release": "release/v1_0_1", "environment": "production", "on-hold": " ", "for": ""}
    seen = read(json.dumps(given), known)
    assert not seen.problems
    assert seen.given["on-hold"] == "fail"
    assert "for" not in seen.given


def test_only_a_text_for_people_may_be_in_any_language() -> None:
    assert kinds.DURATION.problem("10m") is None
    assert kinds.DURATION.problem("3m30s") is None
    assert kinds.DURATION.problem("30s3m") is not None
    assert kinds.DURATION.problem("\u0661\u0660m") is not None
    assert kinds.PATH.problem("release/v1\u0661") is not None
    assert kinds.TEXT.problem("zu viele Fehler: \u00fcber 2 %") is None
