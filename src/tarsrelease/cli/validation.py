"""Run the bundle's own tests for `validate`, and for `run` before it promotes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tarsrelease.cli.same_bundle import same_bundle
from tarsrelease.model.measurement import Track

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome
    from tarsrelease.ports.clock import Task

DEADLINE = 600.0
"""Seconds that the whole suite may take."""


def validating(
    session: Session,
    target: Track,
    marks: Sequence[str] = (),
    deadline: float = DEADLINE,
    html: Path | None = None,
) -> Task[Outcome]:
    """Run the suite and judge it (`steps.validate`); write the report; journal a whole run.

    `html` is validation-TARGET.html in the evidence folder by default.
    """
    from tarsrelease.adapters.pytest.suite import PytestSuite
    from tarsrelease.operations.outcome import StepReport
    from tarsrelease.report.outcome_html import outcome_html
    from tarsrelease.steps.validate import STEP, judged

    session.use_listed_bytes()
    report = StepReport(session.assignment, STEP)
    same = same_bundle(session, "validation.identity")
    suites = PytestSuite(Path(session.release.folder), session.environment, deadline=deadline)
    result = yield from suites.running(marks, target)
    outcome = judged(report, result, target, marks)
    outcome = outcome.model_copy(update={"checks": (*outcome.checks, same)})
    evidence = session.evidence()
    folder = evidence.path.parent if evidence else Path()
    path = session.own_file(html or folder / f"validation-{target}.html")
    details = outcome.details.model_copy(update={"html": str(path)})
    outcome = outcome.model_copy(update={"details": details})
    _write(path, outcome_html(outcome))
    if not marks:
        _journal(session, outcome)
    return outcome


def validation_of_run(session: Session, left_out: str | None) -> Callable[[], Task[Outcome]]:
    """What `run` does before it promotes: the whole suite against the canary.

    The suite is skipped if the bundle has none, or for the reason `left_out`. Raises UsageError if
    the suite cannot run here, so that `run` finds this before it changes anything.
    """
    from tarsrelease.adapters.pytest.suite import SUITE, need_pytest

    reason = left_out
    if reason is None and not (Path(session.release.folder) / SUITE).is_file():
        reason = f"the bundle has no {SUITE}"
    if reason is not None:
        return partial(_left_out, session, reason)
    need_pytest()
    return partial(validating, session, Track.CANARY)


def _left_out(session: Session, reason: str) -> Task[Outcome]:
    from tarsrelease.steps.validate import not_validated

    yield 0.0
    return not_validated(session.assignment, Track.CANARY, reason)


def _journal(session: Session, outcome: Outcome) -> None:
    """Record a run of the whole suite on the cluster, where go or no-go of production finds it."""
    from tarsrelease.model.errors import ReleaseError
    from tarsrelease.model.journal import Phase, ValidateFacts
    from tarsrelease.model.step_details import ValidateDetails
    from tarsrelease.operations.journaling import journal_if_possible
    from tarsrelease.rollout.release_journal import VALIDATE

    details = ValidateDetails.of(outcome.details)
    if details is None or outcome.verdict is None:
        return
    facts = ValidateFacts(verdict=outcome.verdict.value, target=details.target, tests=details.tests)
    try:
        journal_if_possible(session.context, "validate", VALIDATE, Phase.RESULT, facts)
    except ReleaseError as error:
        session.progress.say(f"journal: cannot be written ({error}); continuing")


def _write(path: Path, text: str) -> None:
    from tarsrelease.model.errors import UsageError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise UsageError(
            doing="writing the report",
            found=f"{path} cannot be written: {problem.strerror}",
            expected="a folder that this user may write to",
            next_step="name another file with --html",
        ) from problem
