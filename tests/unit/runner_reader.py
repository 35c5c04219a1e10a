"""What GitHub's runner makes of a step's lines and files, written from its documentation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_COMMAND = re.compile(r"\s*::([A-Za-z-]+)(?: ([^:]*))?::(.*)", re.DOTALL)


@dataclass(frozen=True)
class Command:
    """One workflow command that took effect."""

    name: str
    properties: dict[str, str]
    message: str


def commands(printed: str) -> list[Command]:
    """The commands that take effect; none between stop-commands and its token."""
    found: list[Command] = []
    token: str | None = None
    for line in re.split(r"\r\n|\r|\n", printed):
        if token is not None:
            if line.strip() == f"::{token}::":
                token = None
            continue
        match = _COMMAND.match(line)
        if match is None:
            continue
        name, properties, message = match[1], match[2] or "", match[3]
        if name == "stop-commands":
            token = message
        else:
            found.append(Command(name, _properties(properties), _data(message)))
    assert token is None, "the runner would stay deaf to this step's own commands"
    return found


def outputs(file: Path) -> dict[str, str]:
    """GITHUB_OUTPUT; a later block of the same name wins, as on GitHub."""
    found: dict[str, str] = {}
    lines: Iterable[str] = iter(file.read_text().split("\n"))
    for line in lines:
        if "<<" in line:
            name, _, delimiter = line.partition("<<")
            value = []
            for inner in lines:
                if inner == delimiter:
                    break
                value.append(inner)
            else:
                raise AssertionError(f"{name} has no end")
            found[name] = "\n".join(value)
        elif "=" in line:
            name, _, value_text = line.partition("=")
            found[name] = value_text
        else:
            assert line == "", line
    return found


def _properties(text: str) -> dict[str, str]:
    pairs = (pair.split("=", 1) for pair in text.split(",") if "=" in pair)
    return {
        key.strip(): _data(value.replace("%3A", ":").replace("%2C", ",")) for key, value in pairs
    }


def _data(text: str) -> str:
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
