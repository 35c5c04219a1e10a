"""Write a file that must not exist yet."""

from __future__ import annotations

from pathlib import Path

from tarsrelease.model.errors import UsageError


def write_new(path: Path, text: str) -> None:
    """Create the file with this text. Raises UsageError if it exists or cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(
            doing=f"writing {path}",
            found="it exists",
            expected="a new file; nothing is overwritten",
            next_step="choose another name, or remove it first",
        ) from None
    except OSError as problem:
        raise UsageError(
            doing=f"writing {path}",
            found=problem.strerror or str(problem),
            expected="a folder that can be written",
            next_step="choose another place",
        ) from problem
