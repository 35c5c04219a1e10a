"""Send a notice to all channels of the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.notice import Notice


def announce(session: Session, notice: Notice) -> tuple[str, ...]:
    """Send the notice to all channels; returns a warning for each that did not get it."""
    from tarsrelease.wiring.outbox import closing_outbox

    outbox = closing_outbox(session.environment, session.release)
    outbox.post(notice)
    return outbox.close()[1]
