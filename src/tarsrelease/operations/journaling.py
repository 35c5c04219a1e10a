"""Write journal entries with time, run and release filled in."""

from __future__ import annotations

from tarsrelease.context import Context
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.journal import Entry, Facts, Phase


def journal(
    context: Context, step: str, action: str, phase: Phase, facts: Facts | None = None
) -> None:
    """Append an entry; raises what the port raises."""
    context.cluster.journal.append(
        Entry(
            at=context.clock.now(),
            run=context.run.id,
            release=context.release.version,
            step=step,
            action=action,
            phase=phase,
            facts=facts or Facts(),
            identity=context.release.identity,
        )
    )


def journal_if_possible(
    context: Context, step: str, action: str, phase: Phase, facts: Facts | None = None
) -> None:
    """Append an entry, or report that it failed.

    For rollbacks and other moves of traffic to safety, which must not wait for the journal.
    """
    try:
        journal(context, step, action, phase, facts)
    except ReleaseError as error:
        context.say(f"journal: cannot be written ({error}); continuing")
