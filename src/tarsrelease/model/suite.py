"""The results of a release's test suite against one track."""

from __future__ import annotations

from tarsrelease.model.base import Value
from tarsrelease.model.outcome import Observed, Status, worst


class SuiteTest(Value):
    """One test. `service` says whose it is, where the suite tells; `seconds` is how long it took.

    A failed test is `fail`; one that broke before it could judge is `error`.
    """

    name: str
    status: Status
    seconds: float
    reason: str
    service: str | None = None
    observed: Observed | None = None
    expected: str = "passes"


class SuiteResult(Value):
    """A run of a suite. `trouble` says why it did not run to its end (deadline, broken file)."""

    suite: str
    tests: tuple[SuiteTest, ...]
    seconds: float
    trouble: str | None = None

    @property
    def status(self) -> Status:
        """The most severe status; `error` without tests, and never `pass` if all were skipped."""
        judged = [test.status for test in self.tests if test.status is not Status.SKIPPED]
        found = worst(judged)
        return worst([found, Status.ERROR]) if self.trouble else found
