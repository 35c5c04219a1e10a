"""Texts of the team's own: Jinja2 in a sandbox."""

from __future__ import annotations

from pathlib import Path

from tarsrelease.model.errors import UsageError
from tarsrelease.model.notice import Notice

_LONGEST = 20_000
"""Characters of a text."""


def worded(notice: Notice, folder: str | None) -> Notice:
    """The notice in the words of ``folder/EVENT.txt.j2``; unchanged if there is no such file.

    The template may use the fields of the notice. Raises UsageError if it cannot be rendered.
    """
    path = Path(folder) / f"{notice.event.value}.txt.j2" if folder else None
    if path is None or not path.exists():
        return notice
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    try:
        template = environment.from_string(path.read_text("utf-8"))
        text = template.render(notice.model_dump(mode="json")).strip()
    except (
        TemplateError,
        OSError,
        ValueError,
        TypeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise _unusable(path, " ".join(str(error).split())[:300]) from error
    if not text:
        raise _unusable(path, "an empty text")
    first, _, rest = text[:_LONGEST].partition("\n")
    return notice.model_copy(update={"headline": first.strip(), "reason": rest.strip()})


def _unusable(path: Path, found: str) -> UsageError:
    return UsageError(
        doing=f"rendering {path}",
        found=found,
        expected="a Jinja2 template that uses the fields of a notice, such as {{ release }}",
        next_step="correct it, or remove it to use the standard text",
    )
