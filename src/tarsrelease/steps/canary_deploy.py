"""Deploy the canary at weight 0 and smoke-test it by header.

(1) Take a snapshot, and check that a release may start.
(2) Render the chart, and check its singletons and images.
(3) Journal the intent with stable's replicas, and pin them.
(4) Install the canary and wait until it is complete.
(5) Add it to the routes at weight 0: only requests with the header reach it.
(6) Smoke-test it.

A canary that does not become ready or fails its smoke test is removed (no-go). No user has had
an answer from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tarsrelease.context import Context
from tarsrelease.model.cluster import DeploymentState, Revision, Snapshot
from tarsrelease.model.errors import RefusedError, UsageError
from tarsrelease.model.journal import Cause, DeployFacts, Entry, Phase
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.model.release import Release
from tarsrelease.model.step_details import DeployDetails
from tarsrelease.model.versions import same_version
from tarsrelease.operations import pinning, traffic
from tarsrelease.operations.applied_as_checked import refuse_unchecked
from tarsrelease.operations.canary_render import canary_values, check_render
from tarsrelease.operations.journaling import journal
from tarsrelease.operations.locking import under_lock
from tarsrelease.operations.outcome import StepReport, changing
from tarsrelease.operations.removal import remove_canary, retire
from tarsrelease.operations.scaling import wait_until_complete
from tarsrelease.operations.smoke import smoke_test
from tarsrelease.operations.snapshot import (
    refuse_other_bytes,
    refuse_other_than_migrated,
    refuse_without_journal,
    take_snapshot,
)
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.rollback_plan import canary_names, stable_names
from tarsrelease.rollout.route_owners import controller_of

_Installed = dict[str, DeploymentState]
"""By Deployment."""

STEP = "canary deploy"
STAGE = "deployed"
READY_ID = "canary.ready"
RENDERED_ID = "canary.rendered"
_AGAIN = "run `tarsrelease canary deploy` again, or `tarsrelease rollback`"


def deploy(context: Context) -> Outcome:
    """Deploy the canary. Proceed also if it has traffic already.

    Raises RefusedError if the release may not start and UsageError if routes or chart must be
    changed first, both before any change; then StoppedError or LockedError.
    """
    report, release, rollout = StepReport(context, STEP), context.release, context.rollout
    with report.phase("look"):
        seen = take_snapshot(context)
        entries = context.cluster.journal.entries()
    if any(route.weight for route in seen.routes):
        refuse_without_journal(context, entries, seen.routes)
    if has_traffic_already(release, seen, entries):
        refuse_other_bytes(f"deploying {release.version}", release, entries)
        return report.outcome(
            Verdict.PROCEED,
            "the canary is deployed and has traffic already",
            next_step="tarsrelease status",
        )
    refuse_other_than_migrated(f"deploying {release.version}", release, entries)
    serving = refuse(release, seen)
    with report.phase("render"):
        checked = check_render(context)
    with under_lock(context) as locked, changing(_AGAIN):
        pins = pinning.observed_pins(context, seen, serving, entries)
        flags = bool(release.feature_flags)
        _journal(context, Phase.INTENT, DeployFacts(**pins.model_dump(), feature_flags=flags))
        pinning.pin(locked, pins)
        checks, installed = _bring_up(locked, report, seen, checked)
        bad = [check for check in checks if check.status is not Status.PASS]
        if bad:
            with report.phase("remove"):
                retire(locked)
                remove_canary(locked)
                pinning.unpin(locked, pins)
        verdict = Verdict.NO_GO if bad else Verdict.PROCEED
        done = DeployFacts(
            verdict=verdict,
            cause=Cause.of(checks),
            images=None if bad else {name: state.images for name, state in installed.items()},
            settings=None if bad else {name: state.settings for name, state in installed.items()},
        )
        _journal(context, Phase.RESULT, done)
    if bad:
        summary = f"removed the canary before it had traffic: {bad[0].reason}"
        next_step = "fix the release, then run `tarsrelease canary deploy` again"
    else:
        summary = f"{rollout.canary_release} runs {release.version} at weight 0"
        next_step = f"tarsrelease canary gate --stage {rollout.stages[0].weight}"
    return report.outcome(
        verdict,
        summary,
        checks=checks,
        details=DeployDetails(phases=report.seconds, stable=serving.app_version),
        next_step=next_step,
    )


def _bring_up(
    context: Context, report: StepReport, seen: Snapshot, checked: Sequence[Mapping[str, Any]]
) -> tuple[tuple[Check, ...], _Installed]:
    """(4) to (6). The results up to the first that did not pass, and the Deployments by name."""
    with report.phase("install"):
        _remove_former(context, seen)
        rendered = _as_checked(context, checked)
        if rendered.status is not Status.PASS:
            return (rendered,), {}
        ready, installed = _install(context)
    if ready.status is not Status.PASS:
        return (ready,), installed
    with report.phase("routes"):
        traffic.shift(context, 0, STAGE)
    with report.phase("smoke test"):
        return (ready, *smoke_test(context)), installed


def _journal(context: Context, phase: Phase, facts: DeployFacts) -> None:
    journal(context, STEP, release_journal.DEPLOY, phase, facts)


# (1) Snapshot


def has_traffic_already(release: Release, seen: Snapshot, entries: Sequence[Entry]) -> bool:
    """Whether this release's canary has traffic already."""
    mine = [route for route in seen.routes if route.release == release.version and route.weight > 0]
    return bool(mine) and not release_journal.rolled_back(entries, release.version)


