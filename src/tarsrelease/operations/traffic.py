"""Moving traffic: shifting weights, lending traffic for a while, and taking it off at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import ReleaseError, StoppedError, UnreachableError
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.measurement import Track
from tarsrelease.model.release import Release, Run
from tarsrelease.model.rollout import Service
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Journal, Lock, Routes
from tarsrelease.ports.people import Progress
from tarsrelease.rollout import release_journal

OFF = "off"
"""The stage written to the routes when the canary has no traffic because it was taken off."""
KEPT = "kept-on-canary"
"""The stage written when all traffic went to the canary because stable is being restored."""

_POLL = 0.1
_RETRY = 0.25
_TAKE_OFF_DEADLINE = 30.0
_SHORTEST_LOAN = 60.0


def timestamp(moment: datetime) -> str:
    """A moment as the routes' annotations carry it: RFC 3339, UTC, microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def loan(environment: Environment) -> float:
    """Seconds that traffic is lent for: two looks and a margin, one minute at least."""
    return max(_SHORTEST_LOAN, 2 * environment.prometheus.scrape_interval + 30.0)


def _annotations(
    release: Release, run: Run, weight: int, stage: str, now: datetime, lent: float | None
) -> dict[str, str]:
    said = {
        "weight": str(weight),
        "stage": stage,
        "run": run.id,
        "release": release.version,
        "shifted-at": timestamp(now),
    }
    if lent is not None:
        said["traffic-until"] = timestamp(now + timedelta(seconds=lent))
    return said


def _entry(
    release: Release, run: Run, clock: Clock, stage: str, phase: Phase, **facts: object
) -> Entry:
    return Entry(
        at=clock.now(),
        run=run.id,
        release=release.version,
        step=stage,
        action=release_journal.SHIFT,
        phase=phase,
        facts=facts,
    )


def wait_until_accepted(
    services: Sequence[Service], routes: Routes, clock: Clock, settle: float
) -> str | None:
    """Wait until the gateway accepts every route as it now stands; what is wrong otherwise.

    `settle` is the deadline in seconds. None means accepted.
    """
    started = clock.now()
    while True:
        states = {state.service: state for state in routes.read(services)}
        waiting = [
            f"{service.route}: {state.problem or 'not accepted yet' if state else 'is gone'}"
            for service in services
            if (state := states.get(service.name)) is None or not state.accepted
        ]
        if not waiting:
            return None
        if (clock.now() - started).total_seconds() >= settle:
            return "; ".join(waiting)
        clock.sleep(_POLL)


def shift(
    release: Release,
    environment: Environment,
    run: Run,
    weight: int,
    stage: str,
    *,
    routes: Routes,
    journal: Journal,
    lock: Lock,
    clock: Clock,
    progress: Progress,
) -> datetime:
    """Give the canary `weight` percent of every service's traffic; the time before the write.

    `stage` is the stage's name (``canary-10``, ``promote-50``). The intent is journaled first.
    Raises StoppedError when the gateway does not accept the routes within its time to settle;
    the weights that stood before are then put back.
    """
    services = release.rollout.services
    before = {state.service: state.weight for state in routes.read(services)}
    journal.append(
        _entry(
            release,
            run,
            clock,
            stage,
            Phase.INTENT,
            weight=weight,
            before=dict(sorted(before.items())),
        )
    )
    lock.check()
    progress.say(f"traffic: {weight} % to the canary ({', '.join(s.name for s in services)})")
    since = clock.now()
    routes.shift(
        services, weight, _annotations(release, run, weight, stage, since, loan(environment))
    )
    problem = wait_until_accepted(services, routes, clock, environment.gateway.settle)
    if problem is not None:
        back = min(before.values(), default=0) if weight else 0
        routes.shift(
            services, back, _annotations(release, run, back, stage, clock.now(), loan(environment))
        )
        raise StoppedError(
            doing=f"shifting {weight} % of the traffic to the canary",
            found=f"after {environment.gateway.settle:g} s the gateway has not accepted: {problem}",
            expected="Accepted and ResolvedRefs at the routes' current generation",
            next_step=f"the traffic is back at {back} %; look at the gateway's log, then run "
            "this step again, or `tarsrelease rollback`",
        )
    took = (clock.now() - since).total_seconds()
    journal.append(_entry(release, run, clock, stage, Phase.RESULT, weight=weight, seconds=took))
    return since


