"""Move traffic: shift weights, lease traffic to the canary, move all of it at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tarsrelease.context import Context
from tarsrelease.model.cluster import RouteState
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import LostError, ReleaseError, StoppedError, UnreachableError
from tarsrelease.model.format import duration, names
from tarsrelease.model.journal import Phase, ShiftFacts, TakeOffFacts
from tarsrelease.model.measurement import Track
from tarsrelease.operations.answering import RETRY, Outage, patiently
from tarsrelease.operations.journaling import journal, journal_if_possible
from tarsrelease.operations.snapshot import refuse_rolled_back
from tarsrelease.operations.tasks import result_of
from tarsrelease.ports.clock import Task
from tarsrelease.rollout import release_journal

OFF = "off"
"""The stage written to the routes when all traffic was moved back to stable."""
KEPT = "kept-on-canary"
"""The stage written when all traffic went to the canary because stable is being restored."""

_POLL = 0.1
_RETRY = 0.25
_SHORTEST_LEASE = 60.0


def timestamp(moment: datetime) -> str:
    """The format of times in route annotations: RFC 3339, UTC, microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def lease_seconds(environment: Environment) -> float:
    """Duration of a lease: two scrape intervals plus 30 s, at least one minute."""
    return max(_SHORTEST_LEASE, 2 * environment.prometheus.scrape_interval + 30.0)


def route_notes(context: Context, weight: int, stage: str) -> dict[str, str]:
    """The annotations written with a weight, except the lease."""
    return {
        "weight": str(weight),
        "stage": stage,
        "run": context.run.id,
        "release": context.release.version,
        "shifted-at": timestamp(context.clock.now()),
    }


def _lease(context: Context, seconds: float | None = None) -> dict[str, str]:
    leased = timedelta(seconds=seconds or lease_seconds(context.environment))
    return {"traffic-until": timestamp(context.clock.now() + leased)}


def _problem(state: RouteState | None) -> str:
    return "does not exist" if state is None else state.problem or "not accepted yet"


def wait_until_accepted(context: Context) -> str | None:
    """Wait until the gateway accepts every route, for `gateway.settle` at most.

    Returns None, or the problem of each route that is not accepted.
    """
    clock = context.clock
    started = clock.now()
    while True:
        problem = _not_accepted(context)
        if problem is None:
            return None
        if (clock.now() - started).total_seconds() >= context.environment.gateway.settle:
            return problem
        clock.sleep(_POLL)


def _not_accepted(context: Context, write: Callable[[], object] | None = None) -> str | None:
    services = context.rollout.services
    states = {state.service: state for state in context.cluster.routes.read(services)}
    missing = [service.route_names for service in services if service.name not in states]
    if missing and write is not None:
        context.say(f"traffic: {names(missing)} was deleted; writing it again")
        write()
    waiting = [
        f"{service.route_names}: {_problem(states.get(service.name))}"
        for service in services
        if (state := states.get(service.name)) is None or not state.accepted
    ]
    return "; ".join(waiting) or None


def _accepting(
    context: Context, stage: str, away: float, write: Callable[[], object]
) -> Task[str | None]:
    """As `wait_until_accepted`, and calls `write` if somebody deletes a route meanwhile.

    After `away` seconds without the API server, and after further ones, the gateway gets as long
    to connect again; for all further ones together, twice `limits.deploy`.
    """
    clock, limits = context.clock, context.environment.limits
    until = clock.now() + timedelta(seconds=context.environment.gateway.settle + away)
    latest = until + timedelta(seconds=2 * limits.deploy)
    while True:
        asked = clock.now()
        problem = yield from patiently(context, stage, lambda: _not_accepted(context, write))
        if (lost := clock.now() - asked) >= timedelta(seconds=RETRY):
            until = min(until + 2 * lost, latest)
        if problem is None or clock.now() >= until:
            return problem
        yield _POLL


def shift(context: Context, weight: int, stage: str) -> datetime:
    """Shift `weight` percent of every service's traffic to the canary; see `shifting`."""
    return result_of(context.clock, shifting(context, weight, stage))


def shifting(context: Context, weight: int, stage: str) -> Task[datetime]:
    """Shift `weight` percent of every service's traffic to the canary.

    Returns the time just before the write. `stage` is the stage's name (``canary-10``,
    ``promote-50``). Journals the intent first. While the API server does not answer, tries again
    for `limits.deploy`. Raises RefusedError before the write if the release was rolled back or
    aborted meanwhile. If the gateway does not accept the routes within `gateway.settle`, and as
    long again as such an outage was, restores the previous weights and raises StoppedError.
    """
    services, routes = context.rollout.services, context.cluster.routes
    found = yield from patiently(context, stage, lambda: routes.read(services))
    before = {state.service: state.weight for state in found}
    intent = ShiftFacts(weight=weight, before=dict(sorted(before.items())))
    yield from patiently(
        context,
        stage,
        lambda: journal(context, stage, release_journal.SHIFT, Phase.INTENT, intent),
    )
    context.say(f"traffic: {weight} % to the canary ({', '.join(s.name for s in services)})")

    def write(to: int) -> datetime:
        if to:  # another process may have ended the release since it was checked
            entries = context.cluster.journal.entries()
            refuse_rolled_back(f"shifting {to} % of the traffic", context.release, entries)
        began = context.clock.now()
        routes.shift(services, to, route_notes(context, to, stage) | _lease(context))
        return began

    asked = context.clock.now()
    since = yield from patiently(context, stage, lambda: write(weight))
    away = (since - asked).total_seconds()
    problem = yield from _accepting(context, stage, away, lambda: write(weight))
    if problem is not None:
        back = min(before.values(), default=0) if weight else 0
        yield from patiently(context, stage, lambda: write(back))
        settle = context.environment.gateway.settle
        raise StoppedError(
            doing=f"shifting {weight} % of the traffic to the canary",
            found=f"after {duration(settle)} the gateway has not accepted: {problem}",
            expected="Accepted and ResolvedRefs at the routes' current generation",
            next_step=f"traffic is back at {back} %; read the gateway's log, then run this step "
            "again or `tarsrelease rollback`",
        )
    took = (context.clock.now() - since).total_seconds()
    done = ShiftFacts(weight=weight, seconds=took)
    yield from patiently(
        context, stage, lambda: journal(context, stage, release_journal.SHIFT, Phase.RESULT, done)
    )
    return since