def refuse(release: Release, seen: Snapshot) -> Revision:
    """Stable's serving revision. Raises RefusedError or UsageError if a release may not start."""
    rollout = release.rollout
    doing = f"deploying the canary of {release.version}"
    taken = [route for route in seen.routes if route.weight > 0]
    if taken:
        raise RefusedError(
            doing=doing,
            found=f"{taken[0].service} sends {taken[0].weight} % of its traffic to the canary of "
            f"{taken[0].release or 'an unknown release'}",
            expected="no other release in progress",
            next_step="finish that release (see `tarsrelease status`), or run "
            "`tarsrelease rollback`",
        )
    for route in seen.routes:
        controller = None if route.adopted else controller_of(route.managers)
        if route.release is None and controller is not None:
            raise UsageError(
                doing=f"taking over the route of {route.service}",
                found=f"{controller[0]} manages it and would overwrite the weights",
                expected="a route that only tarsrelease writes",
                next_step=controller[1],
            )
    current = seen.stable_history[-1] if seen.stable_history else None
    if current is None:
        raise RefusedError(
            doing=doing,
            found=f"there is no Helm release {rollout.application}",
            expected="an installed stable version",
            next_step=f"install it first: helm install {rollout.application} CHART",
        )
    if current.status != "deployed":
        raise RefusedError(
            doing=doing,
            found=f"revision {current.number} of {rollout.application} is {current.status}",
            expected="status deployed",
            next_step="run `tarsrelease rollback` to restore the last good revision",
        )
    if same_version(current.app_version, release.version):
        raise RefusedError(
            doing=doing,
            found=f"stable is {current.app_version} already",
            expected="a version other than stable's",
            next_step="nothing to do",
        )
    lacking = [
        name
        for name in stable_names(rollout)
        if (state := seen.deployment(name)) is None or not state.complete
    ]
    if lacking:
        raise RefusedError(
            doing=doing,
            found=f"stable is not complete: {', '.join(lacking)}",
            expected="all of stable's replicas are ready, so that a rollback is possible",
            next_step=f"kubectl rollout status deployment/{lacking[0]}",
        )
    return current


# (4) Install


def _remove_former(context: Context, seen: Snapshot) -> None:
    """Remove a canary of another version, or one whose installation was interrupted."""
    last = seen.canary_history[-1] if seen.canary_history else None
    if last is None or (
        last.status == "deployed" and same_version(last.app_version, context.release.version)
    ):
        return
    version = last.app_version or "an unknown version"
    context.say(f"removing the former canary of {version} ({last.status})")
    retire(context)
    remove_canary(context)


def _as_checked(context: Context, checked: Sequence[Mapping[str, Any]]) -> Check:
    """Whether Helm would apply what was rendered and checked; asked right before it does."""
    rollout = context.rollout
    values = canary_values(context.release, context.environment)
    try:
        refuse_unchecked(context, rollout.canary_release, values, checked)
    except RefusedError as error:
        status, reason = Status.FAIL, f"{error.detail.found}; {error.detail.next}"
    else:
        status, reason = Status.PASS, f"{len(checked)} objects"
    return Check(
        id=RENDERED_ID,
        status=status,
        expected="Helm applies what was rendered and checked",
        reason=reason,
        source=f"helm upgrade {rollout.canary_release} --dry-run=server",
    )


def _install(context: Context) -> tuple[Check, _Installed]:
    """Install the canary with one replica per Deployment.

    The result says if it is complete. A later change by hand is noticed by comparison with the
    Deployments returned.
    """
    release, rollout, workloads = context.release, context.rollout, context.cluster.workloads
    context.say(f"installing {rollout.canary_release} {release.version}")
    context.cluster.charts.upgrade(
        rollout.canary_release,
        release.chart,
        canary_values(release, context.environment),
        values_from=rollout.application,
        deadline=context.environment.limits.deploy,
        wait=False,
    )
    names = canary_names(rollout)
    installed = {}
    for state in workloads.deployments():
        if state.name in names:
            installed[state.name] = state
            if state.replicas != 1:
                workloads.scale(state.name, 1)
    problem = wait_until_complete(
        context,
        dict.fromkeys(names, 1),
        version=release.version,
        deadline=context.environment.limits.deploy,
        each_tick=context.cluster.lock.check,
    )
    ready = Check(
        id=READY_ID,
        status=Status.PASS if problem is None else Status.FAIL,
        expected="one ready replica of each canary Deployment",
        reason=problem or "all are ready",
        source="deployments",
    )
    return ready, installed
