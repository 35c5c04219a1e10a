"""Compare the bundle of a command that has no other business with the cluster's journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.journal import Entry
    from tarsrelease.model.outcome import Check


def same_bundle(session: Session, check_id: str) -> Check:
    """Whether the bundle is the one that was deployed; skipped if the journal cannot be read.

    Raises RefusedError if it is another one.
    """
    from tarsrelease.operations.snapshot import check_identity
    from tarsrelease.wiring.context import journal_of

    release, environment = session.release, session.environment

    def entries() -> list[Entry]:
        return journal_of(environment, release).entries()

    return check_identity(release, entries, check_id)
