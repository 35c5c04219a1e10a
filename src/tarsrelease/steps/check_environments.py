"""The people who must approve: are they asked at all, and did two of them say yes?"""

from __future__ import annotations

from tarsrelease.context import Assignment
from tarsrelease.model.environment import Environment, GitHub
from tarsrelease.model.errors import UsageError
from tarsrelease.model.outcome import Check, Outcome
from tarsrelease.model.people import Approval
from tarsrelease.model.step_details import EnvironmentsDetails
from tarsrelease.operations.outcome import StepReport
from tarsrelease.ports.people import Reviews
from tarsrelease.readiness import approvals as judge
from tarsrelease.steps.check_preflight import go_or_no_go

STEP = "check environments"


def check_environments(
    assignment: Assignment, reviews: Reviews, *, approvals_of: str | None
) -> Outcome:
    """The environments' rules; and with `approvals_of` (a run's id) who approved that run."""
    report = StepReport(assignment, STEP)
    settings = configured(assignment.environment)
    private = reviews.private()
    checks: list[Check] = [
        check
        for wanted in settings.environments
        for check in judge.rules(wanted, reviews.rules(wanted.name), private=private)
    ]
    given: list[Approval] = []
    if approvals_of is not None:
        given = reviews.approvals(approvals_of)
        checks.append(judge.two_people(settings, given, approvals_of))
    return go_or_no_go(
        report,
        checks,
        EnvironmentsDetails(private=private, approvals=tuple(given)),
    )


def configured(environment: Environment) -> GitHub:
    """The environment file's `github`. Raises UsageError where it has none."""
    if environment.github is None or not environment.github.environments:
        raise UsageError(
            doing="checking who approves",
            found=f"environment {environment.name} names no github environments",
            expected="github.environments with their reviewers",
            next_step=f"add them to environments/{environment.name}.yaml "
            "(tarsrelease schema shows the form)",
        )
    return environment.github
