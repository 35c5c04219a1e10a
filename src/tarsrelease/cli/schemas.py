"""The JSON Schemas of all files and Outcomes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from tarsrelease.model.bundle import Manifest
from tarsrelease.model.bundle_input import BundleInput
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.evidence import Record
from tarsrelease.model.journal import Entry
from tarsrelease.model.outcome import Outcome, Verdict, exit_code_of
from tarsrelease.model.rollout import Rollout
from tarsrelease.ports.people import Progress

# A schema of a file describes what people write, a schema of an Outcome the printed JSON.
_MODELS: dict[str, tuple[type[BaseModel], Literal["validation", "serialization"]]] = {
    "rollout": (Rollout, "validation"),
    "environment": (Environment, "validation"),
    "bundle": (BundleInput, "validation"),
    "manifest": (Manifest, "validation"),
    "outcome": (Outcome, "serialization"),
    "evidence": (Record, "serialization"),
    "journal": (Entry, "serialization"),
}
_VERSIONS = {"evidence": "v2"}


def all_schemas() -> dict[str, dict[str, Any]]:
    """Every schema (draft 2020-12) by its name."""
    return {
        name: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:tarsrelease:{name}:{_VERSIONS.get(name, 'v1')}",
            **model.model_json_schema(mode=mode),
        }
        for name, (model, mode) in _MODELS.items()
    }


def schema_text(schema: dict[str, Any]) -> str:
    """A schema as the text of its file, without the last newline."""
    return json.dumps(schema, indent=2, ensure_ascii=False)


def write_schemas(folder: Path, progress: Progress) -> Outcome:
    """Write each as ``NAME.schema.json``. Raises `UsageError` if the folder is not writable."""
    started_at = datetime.now(UTC)
    schemas = all_schemas()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, schema in schemas.items():
            path = folder / f"{name}.schema.json"
            path.write_text(schema_text(schema) + "\n", encoding="utf-8")
            progress.say(str(path))
    except OSError as problem:
        raise UsageError(
            doing="writing the schemas",
            found=f"{problem.filename}: {problem.strerror}",
            expected="a folder that this user may write to",
            next_step="choose another folder with --write DIR",
        ) from problem
    return Outcome(
        step="schema",
        release=None,
        environment=None,
        verdict=Verdict.PROCEED,
        exit_code=exit_code_of(Verdict.PROCEED),
        summary=f"{len(schemas)} schemas written to {folder}",
        started_at=started_at,
        finished_at=datetime.now(UTC),
    )
