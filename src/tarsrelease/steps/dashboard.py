"""dashboard: the release in progress as values for a page."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.context import Context
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.outcome import Outcome
from tarsrelease.report.dashboard import Dashboard
from tarsrelease.steps.check_readiness import items_so_far
from tarsrelease.steps.status import status


def dashboard(
    context: Context, recorded: Sequence[Outcome], before: Dashboard | None = None
) -> Dashboard:
    """What the page shows now; what `before` had, and why, if the cluster cannot be read."""
    version = context.release.version
    own = tuple(outcome for outcome in recorded if outcome.release in (None, version))
    try:
        found, entries = status(context), context.cluster.journal.entries()
    except ReleaseError as error:
        return Dashboard(
            application=context.rollout.application,
            release=version,
            environment=context.environment.name,
            status=before.status if before else None,
            recorded=own,
            journal=before.journal if before else (),
            items=before.items if before else (),
            problem=f"{error}; {error.detail.next}",
        )
    return Dashboard(
        application=context.rollout.application,
        release=version,
        environment=context.environment.name,
        status=found,
        recorded=own,
        journal=tuple(entry for entry in entries if entry.release == version),
        items=tuple(items_so_far(context, entries, own)),
    )
