"""tarsrelease hold, resume and abort"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.context import Context
    from tarsrelease.model.lifting import Lifting
    from tarsrelease.model.outcome import Outcome

_REASON = click.option("--reason", required=True, metavar="TEXT", help="Reason. It is recorded.")
_BY = click.option("--by", metavar="NAME", help="Your name; by default user@host.")


@_REASON
@_BY
def _hold(settings: Settings, reason: str, by: str | None) -> int:
    """Hold the release: its traffic stays as it is and evaluated, and no further stage begins.

    It works from any machine and needs no lock. After limits.wait all traffic moves to stable.
    """
    from tarsrelease.steps.hold import hold as step

    return _step_in(settings, "hold", step, reason, by)


@_REASON
@_BY
def _resume(settings: Settings, reason: str, by: str | None) -> int:
    """Resume a release that `tarsrelease hold` holds.

    It also accepts a revision of stable that somebody else installed during the release.
    """
    from tarsrelease.steps.resume import resume as step

    return _step_in(settings, "resume", step, reason, by)


@_REASON
@_BY
def _abort(settings: Settings, reason: str, by: str | None) -> int:
    """Move all traffic to the side that is proven good, and end the release.

    It works from any machine and waits for no lock. A running `tarsrelease run` then rolls back;
    otherwise run `tarsrelease rollback`.
    """
    from tarsrelease.steps.abort import abort as step

    return _step_in(settings, "abort", step, reason, by)


def _step_in(
    settings: Settings,
    name: str,
    step: Callable[[Context, Lifting], Outcome],
    reason: str,
    by: str | None,
) -> int:
    from tarsrelease.cli.gate_modes import who_and_why
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        person = who_and_why(by or session.run.owner, reason, "--by", "--reason")
        return step(session.context, person)

    return carry_out(settings, name, act, recording=Recording.IF_POSSIBLE)


_command = partial(command, "release", "environment", "target", "wave", "evidence")
_EXAMPLE = 'tarsrelease {} --release release/v1_0_1 --environment production --reason "{}"'

hold = _command(name="hold", example=_EXAMPLE.format("hold", "errors in the shop"))(_hold)
resume = _command(name="resume", example=_EXAMPLE.format("resume", "was another team"))(_resume)
abort = _command(name="abort", example=_EXAMPLE.format("abort", "wrong totals"))(_abort)
