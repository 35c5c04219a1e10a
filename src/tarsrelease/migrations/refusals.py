"""Why a migration may not be applied: what stands in the files, and what they would break."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tarsrelease.migrations.findings import Finding, unknown_allowances
from tarsrelease.migrations.linting import NOT_ASKED
from tarsrelease.migrations.rules import RULES, check_statement
from tarsrelease.migrations.statements import SqlFile, Statement
from tarsrelease.model.errors import RefusedError, UsageError
from tarsrelease.model.release import Release


def written_findings(
    statements: Sequence[Statement], phase: str, linted: Sequence[Finding] = ()
) -> list[Finding]:
    """Findings that can be told from the text alone, and allowances of rules that are unknown."""
    found = [item for one in statements for item in check_statement(one, phase)]
    known = {*RULES, *(item.rule for item in linted), *NOT_ASKED}
    wrong = unknown_allowances(statements, known, found)
    # Whether an allowance is of use can only be said once the locks have been measured.
    return found + [item for item in wrong if item.stops]


def refuse(findings: Sequence[Finding]) -> None:
    """Raise RefusedError where a finding stops the migration."""
    stopping = [item for item in findings if item.stops]
    if not stopping:
        return
    raise RefusedError(
        doing="looking for dangerous statements",
        found="\n".join(f"{item}\n  remedy: {item.remedy}" for item in stopping),
        expected="statements that keep nobody waiting and can be resumed",
        next_step="change the statement; or, where a rule may be broken, write above it: "
        "-- tarsrelease:allow RULE: REASON",
    )


def refuse_objections(release: Release, objections: Sequence[str]) -> None:
    """Raise RefusedError where files and history do not fit together."""
    if objections:
        raise RefusedError(
            doing=f"comparing the migrations of {release.version} with the database's history",
            found="\n".join(objections),
            expected="files as they were applied, all there, in order",
            next_step="put the file back as it was and add a new one for what must change; "
            "`tarsrelease migrate status` shows the history",
        )


def phase_files(
    release: Release, files: Mapping[str, SqlFile], phase: str
) -> list[tuple[str, SqlFile]]:
    """The phase's files. Raises UsageError where the release has no such phase at all."""
    if phase not in {"expand", "contract"}:
        raise UsageError(
            doing="choosing the phase",
            found=phase,
            expected="expand or contract",
            next_step="--phase expand",
        )
    return [
        (migration.file, files[migration.file])
        for migration in release.manifest.migrations
        if migration.phase == phase
    ]
