"""What people decided about a release, from the journal: votes, overrides, a new window. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.model.journal import Entry, OverrideFacts, PostponeFacts, VoteFacts
from tarsrelease.model.people import Answer, Vote
from tarsrelease.model.window import FixedWindow
from tarsrelease.rollout.release_journal import ABORT, ROLLBACK

VOTE = "vote"
OVERRIDE = "override"
POSTPONE = "postpone"
_ENDS_A_ROUND = frozenset({POSTPONE, ROLLBACK, ABORT})


def of_this_round(entries: Sequence[Entry], release: str, identity: str | None) -> list[Entry]:
    """The release's entries since it was last postponed, rolled back or aborted.

    Entries about a bundle with another identity do not count.
    """
    own = [entry for entry in entries if entry.release == release]
    ends = [number for number, entry in enumerate(own) if entry.action in _ENDS_A_ROUND]
    since = own[ends[-1] + 1 :] if ends else own
    return [e for e in since if identity is None or e.identity in (None, identity)]


def votes(entries: Sequence[Entry], release: str, identity: str | None) -> list[Vote]:
    """The last vote of each person for each role in this round."""
    found: dict[tuple[str, str], Vote] = {}
    for entry in of_this_round(entries, release, identity):
        facts = VoteFacts.of(entry.facts)
        if facts is None:
            continue
        found[facts.role, facts.by.casefold()] = Vote(
            role=facts.role,
            go=facts.vote is Answer.GO,
            postpone=facts.vote is Answer.POSTPONE,
            by=facts.by,
            reason=facts.reason,
            at=entry.at,
            source="journal",
        )
    return list(found.values())


def overrides(
    entries: Sequence[Entry], release: str, identity: str | None
) -> dict[str, OverrideFacts]:
    """The last override of each criterion in this round."""
    found = {}
    for entry in of_this_round(entries, release, identity):
        facts = OverrideFacts.of(entry.facts)
        if facts is not None:
            found[facts.criterion] = facts
    return found


def postponed_to(entries: Sequence[Entry], release: str) -> FixedWindow | None:
    """The window of the release's last postponement; None if it was never postponed."""
    found = None
    for entry in entries:
        facts = PostponeFacts.of(entry.facts) if entry.release == release else None
        if facts is not None and facts.window is not None:
            found = facts.window
    return found
