"""How large Helm's record of a release is. Pure.

Helm keeps each revision in one Secret: its JSON, gzipped, in base64 (helm.sh/helm/v4,
pkg/storage/driver). The API server refuses a Secret of more than 1 MiB (validation.MaxSecretSize).
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from tarsrelease.bundle.results import judged, not_checked
from tarsrelease.model.outcome import Check

LARGEST = 2**20
_SURE = 0.97
"""Compressors differ by a little; tests compare with what Helm writes."""
_EXPECTED = "Helm's record of a release fits into a Secret (1 MiB)"
_PARTS = re.compile(r"[^/]+/(.+)")
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def record_size(
    archive: bytes, values: Mapping[str, Any], rendered: Sequence[Mapping[str, Any]]
) -> int:
    """Bytes of the Secret's data: the chart's own files, its values, the given values, the objects.

    The files of subcharts are not part of the record, only their objects. Raises tarfile.TarError
    and OSError for what is no archive.
    """
    templates, files, chart = [], [], {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
        for member in opened:
            file = opened.extractfile(member) if member.isfile() else None
            inside = _PARTS.fullmatch(member.name)
            if file is None or inside is None or inside[1].startswith("charts/"):
                continue
            entry = {"name": inside[1], "data": base64.b64encode(file.read()).decode()}
            if inside[1] in ("values.yaml", "Chart.yaml", "values.schema.json"):
                chart[inside[1]] = entry["data"]
            elif inside[1].startswith("templates/"):
                templates.append(entry)
            else:
                files.append(entry)
    manifest = yaml.dump_all(rendered, Dumper=_Dumper, sort_keys=False)
    record = {
        "chart": {**chart, "templates": templates, "files": files},
        "config": values,
        "manifest": manifest,
    }
    packed = gzip.compress(json.dumps(record, default=str).encode(), compresslevel=9, mtime=0)
    return len(base64.b64encode(packed))


def record_check(
    file: str,
    archive: bytes,
    sides: Sequence[tuple[str, Mapping[str, Any], Sequence[Mapping[str, Any]]]],
) -> list[Check]:
    """Check that each side's record fits: its name, its own values and its objects."""
    if not sides:
        return [not_checked("chart.record", _EXPECTED, "nothing rendered", source=file)]
    sizes = {who: record_size(archive, values, objects) for who, values, objects in sides}
    faults = [
        f"the record of {who} has about {size / 1e6:.2f} MB, at most {LARGEST / 1e6:.2f} MB are "
        "stored; take large files out of the chart (for example into a ConfigMap of their own)"
        for who, size in sizes.items()
        if size > _SURE * LARGEST
    ]
    largest = max(sizes.values())
    return judged("chart.record", _EXPECTED, file, faults, f"about {largest / 1e3:.0f} kB of 1 MiB")
