"""tarsrelease promote"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


def _promote(settings: Settings) -> int:
    """Make the canary's version the stable one, and remove the canary.

    Needs the 100 % stage to have proceeded. The canary, which is proven, serves while stable is
    upgraded; then the traffic comes back in steps, with a look at each.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.steps.promote import promote as step

        return step(session.context)

    return carry_out(settings, "promote", act)


promote = command(
    "release",
    "environment",
    "evidence",
    name="promote",
    example="tarsrelease promote --release release/v1_0_1 --environment production",
)(_promote)
