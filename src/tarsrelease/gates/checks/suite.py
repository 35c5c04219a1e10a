"""A marked part of the release's own tests, run against the judged side."""

from __future__ import annotations

from tarsrelease.gates.checks.comparison import not_told
from tarsrelease.gates.checks.inputs import Inputs, Patience, Subject
from tarsrelease.model.checks import SuiteCheck
from tarsrelease.model.format import count, duration, names
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.model.suite import SuiteResult


def judge(rule: SuiteCheck, subject: Subject, inputs: Inputs, _patience: Patience) -> Check:
    """A failed test fails; one that broke, or too few that ran, are an error."""
    result = inputs.external.get(rule.id)

    def check(status: Status, reason: str, passed: int | None = None) -> Check:
        ran = None
        if isinstance(result, SuiteResult):
            ran = sum(test.status is not Status.SKIPPED for test in result.tests)
        return Check(
            id=rule.id,
            status=status,
            observed=None if passed is None else Observed(value=passed, unit="count"),
            expected=f"all tests marked {' or '.join(rule.marks)} pass, {rule.at_least} or more",
            reason=reason,
            source=f"the suite, against {subject.track}",
            window=inputs.elapsed,
            samples=ran,
        )

    if result is None:
        return check(Status.INCONCLUSIVE, "the tests are still running")
    if not isinstance(result, SuiteResult):
        return check(Status.ERROR, f"not run: {not_told(result)}")
    by_status: dict[Status, list[str]] = {status: [] for status in Status}
    for test in result.tests:
        by_status[test.status].append(test.name)
    passed = len(by_status[Status.PASS])
    skipped = len(by_status[Status.SKIPPED])
    said = f"{count(passed, 'test')} passed in {duration(result.seconds)}"
    said += f", {skipped} skipped" if skipped else ""
    if failed := by_status[Status.FAIL]:
        reason = f"{count(len(failed), 'test')} failed: {names(failed)}; {said}"
        return check(Status.FAIL, reason, passed)
    broken = by_status[Status.ERROR] + by_status[Status.INCONCLUSIVE]
    if result.trouble or broken:
        why = result.trouble or f"{names(broken)} broke before judging"
        return check(Status.ERROR, f"{why}; {said}", passed)
    if passed < rule.at_least:
        return check(Status.ERROR, f"{said}; {rule.at_least} or more must run", passed)
    return check(Status.PASS, said, passed)