def lend(
    release: Release,
    environment: Environment,
    *,
    routes: Routes,
    clock: Clock,
    seconds: float | None = None,
) -> None:
    """Extend `traffic-until` to `seconds` from now (by default the usual loan)."""
    until = clock.now() + timedelta(seconds=seconds or loan(environment))
    routes.annotate(release.rollout.services, {"traffic-until": timestamp(until)})


def lender(
    release: Release, environment: Environment, *, routes: Routes, clock: Clock
) -> Callable[[], None]:
    """What to call at each look: keeps the loan of traffic while somebody looks.

    Cheap to call often: the routes are written at the first call, as the loan may be an old one,
    and then only when half of it is used up. An API server that does not answer is left for the
    next call, as a look can well go on without it.
    """
    renew_after = loan(environment) / 2
    renewed: datetime | None = None

    def keep() -> None:
        nonlocal renewed
        if renewed is not None and (clock.now() - renewed).total_seconds() < renew_after:
            return
        try:
            lend(release, environment, routes=routes, clock=clock)
        except UnreachableError:
            return
        renewed = clock.now()

    return keep


def keeper(
    release: Release,
    environment: Environment,
    *,
    routes: Routes,
    lock: Lock,
    clock: Clock,
) -> Callable[[], None]:
    """As `lender`, and keeps the lock; raises LockedError where another run has taken it."""
    extend = lender(release, environment, routes=routes, clock=clock)

    def keep() -> None:
        try:
            lock.check()
        except UnreachableError:
            return
        extend()

    return keep


def _write_off(
    services: Sequence[Service],
    weight: int,
    annotations: dict[str, str],
    routes: Routes,
    clock: Clock,
    progress: Progress,
) -> dict[str, ReleaseError]:
    """Write each route until it is written or the deadline has passed; what was not, and why."""
    try:
        routes.shift(services, weight, annotations)
    except ReleaseError as error:
        progress.say(f"traffic: {error}; trying route by route")
    else:
        return {}
    left = {service.name: service for service in services}
    errors: dict[str, ReleaseError] = {}
    started = clock.now()
    while left:
        for name, service in list(left.items()):
            try:
                routes.shift([service], weight, annotations)
            except UnreachableError as error:
                errors[name] = error
            except ReleaseError as error:
                errors[name] = error
                del left[name]
            else:
                errors.pop(name, None)
                del left[name]
        if (clock.now() - started).total_seconds() >= _TAKE_OFF_DEADLINE:
            break
        if left:
            clock.sleep(_RETRY)
    return errors


def take_off(
    release: Release,
    environment: Environment,  # noqa: ARG001 - every step begins with the same three
    run: Run,
    reason: str,
    *,
    to: Track,
    routes: Routes,
    journal: Journal,
    clock: Clock,
    progress: Progress,
) -> datetime:
    """All traffic to one side at once; the time of the last write.

    Waits for neither lock nor journal: the traffic is written first, and a journal that cannot
    be written is only reported. Routes are written independently of each other, and again until
    30 s have passed. Raises StoppedError that names the routes that could not be written.
    """
    services = release.rollout.services
    weight, stage = (0, OFF) if to is Track.STABLE else (100, KEPT)
    progress.say(f"traffic: all to {to}")
    annotations = _annotations(release, run, weight, stage, clock.now(), None)
    errors = _write_off(services, weight, annotations, routes, clock, progress)
    written = clock.now()
    if errors:
        raise StoppedError(
            doing=f"taking all traffic to {to} ({reason})",
            found="; ".join(f"{name}: {error}" for name, error in sorted(errors.items())),
            expected=f"every route written within {_TAKE_OFF_DEADLINE:g} s",
            next_step="run `tarsrelease rollback` again as soon as the API server answers; by "
            "hand: set the weights in "
            + ", ".join(f"httproute/{s.route}" for s in services if s.name in errors),
        )
    try:
        journal.append(
            Entry(
                at=written,
                run=run.id,
                release=release.version,
                step=stage,
                action=release_journal.TAKE_OFF,
                phase=Phase.RESULT,
                facts={"to": str(to), "weight": weight, "reason": reason},
            )
        )
    except ReleaseError as error:
        progress.say(f"journal: could not be written ({error}); the traffic was moved all the same")
    return written
