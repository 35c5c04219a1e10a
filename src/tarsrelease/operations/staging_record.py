"""What staging's journal and its evidence say about this release."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.journal import Entry, Phase, ValidateFacts
from tarsrelease.model.outcome import Check, ExitCode, Outcome, Status, Verdict
from tarsrelease.model.step_details import ValidateDetails
from tarsrelease.ports.cluster import Journal
from tarsrelease.rollout.release_journal import VALIDATE

_EXPECTED = "the whole suite passed in staging"


def suite_in_staging(
    check_id: str,
    version: str,
    journal: Journal | ReleaseError | None,
    recorded: Iterable[Outcome],
    staging: str | None,
) -> Check:
    """Check that the last run of the whole suite in staging passed, with at least one test."""

    def check(status: Status, reason: str, tests: int | None = None) -> Check:
        return Check(
            id=check_id,
            status=status,
            expected=_EXPECTED,
            reason=reason,
            source="staging's journal and the evidence",
            samples=tests,
        )

    entries: Sequence[Entry] = ()
    trouble = ""
    if isinstance(journal, ReleaseError):
        trouble = f"; staging's journal: {journal}"
    elif journal is not None:
        try:
            entries = journal.entries()
        except ReleaseError as error:
            trouble = f"; staging's journal: {error}"
    runs = sorted([*_journaled(entries, version), *_recorded(recorded, version, staging)])
    if not runs:
        reason = f"no run of the whole suite of {version} in staging is recorded{trouble}"
        return check(Status.ERROR, f"{reason}; run `tarsrelease validate --environment {staging}`")
    at, passed, tests = runs[-1]
    when = f"{at:%Y-%m-%d %H:%M} UTC"
    if passed and tests > 0:
        return check(Status.PASS, f"{tests} of {tests} tests passed, {when}", tests)
    return check(Status.FAIL, f"not all of {tests} tests passed, {when}", tests)


def _journaled(entries: Iterable[Entry], version: str) -> list[tuple[datetime, bool, int]]:
    return [
        (entry.at, facts.verdict == Verdict.PROCEED, facts.tests)
        for entry in entries
        if entry.release == version
        and entry.action == VALIDATE
        and entry.phase is Phase.RESULT
        and (facts := ValidateFacts.of(entry.facts)) is not None
    ]


def _recorded(
    outcomes: Iterable[Outcome], version: str, staging: str | None
) -> list[tuple[datetime, bool, int]]:
    return [
        (outcome.finished_at, outcome.exit_code is ExitCode.DONE, details.tests)
        for outcome in outcomes
        if outcome.step == "validate"
        and outcome.release == version
        and outcome.environment == staging
        and (details := ValidateDetails.of(outcome.details)) is not None
        and not details.marks
    ]
