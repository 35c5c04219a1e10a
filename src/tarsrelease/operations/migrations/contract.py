"""Contract migrations wait until the release cannot be rolled back any more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from tarsrelease.context import Context
from tarsrelease.model.cluster import PodState
from tarsrelease.model.errors import RefusedError
from tarsrelease.model.format import count
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.versions import same_version
from tarsrelease.operations.migrations.files import database_of
from tarsrelease.rollout.release_journal import PROMOTE, of_this_attempt, rolled_back


def ways_back(
    release: str,
    entries: Sequence[Entry],
    pods: Sequence[PodState],
    now: datetime,
    after: float,
) -> list[str]:
    """Why the release may still be rolled back; empty if it cannot.

    `after`: seconds from the promotion until the release has been watched to its end.
    """
    found = []
    promoted = [
        entry.at
        for entry in of_this_attempt(entries, release)
        if entry.action == PROMOTE and entry.phase is Phase.RESULT
    ]
    if rolled_back(entries, release):
        found.append(f"{release} was rolled back: the version before it runs")
    elif not promoted:
        found.append(f"{release} has not been promoted")
    elif now - promoted[-1] < timedelta(seconds=after):
        until = promoted[-1] + timedelta(seconds=after)
        found.append(f"{release} is watched until {until:%Y-%m-%d %H:%M} UTC")
    others = sorted({pod.version for pod in pods if pod.version != release and not pod.terminating})
    if others:
        found.append(f"pods of {', '.join(others)} still run")
    if not pods:
        found.append("no pod of the application runs, so nobody can say which version it is")
    return found


def refuse_while_it_runs(context: Context) -> None:
    """Raise RefusedError while pods of the release run: they need what `down` would remove."""
    version = context.release.version
    pods = [pod for pod in context.cluster.workloads.pods() if not pod.terminating]
    running = [pod.name for pod in pods if same_version(pod.version, version)]
    if running:
        raise RefusedError(
            doing=f"checking whether {version} still runs",
            found=f"{count(len(running), 'pod')} of {version}, such as {running[0]}",
            expected="no pod of the release at any target that uses this database",
            next_step="run `tarsrelease rollback` for all targets first",
        )


def refuse_while_rollback_is_possible(context: Context) -> None:
    """Raise RefusedError while what a contract migration removes may still be needed."""
    version = context.release.version
    found = ways_back(
        version,
        context.cluster.journal.entries(),
        context.cluster.workloads.pods(),
        context.clock.now(),
        database_of(context.environment).contract_after,
    )
    if found:
        raise RefusedError(
            doing=f"checking whether {version} can still be rolled back",
            found="; ".join(found),
            expected="a release that is promoted, watched to its end, and alone",
            next_step="run migrate up --phase contract again after that",
        )
