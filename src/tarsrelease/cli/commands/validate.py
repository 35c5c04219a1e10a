"""tarsrelease validate"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.options import SOME_TIME
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.option(
    "--target",
    "side",
    type=click.Choice(["canary", "stable"]),
    required=True,
    help="Side to test: the canary (by its header), or stable as users reach it.",
)
@click.option(
    "--mark",
    "marks",
    multiple=True,
    metavar="NAME",
    help="Run only tests with this mark, such as hotfix. Repeatable. Default: all.",
)
@click.option(
    "--deadline",
    type=SOME_TIME,
    metavar="DURATION",
    default="10m",
    show_default=True,
    help="Time limit of the whole suite.",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Report file. Default: validation-TARGET.html in the evidence folder.",
)
def _validate(
    settings: Settings, side: str, marks: tuple[str, ...], deadline: float, html: Path | None
) -> int:
    """Run the bundle's own tests (production_validation_suite.py) against one side.

    Every test is a check of the Outcome. The suite runs in a process of its own, from a copy of the
    files in SHA256SUMS. Requires the extra [validate].
    """
    from tarsrelease.cli.same_bundle import same_bundle
    from tarsrelease.cli.session import carry_out

    chosen = _marks(marks)

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.pytest.suite import PytestSuite
        from tarsrelease.model.measurement import Track
        from tarsrelease.report.outcome_html import outcome_html
        from tarsrelease.steps.validate import validate as step

        session.use_listed_bytes()
        same = same_bundle(session, "validation.identity")
        folder = Path(session.release.folder)
        suites = PytestSuite(folder, session.environment, deadline=deadline)
        outcome = step(session.assignment, suites, Track(side), chosen)
        outcome = outcome.model_copy(update={"checks": (*outcome.checks, same)})
        evidence = session.evidence()
        folder = evidence.path.parent if evidence else Path()
        path = session.own_file(html or folder / f"validation-{side}.html")
        details = outcome.details.model_copy(update={"html": str(path)})
        outcome = outcome.model_copy(update={"details": details})
        _write(path, outcome_html(outcome))
        if not chosen:
            _journal(session, outcome)
        return outcome

    return carry_out(settings, "validate", act, changes=False)


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


def _marks(marks: tuple[str, ...]) -> tuple[str, ...]:
    for mark in marks:
        if not mark.isidentifier():
            raise click.BadParameter(f"{mark!r} is not the name of a mark", param_hint="--mark")
    return marks


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


validate = command(
    "release:newest",
    "environment",
    "target:at",
    "wave",
    "evidence",
    name="validate",
    example="tarsrelease validate --target canary --mark hotfix --release release/v1_0_1 "
    "--environment production\n"
    "tarsrelease validate --target stable --environment production --at eu-1",
)(_validate)
