"""notify send: send messages to people. A receiver that fails is only a warning."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from textwrap import indent

from tarsrelease.model.details import Details
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.format import count
from tarsrelease.model.notice import Message, Notice
from tarsrelease.model.outcome import Outcome, Verdict, exit_code_of
from tarsrelease.model.step_details import NotifyDetails, NotifyPreviewDetails, PreviewedMessage
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.people import Receivers
from tarsrelease.report.notices.wording import headline

STEP = "notify send"
HIDDEN = "(hidden)"


def send(
    notice: Notice,
    messages: Sequence[Message],
    *,
    told: Iterable[Outcome],
    receivers: Receivers,
    clock: Clock,
    warnings: Sequence[str] = (),
) -> Outcome:
    """Send each message once per run; `told` are the run's outcomes so far.

    Failed deliveries are in `details.warnings`; the next call tries them again.
    """
    started_at = clock.now()
    before = already_told(told, notice.key)
    delivered, skipped, problems = [], [], list(warnings)
    for message in messages:
        name = f"{message.receiver}{message.path}"
        if name in before:
            skipped.append(name)
            continue
        try:
            receivers.deliver(message)
        except ReleaseError as error:
            problems.append(f"{message.receiver}: {error}; {error.detail.next}")
        else:
            delivered.append(name)
    said = [f"notified {', '.join(delivered)}"] if delivered else []
    said += [f"notified before: {', '.join(skipped)}"] if skipped else []
    said += [f"NOT SENT, {count(len(problems), 'warning')}: {problems[0]}"] if problems else []
    details = NotifyDetails(
        key=notice.key,
        delivered=tuple(delivered),
        known_already=tuple(skipped),
        warnings=tuple(problems),
    )
    summary = "; ".join(said) or "no receiver for this event"
    return _ended(STEP, notice, summary, details, started_at=started_at, clock=clock)


def preview(
    notice: Notice, messages: Sequence[Message], *, clock: Clock, warnings: Sequence[str] = ()
) -> Outcome:
    """Show the messages with keys hidden, without sending them."""
    bodies = [
        PreviewedMessage(
            receiver=f"{message.receiver}{message.path}",
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


def already_told(outcomes: Iterable[Outcome], key: str) -> frozenset[str]:
    """The receivers that got the notice with this key before."""
    told: set[str] = set()
    for outcome in outcomes:
        details = NotifyDetails.of(outcome.details)
        if details is not None and details.key == key:
            told |= set(details.delivered)
    return frozenset(told)


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
