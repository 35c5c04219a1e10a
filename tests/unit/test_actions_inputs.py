"""What the composite actions hand on: every input is looked at, every command line parses."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest
import yaml

from tarsrelease.cli.app import root
from tarsrelease.cli.lazy import LazyGroup
from tarsrelease.github.actions import ACTIONS
from tarsrelease.github.inputs import read

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
        '"stag" is no input of this action; did you mean stage? allowed: ' + ", ".join(known),
        'wait: "yes" is not a boolean; allowed: true, false',
        'stage-duration: "10 minutes" is not a duration; allowed: a number with one of the units '
        "ms, s, m, h, d, such as 10m",
        "release: is missing; allowed: " + known["release"].kind.allowed,
        "environment: is missing; allowed: " + known["environment"].kind.allowed,
    )
