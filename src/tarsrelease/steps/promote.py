"""The canary's version becomes the stable one, and the canary goes.

(1) Look: the last stage stands at 100 % and its gate proceeded, or a promotion was cut off.
(2) Stable is upgraded by Helm while the canary, which is proven, serves everything.
(3) The traffic comes back in steps, with a look at stable at each.
(4) The canary's last requests end; it leaves the routes and is removed.

Killed at any point it can be run again: what is done is seen on the cluster and not done twice.
A look that fails sends the traffic back to the canary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from tarsrelease.model.cluster import Snapshot
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import RefusedError, StoppedError
from tarsrelease.model.journal import Cause, Entry, Phase
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.model.release import Release, Run
from tarsrelease.operations import pinning, traffic
from tarsrelease.operations.drain import drain
from tarsrelease.operations.evaluation import observe
from tarsrelease.operations.outcome import Stopwatch, changing, ended
from tarsrelease.operations.past_requests import read_burstiness
from tarsrelease.operations.promotion_evaluation import LookedAt, promotion_look, stage_name
from tarsrelease.operations.removal import remove_canary, retire
from tarsrelease.operations.snapshot import look, refuse_rolled_back, wait_until_complete
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Charts, Journal, Lock, Routes, Workloads, holding
from tarsrelease.ports.metrics import Metrics
from tarsrelease.ports.people import Progress
from tarsrelease.report.words import show_cause
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.release_journal import Pins
from tarsrelease.rollout.rollback_plan import last_good, same_version, stable_names

STEP = "promote"
PROMOTED = "promoted"
"""The stage written to the routes when the canary has left them after a promotion."""
_AGAIN = "run `tarsrelease promote` again, or `tarsrelease rollback`"


def promote(
    release: Release,
    environment: Environment,
    run: Run,
    *,
    charts: Charts,
    workloads: Workloads,
    routes: Routes,
    metrics: Metrics,
    journal: Journal,
    lock: Lock,
    clock: Clock,
    progress: Progress,
) -> Outcome:
    """Promote. Raises RefusedError unless the 100 % stage proceeded, StoppedError where the way
    forward is blocked after something was changed; ends in hold where a look cannot be decided.
    """
    started_at = clock.now()
    watch = Stopwatch(clock)
    rollout = release.rollout
    looks: list[LookedAt] = []

    def finish(verdict: Verdict, summary: str, next_step: str) -> Outcome:
        return ended(
            STEP,
            release,
            environment,
            verdict,
            summary,
            started_at=started_at,
            clock=clock,
            checks=looks[-1].seen.checks if looks else (),
            details={"phases": watch.seconds, "stages": [each.row() for each in looks]},
            next_step=next_step,
        )

    with holding(lock):
        seen = look(release, charts=charts, workloads=workloads, routes=routes, clock=clock)
        entries = journal.entries()
        pins = release_journal.pins(entries, release.version)
        if release_journal.has(entries, release.version, release_journal.PROMOTE, Phase.RESULT):
            return finish(Verdict.PROCEED, "promoted already", "tarsrelease status")
        _refuse_unproven(release, seen, entries)
        keep = traffic.keeper(release, environment, routes=routes, lock=lock, clock=clock)
        with changing(_AGAIN):
            _note(release, run, journal, clock, Phase.INTENT)
            with watch.phase("upgrade stable"):
                _upgrade(
                    release,
                    environment,
                    seen,
                    pins,
                    release_journal.feature_flags(entries, release.version),
                    charts,
                    workloads,
                    routes,
                    clock,
                    progress,
                    keep,
                )
            since = min((r.written_at for r in seen.routes if r.written_at), default=clock.now())
            for weight in _weights_left(release, seen):
                with watch.phase(stage_name(weight)):
                    since, looked = _step_back(
                        release,
                        environment,
                        run,
                        weight,
                        seen,
                        routes=routes,
                        metrics=metrics,
                        workloads=workloads,
                        journal=journal,
                        lock=lock,
                        clock=clock,
                        progress=progress,
                        keep=keep,
                    )
                looks.append(looked)
                if looked.seen.verdict is Verdict.ROLLBACK:
                    _back_to_canary(
                        release, environment, run, looked, routes, journal, clock, progress
                    )
                if looked.seen.verdict is Verdict.HOLD:
                    return finish(
                        Verdict.HOLD,
                        f"{looked.name} cannot be decided; the canary has {weight} %, and both "
                        "sides run the new version",
                        "tarsrelease promote goes on from here",
                    )
            with watch.phase("drain"):
                drain(
                    release,
                    environment,
                    since,
                    metrics=metrics,
                    clock=clock,
                    progress=progress,
                    alive=keep,
                )
            with watch.phase("remove canary"):
                retire(
                    release,
                    run,
                    environment.gateway.settle,
                    routes=routes,
                    clock=clock,
                    progress=progress,
                    stage=PROMOTED,
                )
                remove_canary(
                    release,
                    environment.limits.deploy,
                    charts=charts,
                    workloads=workloads,
                    progress=progress,
                )
                pinning.unpin(pins, release, run, workloads=workloads, journal=journal, clock=clock)
            _note(release, run, journal, clock, Phase.RESULT)
    return finish(
        Verdict.PROCEED,
        f"{rollout.application} {release.version} is stable and serves everything; nothing of the "
        "canary is left",
        "watch it: tarsrelease status",
    )


# (1) Look


def _refuse_unproven(release: Release, seen: Snapshot, entries: Sequence[Entry]) -> None:
    """Refuse unless the last stage's gate proceeded and its traffic stands; a promotion that
    was begun may go on, wherever its traffic is."""
    doing = f"promoting {release.version}"
    last = release.rollout.stages[-1]
    refuse_rolled_back(doing, release, entries)
    begun = release_journal.has(entries, release.version, release_journal.PROMOTE, Phase.INTENT)
    if begun and _stable_touched(release, seen):
        return
    if not release_journal.passed(entries, release.version, last.weight):
        raise RefusedError(
            doing=doing,
            found=f"the journal has no {last.name} that proceeded",
            expected=f"the {last.weight} % stage to have proceeded",
            next_step=f"tarsrelease canary gate --stage {last.weight}",
        )
    elsewhere = [
        route
        for route in seen.routes
        if route.weight != last.weight or route.release != release.version
    ]
    if elsewhere or not seen.routes:
        where = (
            f"{elsewhere[0].service} stands at {elsewhere[0].weight} %" if elsewhere else "no route"
        )
        raise RefusedError(
            doing=doing,
            found=where,
            expected=f"every route at {last.weight} % for {release.version}",
            next_step=f"tarsrelease canary gate --stage {last.weight}",
        )


def _stable_touched(release: Release, seen: Snapshot) -> bool:
    current = seen.stable_history[-1:]
    return any(same_version(revision.app_version, release.version) for revision in current) or any(
        same_version(state.version, release.version)
        for state in seen.deployments
        if state.name in stable_names(release.rollout)
    )


# (2) Stable


def _upgrade(
    release: Release,
    environment: Environment,
    seen: Snapshot,
    pins: Pins | None,
    flags_on: bool,
    charts: Charts,
    workloads: Workloads,
    routes: Routes,
    clock: Clock,
    progress: Progress,
    keep: Callable[[], None],
) -> None:
    """Helm upgrade of stable, at its pinned size; nothing where it is done already.

    `flags_on`: stable gets the feature flags that the canary was proven with.
    """
    rollout, limits = release.rollout, environment.limits
    replicas = dict.fromkeys(stable_names(rollout), 1) | dict(pins.replicas if pins else {})
    current = seen.stable_history[-1] if seen.stable_history else None
    done = (
        current is not None
        and current.status == "deployed"
        and same_version(current.app_version, release.version)
    )
    if not done:
        # Helm may take as long as its deadline, and nobody looks at the routes meanwhile.
        traffic.lend(
            release,
            environment,
            routes=routes,
            clock=clock,
            seconds=2 * limits.deploy + traffic.loan(environment),
        )
        if current is not None and current.status.startswith("pending"):
            good = last_good(seen.stable_history, release.version, pins)
            progress.say(f"an upgrade of {rollout.application} was cut off ({current.status})")
            if good is not None:
                charts.rollback(
                    rollout.application, good.number, deadline=limits.deploy, wait=False
                )
        progress.say(f"upgrading {rollout.application} to {release.version}; the canary serves")
        charts.upgrade(
            rollout.application,
            release.chart,
            [environment.helm.values, *([rollout.feature_flags] if flags_on else [])],
            values_from=rollout.application,
            deadline=limits.deploy,
            wait=False,
        )
    scaled = {scaler.deployment for scaler in workloads.autoscalers()}
    for state in workloads.deployments():
        least = replicas.get(state.name, 0)
        if state.replicas < least and state.name not in scaled:
            workloads.scale(state.name, least)
    problem = wait_until_complete(
        {name: 1 if name in scaled else least for name, least in replicas.items()},
        version=release.version,
        workloads=workloads,
        clock=clock,
        deadline=limits.deploy,
        alive=keep,
    )
    if problem is not None:
        raise StoppedError(
            doing=f"upgrading {rollout.application} to {release.version}",
            found=problem,
            expected="all of stable's replicas ready at the new version",
            next_step=f"the canary serves all requests; {_AGAIN}",
        )


# (3) Traffic back


def _weights_left(release: Release, seen: Snapshot) -> list[int]:
    """The promotion's weights from the one at which the routes stand, if they do."""
    weights = list(release.rollout.promotion.weights)
    standing = {route.stage for route in seen.routes}
    if standing == {PROMOTED}:
        return []
    for number, weight in enumerate(weights):
        if standing == {stage_name(weight)}:
            return weights[number:]
    return weights


