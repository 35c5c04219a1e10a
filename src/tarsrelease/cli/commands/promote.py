"""tarsrelease promote"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


def _promote(settings: Settings) -> int:
    """Make the canary's version stable and remove the canary.

    Requires that the 100 % stage proceeded. The proven canary serves while stable is upgraded. The
    traffic then returns to stable in steps, with an evaluation at each step.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.steps.promote import promote as step

        return step(session.context)

    return carry_out(settings, "promote", act)


promote = command(
    "release",
    "environment",
    "target",
    "wave",
    "evidence",
    name="promote",
    example="tarsrelease promote --release release/v1_0_1 --environment production",
)(_promote)
