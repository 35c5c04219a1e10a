"""What people do to a release while it is evaluated: holds, aborts, and changes by hand.

Read at each tick of every evaluation of traffic that is ours. A route that somebody deleted, or
that sends more traffic to the side that is being judged than was written, is restored; one that
sends less is left as it is, and the stage holds. It also holds if a Deployment got fewer replicas
than its side requires, or the judged one other images, commands, environment or resources: its
pods then prove nothing about the release. All name who changed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from tarsrelease.context import Context
from tarsrelease.model.cluster import DeploymentState, RouteState
from tarsrelease.model.errors import LockedError, ReleaseError
from tarsrelease.model.format import names
from tarsrelease.model.journal import DeployFacts, Entry, PersonFacts, Phase
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Check, Status, Verdict
from tarsrelease.model.rollout import Service, Stage
from tarsrelease.operations.journaling import journal_if_possible
from tarsrelease.operations.traffic import lease_seconds, timestamp
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.capacity import replicas_for
from tarsrelease.rollout.release_journal import Pins

HELD = "release.hold"
ABORTED = "release.abort"
ROUTES = "routes.weight"
DEPLOYMENTS = "deployments.unchanged"
IMAGES = "deployments.images"
_OF_PODS = frozenset({"absent", "ready", "restarts"})
"""Kinds of checks that judge the pods and not their requests."""
_AUTOSCALER = "kube-controller-manager"
_READ_JOURNAL = timedelta(seconds=2)


class Interventions:
    """The interventions while `track` is judged at a canary weight of `weight` percent.

    `stage` is the name that was written to the routes with that weight.
    """

    def __init__(self, context: Context, stage: str, weight: int, track: Track) -> None:
        self._context, self._stage, self._weight, self._track = context, stage, weight, track
        self._journal_read_at: datetime | None = None
        self._from_journal: tuple[Check, ...] = ()
        self._held_until: datetime | None = None
        self._written: dict[str, RouteState] = {}
        self._restored: dict[str, Check] = {}
        self._lowered: tuple[Check, ...] = ()
        self._pins: Pins | None = None
        self._installed = DeployFacts()
        self._seen_first: dict[str, DeploymentState] = {}
        self._changed: tuple[Check, ...] = ()

    @property
    def checks(self) -> tuple[Check, ...]:
        """One result for each intervention."""
        return (*self._from_journal, *self._lowered, *self._changed, *self._restored.values())

    def ruling(self, verdict: Verdict | None) -> Verdict | None:
        """The verdict after the interventions; a rollback stays one.

        HOLD if somebody took traffic, replicas or images from a side. None, so that the evaluation
        goes on, while a person's hold is younger than `limits.wait`.
        """
        if verdict is Verdict.ROLLBACK:
            return verdict
        if self._lowered or self._changed:
            return Verdict.HOLD
        if self._held_until is not None and self._context.clock.now() < self._held_until:
            return None
        return verdict

    def compare(self, deployments: Mapping[str, DeploymentState]) -> None:
        """Compare the Deployments that were read last."""
        self._changed = tuple(self._changes(deployments))

    def excuse(self, checks: Iterable[Check], stage: Stage) -> tuple[Check, ...]:
        """The results; pods that fail are an error if somebody gave them other images.

        What fails in their requests stays a failure.
        """
        kinds = {rule.id: rule.kind for rule in stage.checks}
        changed = {check.service: check for check in self._changed if check.id == IMAGES}
        return tuple(
            check.model_copy(
                update={
                    "status": Status.ERROR,
                    "reason": f"{check.reason}; {changed[check.service].reason}",
                }
            )
            if check.status is Status.FAIL
            and check.service in changed
            and kinds.get(check.id) in _OF_PODS
            else check
            for check in checks
        )

    def read(self) -> None:
        """Read journal and routes. An API server that is away has changed nothing.

        Raises LockedError if a route must be restored and another process has the lock.
        """
        now = self._context.clock.now()
        try:
            if self._journal_read_at is None or now >= self._journal_read_at + _READ_JOURNAL:
                entries = self._context.cluster.journal.entries()
                self._from_journal = requested(entries, self._context.release.version)
                self._held_until = held_until(self._context, entries)
                self._pins = release_journal.pins(entries, self._context.release.version)
                self._installed = release_journal.installed(entries, self._context.release.version)
                self._journal_read_at = now
            self._compare(self._context.cluster.routes.read(self._context.rollout.services))
        except LockedError:
            raise
        except ReleaseError:
            return

    def _compare(self, routes: Sequence[RouteState]) -> None:
        found = {route.service: route for route in routes}
        lowered = []
        for service in self._context.rollout.services:
            route = found.get(service.name)
            written = self._written.get(service.name)
            if route is None:
                if written is not None:
                    self._restore(service, written, "was deleted")
            elif route.stage != self._stage:
                continue  # another step of tarsrelease has written it since
            elif route.weight == self._weight:
                self._written[service.name] = route
            else:
                by = names(route.managers) if route.managers else "somebody"
                changed = f"was set to {route.weight} % by {by}"
                more = (route.weight > self._weight) == (self._track is Track.CANARY)
                if more:
                    self._restore(service, route, changed)
                else:
                    lowered.append(self._check(service, Status.ERROR, changed))
        self._lowered = tuple(lowered)

    def _changes(self, found: Mapping[str, DeploymentState]) -> Iterator[Check]:
        for service in self._context.rollout.services:
            side = service.canary if self._track is Track.CANARY else service.stable
            judged = found.get(side.deployment)
            if judged is not None:
                first = self._seen_first.setdefault(judged.name, judged)
                other = other_template(service, judged, self._installed, first)
                if other is not None:
                    yield other
            for name, least in self._least(service).items():
                state = found.get(name)
                if state is not None and state.replicas < least and state.changed_by != _AUTOSCALER:
                    yield Check(
                        id=DEPLOYMENTS,
                        status=Status.ERROR,
                        service=service.name,
                        expected=f"{least} replicas",
                        reason=f"deployment/{name} was scaled to {state.replicas} by "
                        f"{state.changed_by or 'somebody'}",
                        source=f"deployment/{name}",
                    )

    def _least(self, service: Service) -> dict[str, int]:
        """By Deployment of the service, the replicas that it requires at least.

        Stable's are not compared while it has no traffic, because promote upgrades it then.
        """
        stable, pins = service.stable.deployment, self._pins
        pinned = pins.replicas.get(stable) if pins is not None else None
        if pinned is None:
            return {}
        canary = {service.canary.deployment: replicas_for(self._weight, pinned)}
        return canary | ({stable: pinned} if self._weight < 100 else {})

    def _restore(self, service: Service, route: RouteState, changed: str) -> None:
        context, weight = self._context, self._weight
        since = route.written_at or context.clock.now()
        until = context.clock.now() + timedelta(seconds=lease_seconds(context.environment))
        notes = {
            "weight": str(weight),
            "stage": self._stage,
            "run": route.run or context.run.id,
            "release": route.release or context.release.version,
            "shifted-at": timestamp(since),
            "traffic-until": timestamp(until),
        }
        context.cluster.routes.shift([service], weight, notes)
        check = self._check(service, Status.SKIPPED, f"{changed}; restored to {weight} %")
        context.say(f"{self._stage}: {check.reason}")
        journal_if_possible(
            context,
            self._stage,
            release_journal.RESTORE,
            Phase.RESULT,
            PersonFacts(weight=weight, reason=check.reason),
        )
        self._restored[service.name] = check

    def _check(self, service: Service, status: Status, changed: str) -> Check:
        return Check(
            id=ROUTES,
            status=status,
            service=service.name,
            expected=f"{self._weight} %, as {self._stage} wrote it",
            reason=f"{service.route_names} {changed}",
            source=service.route_names,
        )


def other_template(
    service: Service,
    state: DeploymentState,
    installed: DeployFacts,
    first: DeploymentState | None = None,
) -> Check | None:
    """The result for a Deployment whose containers are not as they were installed.

    What the journal does not know is compared with `first`. None if nothing has changed.
    """
    before = first or state
    images = (installed.images or {}).get(state.name, before.images)
    settings = (installed.settings or {}).get(state.name, before.settings)
    if state.images != images:
        expected, other = names(images), f"images, {names(state.images)}"
    elif state.settings != settings:
        expected = "the containers as they were installed"
        other = "commands, environment or resources of its containers"
    else:
        return None
    return Check(
        id=IMAGES,
        status=Status.ERROR,
        service=service.name,
        expected=expected,
        reason=f"deployment/{state.name} has other {other}, by {state.template_by or 'somebody'}",
        source=f"deployment/{state.name}",
    )


def held_until(context: Context, entries: Sequence[Entry]) -> datetime | None:
    """Until when a person's hold keeps the traffic where it is; None without a hold."""
    held = release_journal.held(entries, context.release.version)
    return None if held is None else held.at + timedelta(seconds=context.environment.limits.wait)


def requested(entries: Sequence[Entry], release: str) -> tuple[Check, ...]:
    """The abort and the hold that persons requested, as results."""
    found = []
    aborted, held = (
        release_journal.aborted(entries, release),
        release_journal.held(entries, release),
    )
    if aborted is not None:
        found.append(_by_person(ABORTED, Status.FAIL, "aborted", aborted))
    if held is not None:
        found.append(_by_person(HELD, Status.INCONCLUSIVE, "held", held))
    return tuple(found)


def _by_person(check: str, status: Status, what: str, entry: Entry) -> Check:
    facts = PersonFacts.of(entry.facts) or PersonFacts()
    return Check(
        id=check,
        status=status,
        expected="no intervention by a person",
        reason=f"{what} by {facts.by} at {entry.at:%H:%M:%S} UTC: {facts.reason}",
        source="the journal",
    )
