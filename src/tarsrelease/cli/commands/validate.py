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


def _side(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if value not in ("canary", "stable"):
        raise click.BadParameter(
            f"{value!r} is not one of 'canary', 'stable'; --at {value} chooses one of the "
            "environment's targets"
        )
    return value


@click.option(
    "--target",
    "side",
    callback=_side,
    metavar="[canary|stable]",
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
    from tarsrelease.cli.session import carry_out

    chosen = _marks(marks)

    def act(session: Session) -> Outcome:
        from tarsrelease.cli.validation import validating
        from tarsrelease.model.measurement import Track
        from tarsrelease.operations.tasks import result_of

        task = validating(session, Track(side), chosen, deadline, html)
        return result_of(session.clock, task)

    return carry_out(settings, "validate", act, changes=False)


def _marks(marks: tuple[str, ...]) -> tuple[str, ...]:
    for mark in marks:
        if not mark.isidentifier():
            raise click.BadParameter(f"{mark!r} is not the name of a mark", param_hint="--mark")
    return marks


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
