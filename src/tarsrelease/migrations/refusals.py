"""Why a migration may not be applied, judged by its files alone."""

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
    """Findings from the text alone, and allowances of unknown rules."""
    found = [item for one in statements for item in check_statement(one, phase)]
    known = {*RULES, *(item.rule for item in linted), *NOT_ASKED}
    wrong = unknown_allowances(statements, known, found)
    # Whether an allowance is needed is known only after the locks have been measured.
    return found + [item for item in wrong if item.refuses]


def refuse(findings: Sequence[Finding]) -> None:
    """Raise RefusedError if a finding refuses the migration."""
    refusing = [item for item in findings if item.refuses]
    if not refusing:
        return
    raise RefusedError(
        doing="checking the statements",
        found="\n".join(f"{item}\n  remedy: {item.remedy}" for item in refusing),
        expected="statements that block nobody and can be resumed",
        next_step="change the statement; or, where a rule may be broken, write above it: "
        "-- tarsrelease:allow RULE: REASON",
    )


def refuse_objections(release: Release, objections: Sequence[str]) -> None:
    """Raise RefusedError if files and history do not agree."""
    if objections:
        raise RefusedError(
            doing=f"comparing the migrations of {release.version} with the database's history",
            found="\n".join(objections),
            expected="files as they were applied, all there, in order",
            next_step="restore the file and add a new one for what must change; "
            "`tarsrelease migrate status` shows the history",
        )


def phase_files(
    release: Release, files: Mapping[str, SqlFile], phase: str
) -> list[tuple[str, SqlFile]]:
    """The phase's files. Raises UsageError if the release has no such phase at all."""
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
