"""The files of `measure`: numbers as JSON, plots, and baselines."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ValidationError

from tarsrelease.model.errors import UsageError
from tarsrelease.model.kpis import KpiReport

_LARGEST = 64 * 2**20


def kept_in(folder: Path, path: Path, *, existing: bool = False) -> Path:
    """Where a file of this name is: a relative path is in `folder`.

    With `existing`, a relative path that only exists in the current directory is that file.
    """
    inside = path if path.is_absolute() else folder / path
    return path if existing and not inside.exists() and path.exists() else inside


def write_json(path: Path, value: BaseModel) -> None:
    """Write or replace the file. Raises UsageError if it cannot be written."""
    write_text(path, value.model_dump_json(by_alias=True, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write or replace the file, whole or not at all. Raises UsageError as `write_json`."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as problem:
        raise UsageError(
            doing=f"writing {path}",
            found=problem.strerror or str(problem),
            expected="a folder that can be written",
            next_step="choose another place with --output",
        ) from problem


def read_report(path: Path) -> KpiReport:
    """The KPIs in a file. Raises UsageError for a file that cannot be read or has another shape."""
    try:
        with path.open("rb") as file:
            return KpiReport.model_validate_json(file.read(_LARGEST))
    except OSError as problem:
        found = problem.strerror or str(problem)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"]))
        found = f"{where}: {first['msg']}" if where else first["msg"]
    raise UsageError(
        doing=f"reading the baseline {path}",
        found=found,
        expected="the JSON that `tarsrelease measure baseline` writes (tarsrelease/kpis/v1)",
        next_step="measure a baseline again, or give its path",
    )
