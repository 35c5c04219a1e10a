"""validate: run the release's test suite against stable or the canary; each test is a check."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.context import Assignment
from tarsrelease.model.format import count, duration
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.model.step_details import ValidateDetails
from tarsrelease.model.suite import SuiteResult, SuiteTest
from tarsrelease.operations.outcome import StepReport
from tarsrelease.report.results import count_statuses

STEP = "validate"
TEST = "validation.test"
COMPLETE = "validation.complete"


def judged(report: StepReport, result: SuiteResult, target: Track, marks: Sequence[str]) -> Outcome:
    """Proceed if every test passed. No-go if a test was skipped or there are no tests.

    `report` was begun when the suite began.
    """
    checks = (
        _complete(result),
        *(_check(result.suite, test) for test in result.tests),
    )
    skipped = any(test.status is Status.SKIPPED for test in result.tests)
    good = result.status is Status.PASS and not skipped
    said = f"{count(len(result.tests), 'test')} against {target} in {duration(result.seconds)}: "
    return report.outcome(
        Verdict.PROCEED if good else Verdict.NO_GO,
        said + (result.trouble or count_statuses(checks[1:])),
        checks=checks,
        details=ValidateDetails(
            target=target.value,
            marks=tuple(marks),
            tests=len(result.tests),
            seconds=result.seconds,
        ),
        next_step="" if good else "tarsrelease rollback, where this version has traffic",
    )


def not_validated(assignment: Assignment, target: Track, reason: str) -> Outcome:
    """Proceed, with one skipped check: the suite was not run."""
    check = Check(
        id=COMPLETE,
        status=Status.SKIPPED,
        expected="the suite has tests and runs to its end",
        reason=reason,
    )
    return StepReport(assignment, STEP).outcome(
        Verdict.PROCEED,
        f"NOT CHECKED: the suite did not run against {target}: {reason}",
        checks=(check,),
    )


def _complete(result: SuiteResult) -> Check:
    return Check(
        id=COMPLETE,
        status=Status.ERROR if result.trouble else Status.PASS,
        expected="the suite has tests and runs to its end",
        reason=result.trouble or f"{count(len(result.tests), 'test')} ran",
        source=result.suite,
        samples=len(result.tests),
    )


def _check(suite: str, test: SuiteTest) -> Check:
    return Check(
        id=TEST,
        status=test.status,
        service=test.service,
        observed=test.observed,
        expected=test.expected,
        reason=test.name if test.status is Status.PASS else f"{test.name}: {test.reason}",
        source=f"{suite}::{test.name}",
        window=test.seconds,
    )
