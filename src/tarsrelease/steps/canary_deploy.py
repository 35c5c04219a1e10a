"""Deploy the canary beside stable, at weight 0, and smoke-test it by a header.

(1) Take a snapshot, and refuse what must not be begun.
(2) Render, and refuse what must exist once or was not verified.
(3) Journal the intent with what stable looks like, and pin stable's size.
(4) Install the canary and wait until it is complete.
(5) Name it in the routes at weight 0, where only the header leads to it.
(6) Smoke test.

A canary that does not become ready, or fails its smoke test, is removed again: no user has had
an answer from it, so the step ends with no-go, and nothing is left of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.context import Context
from tarsrelease.model.cluster import Revision, Snapshot
from tarsrelease.model.errors import RefusedError, UsageError
from tarsrelease.model.journal import Cause, DeployFacts, Entry, Phase
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.model.release import Release
from tarsrelease.model.step_details import DeployDetails
from tarsrelease.operations import pinning, traffic
from tarsrelease.operations.canary_render import canary_values, check_render
from tarsrelease.operations.journaling import journal
from tarsrelease.operations.outcome import StepReport, changing
from tarsrelease.operations.removal import remove_canary, retire
from tarsrelease.operations.scaling import wait_until_complete
from tarsrelease.operations.smoke import smoke_test
from tarsrelease.operations.snapshot import take_snapshot
from tarsrelease.ports.cluster import holding
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.rollback_plan import canary_names, same_version, stable_names
from tarsrelease.rollout.route_owners import controller_of

STEP = "canary deploy"
STAGE = "deployed"
READY_ID = "canary.ready"
_AGAIN = "run `tarsrelease canary deploy` again, or `tarsrelease rollback`"


def deploy(context: Context) -> Outcome:
    """Bring the canary up. Done already is proceed; see the module for what is refused.

    Raises RefusedError where the answer is no, UsageError where routes or chart must be changed
    first (nothing was touched in both), StoppedError after that, LockedError.
    """
    report, release, rollout = StepReport(context, STEP), context.release, context.rollout
    with report.phase("look"):
        seen = take_snapshot(context)
        entries = context.cluster.journal.entries()
    if has_traffic_already(release, seen, entries):
        return report.outcome(
            Verdict.PROCEED,
            "the canary is there and has traffic already",
            next_step="tarsrelease status",
        )
    serving = refuse(release, seen)
    with report.phase("render"):
        check_render(context)
    with holding(context.cluster.lock), changing(_AGAIN):
        pins = pinning.observed_pins(context, seen, serving, entries)
        flags = bool(release.feature_flags)
        _journal(context, Phase.INTENT, DeployFacts(**pins.model_dump(), feature_flags=flags))
        pinning.pin(context, pins)
        checks = _bring_up(context, report, seen)
        bad = [check for check in checks if check.status is not Status.PASS]
        if bad:
            with report.phase("remove"):
                retire(context)
                remove_canary(context)
                pinning.unpin(context, pins)
        verdict = Verdict.NO_GO if bad else Verdict.PROCEED
        _journal(context, Phase.RESULT, DeployFacts(verdict=verdict, cause=Cause.of(checks)))
    if bad:
        summary = f"the canary was removed again, users saw nothing of it: {bad[0].reason}"
        next_step = "repair the release, and deploy it again"
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


def _bring_up(context: Context, report: StepReport, seen: Snapshot) -> tuple[Check, ...]:
    """(4) to (6); the checks, of which the last did not pass where it could not go on."""
    with report.phase("install"):
        _remove_former(context, seen)
        ready = _install(context)
    if ready.status is not Status.PASS:
        return (ready,)
    with report.phase("routes"):
        traffic.shift(context, 0, STAGE)
    with report.phase("smoke test"):
        return (ready, *smoke_test(context))


def _journal(context: Context, phase: Phase, facts: DeployFacts) -> None:
    journal(context, STEP, release_journal.DEPLOY, phase, facts)


# (1) Snapshot


def has_traffic_already(release: Release, seen: Snapshot, entries: Sequence[Entry]) -> bool:
    """Whether this very canary is being tried already: then there is nothing left to deploy."""
    mine = [route for route in seen.routes if route.release == release.version and route.weight > 0]
    return bool(mine) and not release_journal.rolled_back(entries, release.version)


def refuse(release: Release, seen: Snapshot) -> Revision:
    """Refuse what must not be begun; stable's serving revision where nothing is in the way."""
    rollout = release.rollout
    doing = f"deploying {release.version} beside stable"
    taken = [route for route in seen.routes if route.weight > 0]
    if taken:
        raise RefusedError(
            doing=doing,
            found=f"{taken[0].service} gives {taken[0].weight} % of its traffic to a canary "
            f"({taken[0].release or 'unknown release'})",
            expected="no other release on its way",
            next_step="`tarsrelease status`; end that release first, or `tarsrelease rollback`",
        )
    for route in seen.routes:
        controller = controller_of(route.managers)
        if route.release is None and controller is not None:
            raise UsageError(
                doing=f"taking over the route of {route.service}",
                found=f"{controller[0]} manages it and would put the weights back",
                expected="a route that only tarsrelease writes",
                next_step=controller[1],
            )
    current = seen.stable_history[-1] if seen.stable_history else None
    if current is None:
        raise RefusedError(
            doing=doing,
            found=f"there is no Helm release {rollout.application}",
            expected="a stable version that serves",
            next_step=f"install one first: helm install {rollout.application} CHART",
        )
    if current.status != "deployed":
        raise RefusedError(
            doing=doing,
            found=f"revision {current.number} of {rollout.application} is {current.status}",
            expected="deployed",
            next_step="`tarsrelease rollback` restores the last good revision",
        )
    if same_version(current.app_version, release.version):
        raise RefusedError(
            doing=doing,
            found=f"stable is {current.app_version} already",
            expected="another version",
            next_step="nothing is to be done",
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
            expected="all of stable's replicas ready, as going back must always be possible",
            next_step=f"kubectl rollout status deployment/{lacking[0]}",
        )
    return current


# (4) Install


def _remove_former(context: Context, seen: Snapshot) -> None:
    """Remove a canary of another version, or one whose installation was cut off."""
    last = seen.canary_history[-1] if seen.canary_history else None
    if last is None or (
        last.status == "deployed" and same_version(last.app_version, context.release.version)
    ):
        return
    context.say(f"found a canary of {last.app_version or 'unknown version'} ({last.status})")
    retire(context)
    remove_canary(context)


def _install(context: Context) -> Check:
    """The canary with one replica of each Deployment, and whether it became complete."""
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
    for state in workloads.deployments():
        if state.name in names and state.replicas != 1:
            workloads.scale(state.name, 1)
    problem = wait_until_complete(
        context,
        dict.fromkeys(names, 1),
        version=release.version,
        deadline=context.environment.limits.deploy,
        each_tick=context.cluster.lock.check,
    )
    return Check(
        id=READY_ID,
        status=Status.PASS if problem is None else Status.FAIL,
        expected="one ready replica of each of the canary's Deployments",
        reason=problem or "all are ready",
        source="deployments",
    )
