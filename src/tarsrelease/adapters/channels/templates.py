"""Texts of the team's own: Jinja2 in a sandbox, in a process that is ended if it takes too long."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tarsrelease.adapters.child_environment import minimal
from tarsrelease.adapters.child_process import run
from tarsrelease.model.errors import UsageError
from tarsrelease.model.notice import Notice

_LONGEST = 20_000
"""Characters of a text."""
_SECONDS = 10.0
_MEMORY = 2**30
"""Bytes of the process that renders."""
_SOURCE = str(Path(__file__).resolve().parents[3])
_CHILD = f"import sys; sys.path.insert(0, sys.argv[1]); from {__name__} import child; child()"


def worded(notice: Notice, folder: str | None) -> Notice:
    """The notice in the words of ``folder/EVENT.txt.j2``; unchanged if there is no such file.

    The template may use the fields of the notice. Raises UsageError if it cannot be rendered.
    """
    path = Path(folder) / f"{notice.event.value}.txt.j2" if folder else None
    if path is None or not path.exists():
        return notice
    try:
        given = json.dumps([path.read_text("utf-8"), notice.model_dump(mode="json")])
        ended = run(
            [sys.executable, "-I", "-c", _CHILD, _SOURCE],
            variables=minimal(),
            seconds=_SECONDS,
            stdin=given.encode(),
        )
        rendered, problem = json.loads(ended.out)
    except subprocess.TimeoutExpired as error:
        raise _unusable(path, f"it takes longer than {_SECONDS:g} s") from error
    except json.JSONDecodeError as error:
        raise _unusable(path, f"its process ended with {ended.code}") from error
    except (OSError, ValueError) as error:
        raise _unusable(path, " ".join(str(error).split())[:300]) from error
    lines = rendered.strip().splitlines()  # also those that end with other characters than \\n
    if problem or not lines:
        raise _unusable(path, problem or "an empty text")
    words = {"headline": lines[0], "reason": "\n".join(lines[1:])}
    return Notice.model_validate(notice.model_dump() | words)


def child() -> None:
    """Render what standard input holds, with bounded memory; print the text, or the problem."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    template, fields = json.loads(sys.stdin.buffer.read())
    try:
        found = [_rendered(template, fields)[:_LONGEST], ""]
    except Exception as error:  # noqa: BLE001 - whatever a template does is its author's to mend
        said = " ".join(str(error).split())[:300]
        found = ["", said or type(error).__name__]
    print(json.dumps(found))


def _rendered(template: str, fields: Mapping[str, Any]) -> str:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    return environment.from_string(template).render(fields)


def _unusable(path: Path, found: str) -> UsageError:
    return UsageError(
        doing=f"rendering {path}",
        found=found,
        expected="a Jinja2 template that uses the fields of a notice, such as {{ release }}",
        next_step="correct it, or remove it to use the standard text",
    )
