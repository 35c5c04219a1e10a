"""Read the state of the cluster before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tarsrelease.context import Context
from tarsrelease.model.cluster import RouteState, Snapshot
from tarsrelease.model.errors import RefusedError, ReleaseError, UsageError
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.outcome import Check, Status
from tarsrelease.model.release import Release
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.lost_journal import lost_journal


def take_snapshot(context: Context) -> Snapshot:
    """Routes, Deployments, pods and both Helm histories."""
    rollout, charts = context.rollout, context.cluster.charts
    return snapshot_without_helm(context).model_copy(
        update={
            "stable_history": tuple(charts.history(rollout.application)),
            "canary_history": tuple(charts.history(rollout.canary_release)),
        }
    )


def snapshot_without_helm(context: Context) -> Snapshot:
    """Routes, Deployments and pods; the histories are empty. Needs no right to read Secrets."""
    cluster = context.cluster
    return Snapshot(
        taken_at=context.clock.now(),
        routes=tuple(cluster.routes.read(context.rollout.services)),
        deployments=tuple(cluster.workloads.deployments()),
        pods=tuple(cluster.workloads.pods()),
        stable_history=(),
        canary_history=(),
    )


def all_routes(context: Context) -> list[RouteState]:
    """Every service's route. Raises UsageError if one is missing."""
    services = context.rollout.services
    found = context.cluster.routes.read(services)
    missing = sorted({each.name for each in services} - {each.service for each in found})
    if missing:
        raise UsageError(
            doing="reading the routes",
            found=f"no route for {', '.join(missing)}",
            expected="a route for each service, created by `tarsrelease canary deploy`",
            next_step="run `tarsrelease canary deploy` first",
        )
    return found


def refuse_other_bytes(doing: str, release: Release, entries: Sequence[Entry]) -> None:
    """Raise RefusedError if the bundle is not the one that was deployed."""
    deployed = release_journal.identity(entries, release.version)
    if deployed is None or release.identity is None or deployed == release.identity:
        return
    raise RefusedError(
        doing=doing,
        found=f"{release.directory} has identity {release.identity[:16]}…, the canary was deployed "
        f"from {deployed[:16]}…",
        expected="the same bytes in every step (identity: the SHA-256 of SHA256SUMS)",
        next_step="use the bundle that was deployed, or run `tarsrelease rollback` and deploy this "
        "one",
    )


def refuse_other_than_migrated(doing: str, release: Release, entries: Sequence[Entry]) -> None:
    """Raise RefusedError if the expand migrations are those of another bundle of this version."""
    migrated = release_journal.migrated_identity(entries, release.version)
    if migrated is None or release.identity is None or migrated == release.identity:
        return
    raise RefusedError(
        doing=doing,
        found=f"{release.directory} has identity {release.identity[:16]}…, the expand migrations "
        f"are those of {migrated[:16]}…",
        expected="the same bytes in every step (identity: the SHA-256 of SHA256SUMS)",
        next_step="use the bundle that was migrated, or run `tarsrelease migrate up` with this one",
    )


def check_identity(
    release: Release, entries: Callable[[], Sequence[Entry]], check_id: str
) -> Check:
    """Whether the bundle is the one that was deployed; skipped if the journal cannot be read.

    Raises RefusedError if it is another one.
    """

    def check(status: Status, reason: str) -> Check:
        return Check(
            id=check_id,
            status=status,
            expected="the bundle that was deployed",
            reason=reason,
            source="journal",
        )

    try:
        found = entries()
    except ReleaseError as error:
        return check(Status.SKIPPED, f"the journal cannot be read: {error}")
    refuse_other_bytes(f"reading the journal of {release.version}", release, found)
    deployed = release_journal.identity(found, release.version)
    if deployed is None or release.identity is None:
        return check(Status.SKIPPED, f"the journal has no identity of {release.version}")
    return check(Status.PASS, f"identity {deployed[:16]}…")


def refuse_unless_begun(context: Context, doing: str) -> None:
    """Raises RefusedError if the journal has no release of this version on its way."""
    version, entries = context.release.version, context.cluster.journal.entries()
    over = release_journal.has(entries, version, release_journal.PROMOTE, Phase.RESULT)
    if release_journal.of_this_attempt(entries, version) and not over:
        refuse_rolled_back(doing, context.release, entries)
        return
    raise RefusedError(
        doing=doing,
        found=f"{version} is promoted already"
        if over
        else f"the journal has no deploy of {version}",
        expected="a release on its way",
        next_step="`tarsrelease status` shows where the release is",
    )


def refuse_without_journal(
    context: Context, entries: Sequence[Entry], routes: Sequence[RouteState]
) -> None:
    """Raises RefusedError if the routes name the release and the journal has no deploy of it."""
    lost = lost_journal(context.rollout, entries, routes)
    if lost is not None:
        raise RefusedError(
            doing=f"reading the journal of {context.release.version}",
            found=lost.found,
            expected="the journal that `canary deploy` began; somebody removed or emptied it",
            next_step=lost.next_step,
        )


def refuse_rolled_back(doing: str, release: Release, entries: Sequence[Entry]) -> None:
    """Raise RefusedError if the release was rolled back and not deployed again since."""
    if release_journal.rolled_back(entries, release.version):
        raise RefusedError(
            doing=doing,
            found=f"{release.version} was rolled back, and not deployed again since",
            expected="a release that is deployed",
            next_step="fix the cause, then run `tarsrelease canary deploy` to start again",
        )