def _step_back(
    release: Release,
    environment: Environment,
    run: Run,
    weight: int,
    seen: Snapshot,
    *,
    routes: Routes,
    metrics: Metrics,
    workloads: Workloads,
    journal: Journal,
    lock: Lock,
    clock: Clock,
    progress: Progress,
    keep: Callable[[], None],
) -> tuple[datetime, LookedAt]:
    """One step: the shift, unless the routes stand there, and the look at stable."""
    rollout = release.rollout
    stage = promotion_look(rollout.stages[-1], weight, rollout.promotion.look)
    past = read_burstiness(
        release.rollout,
        environment,
        stage,
        history=metrics,
        clock=clock,
        progress=progress,
    )
    standing = [route.written_at for route in seen.routes if route.stage == stage.name]
    times = [time for time in standing if time is not None]
    if len(times) == len(rollout.services):
        since = min(times)
        progress.say(f"{stage.name}: the routes stand there since {since:%H:%M:%S}")
    else:
        since = traffic.shift(
            release,
            environment,
            run,
            weight,
            stage.name,
            routes=routes,
            journal=journal,
            lock=lock,
            clock=clock,
            progress=progress,
        )
    found = observe(
        release,
        environment,
        stage,
        since,
        track=Track.STABLE,
        weight=weight,
        metrics=metrics,
        workloads=workloads,
        clock=clock,
        progress=progress,
        alive=keep,
        past=past,
    )
    seconds = (found.decided_at - since).total_seconds()
    return since, LookedAt(stage.name, weight, round(seconds, 3), found)


def _back_to_canary(
    release: Release,
    environment: Environment,
    run: Run,
    looked: LookedAt,
    routes: Routes,
    journal: Journal,
    clock: Clock,
    progress: Progress,
) -> None:
    """Stable fails at the new version: the canary, which is proven, serves again. Raises."""
    cause = Cause.of(looked.seen.checks)
    why = show_cause(cause) if cause is not None else "stable failed"
    traffic.take_off(
        release,
        environment,
        run,
        why,
        to=Track.CANARY,
        routes=routes,
        journal=journal,
        clock=clock,
        progress=progress,
    )
    raise StoppedError(
        doing=f"bringing the traffic back to stable ({looked.name})",
        found=why,
        expected="an upgraded stable that passes what the canary passed",
        next_step="the canary serves all requests; find out what differs between the two, then "
        + _AGAIN,
    )


def _note(release: Release, run: Run, journal: Journal, clock: Clock, phase: Phase) -> None:
    journal.append(
        Entry(
            at=clock.now(),
            run=run.id,
            release=release.version,
            step=STEP,
            action=release_journal.PROMOTE,
            phase=phase,
        )
    )
