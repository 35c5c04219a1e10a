"""Go, no-go or postpone: from the criteria's results and the votes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from tarsrelease.model.format import names
from tarsrelease.model.journal import OverrideFacts
from tarsrelease.model.outcome import Check, Observed, Status, Verdict, deciding
from tarsrelease.model.people import Answer, Approval, Vote

VOTE = "go_no_go.vote"
CRITERION = "go_no_go.criterion"
_PREFIX = "go_no_go."
CHECKED = (
    "window",
    "verified",
    "preflight",
    "no-other-release",
    "stable",
    "incidents",
    "staging",
    "staging-suite",
)
"""The names of the built-in criteria."""
_NEVER = frozenset({VOTE, "go_no_go.verified", "go_no_go.no_other_release"})
"""Results that no override changes: votes are changed by voting, the others protect users."""


class Decision(StrEnum):
    """The answer. ASK: no criterion failed, and approvals that are votes are still to come."""

    GO = "GO"
    NO_GO = "NO-GO"
    POSTPONE = "POSTPONE"
    ASK = "ASK"


VERDICTS = {
    Decision.GO: Verdict.PROCEED,
    Decision.ASK: Verdict.PROCEED,
    Decision.NO_GO: Verdict.NO_GO,
    Decision.POSTPONE: Verdict.POSTPONE,
}


def decide(
    criteria: Sequence[Check],
    votes: Sequence[Vote],
    required: Iterable[str],
    asked_later: Iterable[str] = (),
) -> Decision:
    """GO only if a criterion passed, none failed, and every required role voted only GO.

    A vote NO-GO outweighs POSTPONE, and POSTPONE everything else. `asked_later` are roles whose
    vote is an approval that the pipeline asks for next.
    """
    answers = {vote.answer for vote in votes}
    if Answer.NO_GO in answers:
        return Decision.NO_GO
    if Answer.POSTPONE in answers:
        return Decision.POSTPONE
    made = deciding(criteria)
    if not any(check.status is Status.PASS for check in made):
        return Decision.NO_GO
    if any(check.status not in (Status.PASS, Status.SKIPPED) for check in made):
        return Decision.NO_GO
    missing = set(required) - {vote.role for vote in votes}
    if missing - set(asked_later):
        return Decision.NO_GO
    return Decision.ASK if missing else Decision.GO


def criterion_of(check: Check) -> str:
    """The name of a criterion, as `--override` takes it."""
    return check.service if check.id == CRITERION and check.service else _name(check.id)


def _name(check_id: str) -> str:
    return check_id.removeprefix(_PREFIX).replace("_", "-")


def can_be_overridden(name: str) -> bool:
    """Whether an override of this criterion counts."""
    return name not in map(_name, _NEVER)


def overridden(
    checks: Iterable[Check], overrides: Mapping[str, OverrideFacts]
) -> tuple[Check, ...]:
    """The results; one that did not pass and that a person overrode becomes advisory."""
    return tuple(_overridden(check, overrides.get(criterion_of(check))) for check in checks)


def _overridden(check: Check, override: OverrideFacts | None) -> Check:
    if (
        override is None
        or check.id in _NEVER
        or check.status in (Status.PASS, Status.SKIPPED)
        or check.advisory
    ):
        return check
    reason = f"{check.reason}; overridden by {override.by}: {override.reason}"
    return check.model_copy(update={"advisory": True, "reason": reason})


def vote_results(
    votes: Sequence[Vote], required: Iterable[str], asked_later: Mapping[str, str] | None = None
) -> list[Check]:
    """One result per role; `fail` if a required role did not vote or any of its votes is not GO.

    `asked_later` maps a role to the environment whose approval will be its vote.
    """
    said: dict[str, list[Vote]] = {role: [] for role in required}
    for vote in votes:
        said.setdefault(vote.role, []).append(vote)
    later = asked_later or {}
    return [_vote(role, given, later.get(role)) for role, given in said.items()]


def _vote(role: str, given: Sequence[Vote], asked_in: str | None) -> Check:
    against = [vote for vote in given if not vote.go]
    source = ", ".join(dict.fromkeys(vote.source for vote in given)) or "--vote"
    if against:
        told = [f"{vote.answer.lower()} by {_who(vote)}{_why(vote)}" for vote in against]
        status, reason, value = Status.FAIL, "; ".join(told), against[0].answer.lower()
    elif given:
        who = names([_who(vote) for vote in given])
        status, reason, value = Status.PASS, f"go by {who}", "go"
    elif asked_in:
        status, value = Status.SKIPPED, "asked next"
        reason, source = f"the approval of {asked_in} is this vote", asked_in
    else:
        status, reason, value = Status.FAIL, "did not vote", "none"
    return Check(
        id=VOTE,
        status=status,
        service=role,
        observed=Observed(value=value, unit="vote"),
        expected="go",
        reason=reason,
        source=source,
    )


def _who(vote: Vote) -> str:
    when = f" ({vote.at:%Y-%m-%d %H:%M} UTC)" if vote.at else ""
    return (vote.by or "somebody") + when


def _why(vote: Vote) -> str:
    return f": {vote.reason}" if vote.reason else ""


def approval_votes(approvals: Iterable[Approval], roles: Mapping[str, str]) -> list[Vote]:
    """The approvals and rejections of a run as votes; `roles` maps a role to its environment.

    An approval of an account that was deleted since is nobody's vote.
    """
    return [
        Vote(
            role=role,
            go=approval.state == "approved",
            by=approval.person,
            reason=approval.comment,
            source="approval",
        )
        for role, environment in roles.items()
        for approval in approvals
        if environment in approval.environments
        and approval.person
        and approval.state in ("approved", "rejected")
    ]
