"""Check an SQL file as the migration engine does, without a database. Pure."""

from __future__ import annotations

from collections.abc import Callable

from tarsrelease.migrations.findings import Finding
from tarsrelease.migrations.refusals import written_findings
from tarsrelease.migrations.statements import SqlFile, read_statements
from tarsrelease.model.errors import ReleaseError

Lint = Callable[[SqlFile], list[Finding]]


def sql_faults(path: str, content: bytes, phase: str, lint: Lint) -> list[str]:
    """The faults of the file in this phase (``expand``, ``contract`` or ``down``)."""
    try:
        file = read_statements(path, content)
        found = written_findings(file.statements, phase, lint(file))
    except ReleaseError as problem:
        return [problem.detail.found]
    return [str(item) for item in found if item.refuses]