def extend_lease(context: Context, seconds: float | None = None) -> None:
    """Extend `traffic-until` to `seconds` from now, by default `lease_seconds`."""
    context.cluster.routes.annotate(context.rollout.services, _lease(context, seconds))


def lease_keeper(context: Context, renewed: datetime | None = None) -> Callable[[], None]:
    """A function to call at each tick, which extends the lease.

    It writes the routes when half of the lease has passed since `renewed`, such as a shift; without
    it, at the first call. If the API server does not answer, it tries again at the next call.
    """
    renew_after = lease_seconds(context.environment) / 2

    def keep() -> None:
        nonlocal renewed
        if renewed is not None and (context.clock.now() - renewed).total_seconds() < renew_after:
            return
        try:
            extend_lease(context)
        except UnreachableError:
            return
        renewed = context.clock.now()

    return keep


def lease_and_lock_keeper(context: Context, renewed: datetime | None = None) -> Callable[[], None]:
    """As `lease_keeper`, and raises LockedError if another run took the lock."""
    extend = lease_keeper(context, renewed)

    def keep() -> None:
        try:
            context.cluster.lock.check()
        except UnreachableError:
            return
        extend()

    return keep


def move_all(context: Context, to: Track, reason: str, within: float | None = None) -> datetime:
    """Move all traffic to one track at once. Returns the time of the last write.

    Does not wait for the lock or the journal: writes the routes first, and only reports a journal
    error. Writes each route independently and retries for `within` seconds, by default
    `limits.rollback`. Raises StoppedError naming the routes that could not be written; LostError
    if the API server did not answer.
    """
    services = context.rollout.services
    weight, stage = (0, OFF) if to is Track.STABLE else (100, KEPT)
    within = context.environment.limits.rollback if within is None else within
    context.say(f"traffic: moving all to {to}")
    errors = _write_all(context, weight, route_notes(context, weight, stage), within)
    written = context.clock.now()
    if errors:
        lost = all(isinstance(error, UnreachableError) for error in errors.values())
        raise (LostError if lost else StoppedError)(
            doing=f"moving all traffic to {to} ({reason})",
            found="; ".join(f"{name}: {error}" for name, error in sorted(errors.items())),
            expected=f"every route written within {duration(within)}",
            next_step="run `tarsrelease rollback` again when the API server answers, or set the "
            "weights by hand in " + ", ".join(s.route_names for s in services if s.name in errors),
        )
    journal_if_possible(
        context,
        stage,
        release_journal.MOVE_ALL,
        Phase.RESULT,
        TakeOffFacts(to=to, weight=weight, reason=reason),
    )
    return written


def move_all_again(
    context: Context, to: Track, reason: str, within: float | None = None
) -> datetime | None:
    """Move all traffic again if somebody has moved it since; None if not."""
    wanted = 0 if to is Track.STABLE else 100
    if all(
        route.weight == wanted for route in context.cluster.routes.read(context.rollout.services)
    ):
        return None
    context.say("traffic: somebody moved it meanwhile; moving it again")
    return move_all(context, to, reason, within)


def _write_all(
    context: Context, weight: int, notes: dict[str, str], within: float
) -> dict[str, ReleaseError]:
    """Write each route, with retries for `within` seconds. Returns the errors by service."""
    services, routes, clock = context.rollout.services, context.cluster.routes, context.clock
    try:
        routes.shift(services, weight, notes)
    except ReleaseError as error:
        context.say(f"traffic: {error}; trying route by route")
    else:
        return {}
    left = {service.name: service for service in services}
    errors: dict[str, ReleaseError] = {}
    started, outage = clock.now(), Outage(context, "traffic")
    while left:
        for name, service in list(left.items()):
            try:
                routes.shift([service], weight, notes)
            except UnreachableError as error:
                errors[name] = error
                outage.failed(error, f"trying again for {duration(within)} in all")
            except ReleaseError as error:
                errors[name] = error
                del left[name]
            else:
                errors.pop(name, None)
                del left[name]
        if (clock.now() - started).total_seconds() >= within:
            break
        if left:
            clock.sleep(_RETRY)
    return errors
