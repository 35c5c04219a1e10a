"""Check that the migration engine accepts the migrations' files. Pure, given a linter."""

from __future__ import annotations

from collections.abc import Mapping

from tarsrelease.bundle.results import judged, not_checked
from tarsrelease.bundle.sources import Means
from tarsrelease.model.bundle import Manifest
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.outcome import Check

_EXPECTED = "SQL that PostgreSQL parses and that does not block production queries"


def lint_checks(
    manifest: Manifest, contents: Mapping[str, bytes | str], means: Means
) -> list[Check]:
    """`contents` is each file's bytes by path, or why they are not there."""
    files: dict[str, str] = {migration.file: migration.phase for migration in manifest.migrations}
    files |= {migration.down: "down" for migration in manifest.migrations if migration.down}
    if not files:
        return []  # manifest.migrations says so
    if means.sql_faults is None:
        return [not_checked("migrations.lint", _EXPECTED, "nothing here reads SQL")]
    faults: list[str] = []
    for path, phase in sorted(files.items()):
        content = contents.get(path, f"{path} is absent")
        if isinstance(content, str):
            faults.append(content)
            continue
        try:
            faults += means.sql_faults(path, content, phase)
        except ReleaseError as problem:  # the linter itself is not there
            return [not_checked("migrations.lint", _EXPECTED, problem.detail.found)]
    whole = f"{len(files)} files parse, and nothing in them is refused"
    return judged("migrations.lint", _EXPECTED, "migrations", faults, whole)
