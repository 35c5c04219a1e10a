"""The canary beside stable, at weight 0, and smoke-tested by a header.

(1) Look, and refuse what must not be begun.
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

from tarsrelease.model.cluster import Revision, Snapshot
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import RefusedError, UsageError
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.model.release import Release, Run
from tarsrelease.operations import pinning, traffic
from tarsrelease.operations.canary_render import canary_values, check_render
from tarsrelease.operations.outcome import Stopwatch, changing, ended
from tarsrelease.operations.removal import remove_canary, retire
from tarsrelease.operations.smoke import smoke_test
from tarsrelease.operations.snapshot import look, wait_until_complete
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Charts, Journal, Lock, Routes, Web, Workloads, holding
from tarsrelease.ports.people import Progress
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.release_journal import Pins
from tarsrelease.rollout.rollback_plan import canary_names, same_version, stable_names
from tarsrelease.rollout.route_owners import controller_of

STEP = "canary deploy"
STAGE = "deployed"
READY_ID = "canary.ready"
_AGAIN = "run `tarsrelease canary deploy` again, or `tarsrelease rollback`"
_NEXT = "tarsrelease canary gate --stage {weight}"


def deploy(
    release: Release,
    environment: Environment,
    run: Run,
    *,
    charts: Charts,
    workloads: Workloads,
    routes: Routes,
    web: Web,
    journal: Journal,
    lock: Lock,
    clock: Clock,
    progress: Progress,
) -> Outcome:
    """Bring the canary up. Done already is proceed; see the module for what is refused.

    Raises RefusedError where the answer is no, UsageError where routes or chart must be changed
    first (nothing was touched in both), StoppedError after that, LockedError.
    """
    started_at = clock.now()
    watch = Stopwatch(clock)
    rollout = release.rollout
    next_step = _NEXT.format(weight=rollout.stages[0].weight)
    with watch.phase("look"):
        seen = look(release, charts=charts, workloads=workloads, routes=routes, clock=clock)
        entries = journal.entries()
    if has_traffic_already(release, seen, entries):
        return ended(
            STEP,
            release,
            environment,
            Verdict.PROCEED,
            "the canary is there and has traffic already",
            started_at=started_at,
            clock=clock,
            next_step="tarsrelease status",
        )
    serving = refuse(release, seen)
    with watch.phase("render"):
        check_render(release, environment, charts)
    with holding(lock), changing(_AGAIN):
        pins = pinning.observed_pins(
            stable_names(rollout), seen.deployments, serving, entries, workloads
        )
        flags = {release_journal.FEATURE_FLAGS: bool(release.feature_flags)}
        _note(release, run, journal, clock, Phase.INTENT, **pins.model_dump(), **flags)
        for line in pinning.pin(pins, workloads):
            progress.say(f"pinned {line}")
        with watch.phase("install"):
            _clear(release, environment, run, seen, charts, workloads, routes, clock, progress)
            problem = _install(release, environment, charts, workloads, lock, clock, progress)
        checks: tuple[Check, ...] = (_ready(problem),)
        if problem is None:
            with watch.phase("routes"):
                traffic.shift(
                    release,
                    environment,
                    run,
                    0,
                    STAGE,
                    routes=routes,
                    journal=journal,
                    lock=lock,
                    clock=clock,
                    progress=progress,
                )
            with watch.phase("smoke test"):
                checks += smoke_test(release, environment, web=web, clock=clock, progress=progress)
        bad = [check for check in checks if check.status is not Status.PASS]
        if bad:
            with watch.phase("remove"):
                _take_back(
                    release,
                    environment,
                    run,
                    pins,
                    charts,
                    workloads,
                    routes,
                    journal,
                    clock,
                    progress,
                )
        verdict = Verdict.NO_GO if bad else Verdict.PROCEED
        cause = release_journal.cause_facts(checks)
        _note(release, run, journal, clock, Phase.RESULT, verdict=str(verdict), **cause)
    if bad:
        summary = f"the canary was removed again, users saw nothing of it: {bad[0].reason}"
        next_step = "repair the release, and deploy it again"
    else:
        summary = f"{rollout.canary_release} runs {release.version} at weight 0"
    return ended(
        STEP,
        release,
        environment,
        verdict,
        summary,
        started_at=started_at,
        clock=clock,
        checks=checks,
        details={"phases": watch.seconds, "stable": serving.app_version},
        next_step=next_step,
    )


# (1) Look


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


def _clear(
    release: Release,
    environment: Environment,
    run: Run,
    seen: Snapshot,
    charts: Charts,
    workloads: Workloads,
    routes: Routes,
    clock: Clock,
    progress: Progress,
) -> None:
    """Remove a canary of another version, or one whose installation was cut off."""
    last = seen.canary_history[-1] if seen.canary_history else None
    if last is None or (
        last.status == "deployed" and same_version(last.app_version, release.version)
    ):
        return
    progress.say(f"found a canary of {last.app_version or 'unknown version'} ({last.status})")
    retire(
        release,
        run,
        environment.gateway.settle,
        routes=routes,
        clock=clock,
        progress=progress,
    )
    remove_canary(
        release,
        environment.limits.deploy,
        charts=charts,
        workloads=workloads,
        progress=progress,
    )


def _install(
    release: Release,
    environment: Environment,
    charts: Charts,
    workloads: Workloads,
    lock: Lock,
    clock: Clock,
    progress: Progress,
) -> str | None:
    """The canary with one replica of each Deployment; why it does not become complete, or None."""
    rollout = release.rollout
    progress.say(f"installing {rollout.canary_release} {release.version}")
    charts.upgrade(
        rollout.canary_release,
        release.chart,
        canary_values(release, environment),
        values_from=rollout.application,
        deadline=environment.limits.deploy,
        wait=False,
    )
    names = canary_names(rollout)
    for state in workloads.deployments():
        if state.name in names and state.replicas != 1:
            workloads.scale(state.name, 1)
    return wait_until_complete(
        dict.fromkeys(names, 1),
        version=release.version,
        workloads=workloads,
        clock=clock,
        deadline=environment.limits.deploy,
        alive=lock.check,
    )


def _ready(problem: str | None) -> Check:
    return Check(
        id=READY_ID,
        status=Status.PASS if problem is None else Status.FAIL,
        expected="one ready replica of each of the canary's Deployments",
        reason=problem or "all are ready",
        source="deployments",
    )


# After a failure


def _take_back(
    release: Release,
    environment: Environment,
    run: Run,
    pins: Pins,
    charts: Charts,
    workloads: Workloads,
    routes: Routes,
    journal: Journal,
    clock: Clock,
    progress: Progress,
) -> None:
    retire(
        release,
        run,
        environment.gateway.settle,
        routes=routes,
        clock=clock,
        progress=progress,
    )
    remove_canary(
        release,
        environment.limits.deploy,
        charts=charts,
        workloads=workloads,
        progress=progress,
    )
    pinning.unpin(pins, release, run, workloads=workloads, journal=journal, clock=clock)


def _note(
    release: Release, run: Run, journal: Journal, clock: Clock, phase: Phase, **facts: object
) -> None:
    journal.append(
        Entry(
            at=clock.now(),
            run=run.id,
            release=release.version,
            step=STEP,
            action=release_journal.DEPLOY,
            phase=phase,
            facts=facts,
        )
    )
