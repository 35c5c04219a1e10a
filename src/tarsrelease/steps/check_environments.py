"""Check that GitHub's environments require reviewers, and that two people approved a run."""

from __future__ import annotations

from tarsrelease.context import Assignment
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.github import GitHub
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
    """Check the environments' rules, and with `approvals_of` (a run id) that run's approvals."""
    report = StepReport(assignment, STEP)
    settings = configured(assignment.environment)
    checks = environment_checks(settings, reviews)
    private = reviews.private()
    given: list[Approval] = []
    if approvals_of is not None:
        given = reviews.approvals(approvals_of)
        checks.append(judge.two_people(settings, given, approvals_of))
    return go_or_no_go(
        report,
        checks,
        EnvironmentsDetails(private=private, approvals=tuple(given)),
    )


def environment_checks(settings: GitHub, reviews: Reviews) -> list[Check]:
    """The results of the environments' rules and of the branches' that may use them."""
    private = reviews.private()
    checks = [
        check
        for wanted in settings.environments
        for check in judge.rules(
            wanted, settings.branches_of(wanted), reviews.rules(wanted.name), private=private
        )
    ]
    checks += [
        judge.branch_rules(pattern, reviews.branch_rules(judge.example_of(pattern)))
        for pattern in settings.protected_branches
    ]
    return [*checks, judge.two_people_required(settings)]


def configured(environment: Environment) -> GitHub:
    """The environment file's `github`. Raises UsageError if it has none."""
    if environment.github is None or not environment.github.environments:
        raise UsageError(
            doing="checking who approves",
            found=f"environment {environment.name} has no github.environments",
            expected="github.environments with their reviewers",
            next_step=f"add them to environments/{environment.name}.yaml "
            "(see `tarsrelease schema`)",
        )
    return environment.github
