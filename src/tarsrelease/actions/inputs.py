"""Parse and check an action's inputs from the environment variable INPUTS.

The actions pass `toJSON(inputs)`, which includes unknown inputs, so that a misspelt input is an
error here instead of a warning that nobody reads.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from tarsrelease.actions.kinds import Kind, plain, shorten

Given = Mapping[str, str]
"""Values by the input's name; an input that was left empty is not among them."""


@dataclass(frozen=True)
class Input:
    """One input. With `lenient` a wrong text is made plain instead of refused, and that is said."""

    kind: Kind
    required: bool = False
    default: str = ""
    lenient: bool = False


@dataclass(frozen=True)
class Read:
    """What was read: the values, why they are refused, and what was corrected."""

    given: Given
    problems: tuple[str, ...] = ()
    corrections: tuple[str, ...] = ()


def read(document: str | None, known: Mapping[str, Input]) -> Read:
    """Check every input of `document`, the JSON of GitHub's `inputs`."""
    texts = _texts(document)
    if texts is None:
        return Read({}, ("INPUTS is not the JSON that the action passes; use the action",))
    given: dict[str, str] = {name: one.default for name, one in known.items() if one.default}
    problems, corrections = [], []
    for name, text in texts.items():
        if name not in known:
            problems.append(_unknown(name, known))
        elif not text.strip():
            continue  # an expression without a value counts as not given
        elif (problem := known[name].kind.problem(text)) is None:
            given[name] = text
        elif known[name].lenient:
            given[name] = plain(text)
            corrections.append(f"{name}: {problem}; used as {shorten(given[name])}")
        else:
            problems.append(f"{name}: {problem}")
    problems += [
        f"{name}: is missing; allowed: {one.kind.allowed}"
        for name, one in known.items()
        if one.required and name not in given and not texts.get(name, "").strip()
    ]
    return Read(given, tuple(problems), tuple(corrections))


def _texts(document: str | None) -> dict[str, str] | None:
    try:
        parsed = json.loads(document or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict) or not all(isinstance(v, str) for v in parsed.values()):
        return None
    return {str(name).lower(): text for name, text in parsed.items()}


def _unknown(name: str, known: Mapping[str, Input]) -> str:
    near = difflib.get_close_matches(name[:100], known, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"{shorten(name)} is not an input of this action; {meant}allowed: {', '.join(known)}"
