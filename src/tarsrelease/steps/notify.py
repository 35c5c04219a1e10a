"""notify send: send a notice to people. A receiver that fails is only a warning."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from textwrap import indent

from tarsrelease.model.details import Details
from tarsrelease.model.format import count
from tarsrelease.model.notice import Message, Notice, Outgoing, Told
from tarsrelease.model.outcome import Outcome, Verdict, exit_code_of
from tarsrelease.model.step_details import (
    MessagesDetails,
    NotifyDetails,
    NotifyPreviewDetails,
    PreviewedMessage,
)
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.people import ClosingOutbox
from tarsrelease.report.notices.wording import headline

STEP = "notify send"
MESSAGES = "messages"
HIDDEN = "(hidden)"


def send(
    notice: Notice,
    outbox: ClosingOutbox,
    *,
    wait: float,
    clock: Clock,
) -> Outcome:
    """Send each message once per run, and wait up to `wait` seconds for the receivers.

    What was not delivered is in `details.warnings`; the next command of the release tries again.
    """
    started_at = clock.now()
    before = outbox.known(notice.key)
    outbox.post(notice)
    told, undelivered = outbox.close(wait)
    now = next((each.delivered for each in told if each.notice.key == notice.key), ())
    delivered = [name for name in now if name not in before]
    problems = [*outbox.unset(notice), *undelivered]
    said = [f"notified {', '.join(delivered)}"] if delivered else []
    said += [f"notified before: {', '.join(before)}"] if before else []
    said += [f"NOT SENT, {count(len(problems), 'warning')}: {problems[0]}"] if problems else []
    details = NotifyDetails(
        key=notice.key,
        delivered=tuple(delivered),
        known_already=tuple(before),
        threads=outbox.threads(),
        warnings=tuple(problems),
    )
    summary = "; ".join(said) or "no receiver for this event"
    return _ended(STEP, notice, summary, details, started_at=started_at, clock=clock)


def messages_outcome(
    told: Sequence[Told],
    warnings: Sequence[str],
    *,
    release: str | None,
    environment: str | None,
    clock: Clock,
) -> Outcome:
    """What a step told people, for the evidence. It decides nothing."""
    delivered = sum(len(each.delivered) for each in told)
    said = f"{count(delivered, 'message')} delivered about {count(len(told), 'event')}"
    said += f"; NOT SENT: {warnings[0]}" if warnings else ""
    now = clock.now()
    return Outcome(
        step=MESSAGES,
        release=release,
        environment=environment,
        verdict=Verdict.PROCEED,
        exit_code=exit_code_of(Verdict.PROCEED),
        summary=said,
        details=MessagesDetails(told=tuple(told), warnings=tuple(warnings)),
        started_at=min((each.at for each in told), default=now),
        finished_at=now,
    )


def preview(
    notice: Notice, messages: Sequence[Message], *, clock: Clock, warnings: Sequence[str] = ()
) -> Outcome:
    """Show the messages with keys hidden, without sending them."""
    bodies = [
        PreviewedMessage(
            receiver=message.name,
            body={
                key: HIDDEN if key == "routing_key" else value
                for key, value in message.body.items()
            },
        )
        for message in messages
    ]
    said = f"{headline(notice)}: {count(len(bodies), 'message')}, none sent"
    details = NotifyPreviewDetails(
        key=notice.key,
        messages=tuple(bodies),
        lines=tuple(_shown(bodies)),
        warnings=tuple(warnings),
    )
    return _ended("notify preview", notice, said, details, started_at=clock.now(), clock=clock)


def _shown(bodies: Sequence[PreviewedMessage]) -> list[str]:
    return [
        line
        for body in bodies
        for line in (
            body.receiver,
            *indent(json.dumps(body.body, indent=2, ensure_ascii=False), "  ").splitlines(),
        )
    ]


def told_before(outcomes: Iterable[Outcome], notice: Notice, at: datetime) -> Outgoing:
    """The outbox as the evidence knows it: who got the notice, and the open threads."""
    delivered: dict[str, None] = {}
    threads: dict[str, str] = {}
    for outcome in outcomes:
        sent = NotifyDetails.of(outcome.details)
        if sent is not None:
            threads |= sent.threads
        if sent is not None and sent.key == notice.key:
            delivered |= dict.fromkeys(sent.delivered)
        several = MessagesDetails.of(outcome.details)
        for each in several.told if several is not None else ():
            if each.notice.key == notice.key:
                delivered |= dict.fromkeys(each.delivered)
    told = Told(notice=notice, at=at, delivered=tuple(delivered))
    return Outgoing(told=(told,) if delivered else (), threads=threads)


def _ended(
    step: str,
    notice: Notice,
    summary: str,
    details: Details,
    *,
    started_at: datetime,
    clock: Clock,
) -> Outcome:
    return Outcome(
        step=step,
        release=notice.release,
        environment=notice.environment,
        verdict=Verdict.PROCEED,
        exit_code=exit_code_of(Verdict.PROCEED),
        summary=summary,
        details=details,
        started_at=started_at,
        finished_at=clock.now(),
    )
