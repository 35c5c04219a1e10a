"""What people decide before a release, into the journal: votes, overrides, a new window."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tarsrelease.context import Context
from tarsrelease.model.errors import UsageError
from tarsrelease.model.journal import OverrideFacts, Phase, PostponeFacts, VoteFacts
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.notice import Event, Notice
from tarsrelease.model.people import Answer
from tarsrelease.model.window import FixedWindow
from tarsrelease.operations.journaling import journal
from tarsrelease.readiness.decision import CHECKED, can_be_overridden
from tarsrelease.rollout import votes
from tarsrelease.steps.check_go_no_go import STEP

Announce = Callable[[Notice], Sequence[str]]
"""Sends a notice; returns a warning for each channel that did not get it."""


def cast(context: Context, role: str, answer: Answer, by: str, reason: str) -> None:
    """Journal a vote. Raises UsageError for a role that is not in rollout.yaml."""
    readiness = context.rollout.readiness
    if role not in readiness.roles:
        known = ", ".join(readiness.roles)
        raise UsageError(
            doing="voting",
            found=f"no role {role!r} in rollout.yaml",
            expected=f"one of {known}",
            next_step=f"--vote ROLE={answer} --by {by}",
        )
    facts = VoteFacts(role=role, vote=answer, by=by, reason=reason)
    journal(context, STEP, votes.VOTE, Phase.RESULT, facts)


def override(
    context: Context, criterion: str, person: Lifting, announce: Announce
) -> Sequence[str]:
    """Journal that the criterion may fail, and tell people. Returns warnings.

    Raises UsageError for a criterion that cannot be overridden.
    """
    known = sorted({*CHECKED, *context.rollout.criteria})
    if criterion not in known or not can_be_overridden(criterion):
        allowed = ", ".join(filter(can_be_overridden, known))
        raise UsageError(
            doing="overriding a criterion of go or no-go",
            found=f"{criterion!r}",
            expected=f"one of {allowed}",
            next_step="a vote is changed by voting again; the others cannot be overridden",
        )
    facts = OverrideFacts(criterion=criterion, by=person.by, reason=person.reason)
    journal(context, STEP, votes.OVERRIDE, Phase.RESULT, facts)
    return announce(_notice(context, Event.OVERRIDDEN, criterion, person))


def postpone(
    context: Context, window: FixedWindow, person: Lifting, announce: Announce
) -> Sequence[str]:
    """Journal the new window, which ends this round of votes, and tell people. Returns warnings.

    Raises UsageError for a window that has passed.
    """
    if window.ends <= context.clock.now():
        raise UsageError(
            doing="postponing the release",
            found=f"the window {window} has passed",
            expected="a window that is still to come",
            next_step="--postpone-to START/END, such as 2026-12-02T09:00Z/2026-12-02T13:00Z",
        )
    facts = PostponeFacts(window=window, by=person.by, reason=person.reason)
    journal(context, STEP, votes.POSTPONE, Phase.RESULT, facts)
    notice = _notice(context, Event.SCHEDULED, str(window), person)
    times = {"starts_at": window.starts, "ends_at": window.ends}
    return announce(notice.model_copy(update=times))


def _notice(context: Context, event: Event, about: str, person: Lifting) -> Notice:
    owner = context.run.owner
    return Notice(
        event=event,
        application=context.rollout.application,
        release=context.release.version,
        environment=context.environment.name,
        run=context.run.id,
        about=about,
        reason=f"{person.reason} ({person.by})",
        link=owner if owner.startswith("https://") else "",
    )
