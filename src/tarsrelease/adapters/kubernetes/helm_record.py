"""Helm's record of a release: one Secret for each revision, holding its manifest and values.

A revision can be added without applying anything: the next upgrade compares its own render with the
manifest of the newest one. helm-mapkubeapis changes records in the same way.
"""

from __future__ import annotations

import base64
import copy
import gzip
import json
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml

from tarsrelease.adapters.kubernetes.client import Conflict, Kind, KubernetesApi
from tarsrelease.model.errors import RefusedError

SECRET = Kind("", "v1", "Secret", "secrets")
_TYPE = "helm.sh/release.v1"
_SEPARATOR = re.compile(r"^---[^\S\n]*$\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Record:
    """The newest revision of a release. `content` is the decoded record."""

    release: str
    revision: int
    content: dict[str, Any]
    secret: dict[str, Any]

    def document(self, kind: str, name: str) -> str | None:
        """The text of one object in the manifest."""
        return next((text for text in _documents(self._manifest) if _is(text, kind, name)), None)

    def without(self, kind: str, name: str) -> str:
        """The manifest less one object."""
        return _joined([text for text in _documents(self._manifest) if not _is(text, kind, name)])

    def with_document(self, document: str) -> str:
        """The manifest and one object more."""
        return _joined([*_documents(self._manifest), document])

    @property
    def values(self) -> dict[str, Any]:
        """The values that the user gave."""
        found: dict[str, Any] = self.content.get("config") or {}
        return found

    @property
    def _manifest(self) -> str:
        return self.content.get("manifest") or ""


def newest(cluster: KubernetesApi, release: str) -> Record | None:
    """The release's newest revision; None if there is none in this namespace's Secrets."""
    found = cluster.select(SECRET, f"owner=helm,name={release}")
    if not found:
        return None
    secret = max(found, key=lambda each: int(each["metadata"]["labels"]["version"]))
    packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
    content = json.loads(gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed)
    return Record(release, int(secret["metadata"]["labels"]["version"]), content, secret)


def add_revision(
    cluster: KubernetesApi, record: Record, manifest: str, values: dict[str, Any], why: str
) -> None:
    """Record a deployed revision with this manifest and these values after `record`.

    Raises RefusedError if the newest revision is not deployed, or if another revision is added at
    the same time.
    """
    status = (record.content.get("info") or {}).get("status")
    if status != "deployed":
        raise _not_now(record, f"revision {record.revision} is {status}")
    content = copy.deepcopy(record.content)
    number = record.revision + 1
    content |= {"manifest": manifest, "config": values, "version": number}
    content["info"] |= {"last_deployed": datetime.now(UTC).isoformat(), "description": why}
    try:
        cluster.create(SECRET, _secret(record.release, number, "deployed", content))
    except Conflict as conflict:
        raise _not_now(record, f"revision {number} was added meanwhile") from conflict
    former = copy.deepcopy(record.content)
    former["info"]["status"] = "superseded"
    superseded = _secret(record.release, record.revision, "superseded", former)
    superseded["metadata"]["resourceVersion"] = record.secret["metadata"]["resourceVersion"]
    cluster.replace(SECRET, superseded)


def _not_now(record: Record, found: str) -> RefusedError:
    return RefusedError(
        doing=f"recording a new revision of the Helm release {record.release}",
        found=found,
        expected="a deployed revision that nobody else changes",
        next_step=f"see `helm history {record.release}`, then run this command again",
    )


def _secret(release: str, number: int, status: str, content: dict[str, Any]) -> dict[str, Any]:
    packed = gzip.compress(json.dumps(content).encode())
    return {
        "metadata": {
            "name": f"sh.helm.release.v1.{release}.v{number}",
            "labels": {
                "name": release,
                "owner": "helm",
                "status": status,
                "version": str(number),
                "modifiedAt": str(int(time.time())),
            },
        },
        "type": _TYPE,
        "data": {"release": base64.b64encode(base64.b64encode(packed)).decode()},
    }


def _documents(manifest: str) -> list[str]:
    return [text for text in _SEPARATOR.split(manifest) if text.strip()]


def _joined(documents: list[str]) -> str:
    return "".join(f"---\n{text.rstrip()}\n" for text in documents)


def _is(document: str, kind: str, name: str) -> bool:
    found = yaml.safe_load(document)
    return (
        isinstance(found, dict)
        and found.get("kind") == kind
        and (found.get("metadata") or {}).get("name") == name
    )
