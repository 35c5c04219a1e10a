"""The Kubernetes objects in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tarsrelease.model.errors import UsageError

_LARGEST = 4 * 2**20


def objects_in(path: Path) -> list[dict[str, Any]]:
    """Every object of a YAML or JSON file, those of a List included. Raises UsageError."""
    try:
        content = path.read_bytes()
        if len(content) > _LARGEST:
            raise _unreadable(path, f"{len(content)} bytes; at most {_LARGEST} are read")
        documents = list(yaml.load_all(content, Loader=yaml.CSafeLoader))
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as problem:
        raise _unreadable(path, " ".join(str(problem).split())[:300]) from problem
    found = []
    for document in documents:
        if isinstance(document, dict) and document.get("kind") == "List":
            found += [each for each in document.get("items") or () if isinstance(each, dict)]
        elif isinstance(document, dict):
            found.append(document)
        elif document is not None:
            raise _unreadable(path, f"a document is a {type(document).__name__}")
    return found


def _unreadable(path: Path, found: str) -> UsageError:
    return UsageError(
        doing=f"reading {path}",
        found=found,
        expected="Kubernetes objects as YAML or JSON",
        next_step="correct the file",
    )
