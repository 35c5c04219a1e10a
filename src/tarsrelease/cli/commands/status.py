"""tarsrelease status"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


def _status(settings: Settings) -> int:
    """Show the state of the release, what it waits for and until when, and what to do next.

    It reads routes, journal, lock and Helm's history from the cluster and changes nothing.
    """
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.steps.status import status as step

        return step(session.context)

    return carry_out(settings, "status", act, changes=False, recording=Recording.WHEN_ASKED)


status = command(
    "release:newest",
    "environment",
    "target",
    "wave",
    "evidence:none",
    name="status",
    example="tarsrelease status --environment production",
)(_status)
