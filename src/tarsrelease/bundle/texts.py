"""The texts that a bundle adds, SHA256SUMS and the manifest: pure, same input, same text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from tarsrelease.model.bundle import Manifest


def sha256(content: bytes) -> str:
    """SHA-256 as lower-case hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def checksums_text(digests: Mapping[str, str]) -> str:
    """SHA256SUMS of the GNU form, sorted by path; `digests` is SHA-256 (hex) by path."""
    return "".join(f"{digests[path]}  {path}\n" for path in sorted(digests))


def manifest_text(manifest: Manifest) -> str:
    """The manifest as JSON for people and machines; what has no value is left out."""
    data = manifest.model_dump(mode="json", by_alias=True, exclude_none=True)
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
