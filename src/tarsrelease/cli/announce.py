"""Send a notice to all channels of the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.notice import Notice


def announce(session: Session, notice: Notice) -> tuple[str, ...]:
    """Send the notice to all channels; returns a warning for each that did not get it."""
    from tarsrelease.adapters.channels.channels import Channels
    from tarsrelease.adapters.channels.templates import worded
    from tarsrelease.steps.notify import send

    clock, place = session.context.clock, session.environment.notifications
    channels, said = Channels(place), worded(notice, place.templates)
    messages, warnings = channels.messages(said, clock.now())
    told = send(said, messages, told=(), receivers=channels, clock=clock, warnings=warnings)
    return told.details.warnings
