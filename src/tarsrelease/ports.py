"""What a step may ask of the world. Protocols of few methods, in the release's words.

Adapters raise `UnreachableError` where a system does not answer, `UsageError` where it answers
that the request or the rights are wrong; never their library's own errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from tarsrelease.model.checks import CheckRule
from tarsrelease.model.cluster import (
    AutoscalerState,
    DeploymentState,
    NodeState,
    PodState,
    Revision,
    RouteState,
)
from tarsrelease.model.evidence import Record
from tarsrelease.model.journal import Entry, LockHolder
from tarsrelease.model.measurement import Series, Told, Track, Unmeasured
from tarsrelease.model.notice import Message
from tarsrelease.model.outcome import Check, Outcome
from tarsrelease.model.people import Approval, Rules
from tarsrelease.model.rights import Right
from tarsrelease.model.rollout import Service
from tarsrelease.model.suite import SuiteResult


class Clock(Protocol):
    """Time, so that steps can be played on a virtual clock."""

    def now(self) -> datetime:
        """The present, in UTC."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class History(Protocol):
    """Samples of the past, thinned to a grid. `selectors` have no placeholders left."""

    def server_time(self) -> float:
        """The metrics server's present (Unix time), to tell clock skew from scrape lag."""

    def recorded(
        self, selectors: Sequence[str], start: float, end: float, step: float
    ) -> list[list[Series]]:
        """Per selector, each series' value at every `step` seconds from `start` to `end`."""


class Metrics(History, Protocol):
    """Raw samples, too."""

    def series(self, selectors: Sequence[str], seconds: float) -> list[list[Series]]:
        """Per selector, the raw samples of the last `seconds` before the server's present."""


class Elsewhere(Protocol):
    """What neither the metrics server nor the cluster can tell: numbers, tests, people."""

    def told(self, rule: CheckRule, track: Track, since: datetime) -> Told | None:
        """What is known by now for a rule on one side of the traffic that stands since then.

        Returns at once; None while there is no answer yet. What cannot be asked is `Unmeasured`.
        """

    def answered(self, check: str, yes: bool) -> None:
        """A person has answered a manual check."""


class Nowhere:
    """Nobody can be asked: what asks elsewhere is an error, never a pass."""

    def told(self, rule: CheckRule, track: Track, since: datetime) -> Told | None:
        """Why there is no answer."""
        del rule, track, since
        return Unmeasured("nobody can be asked here")

    def answered(self, check: str, yes: bool) -> None:
        """Nobody listens."""


class Routes(Protocol):
    """The services' routes, which are ours."""

    def read(self, services: Sequence[Service]) -> list[RouteState]:
        """The routes as they are; a route that does not exist is left out."""

    def shift(
        self,
        services: Sequence[Service],
        weight: int,
        annotations: Mapping[str, str],
    ) -> None:
        """Give the canary `weight` percent of each service's traffic, in one write a route.

        The annotations (stage, run, release, traffic-until) go into the same write. Creates a
        route that does not exist; keeps filters and matches of one that does.
        """

    def annotate(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Change these annotations and nothing else.

        Weights are left alone, so that extending a loan can never undo a rollback that another
        run has just made.
        """

    def retire(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Name only stable in the routes: no canary backend, no header rule.

        A route that names a Service that is gone is not `ResolvedRefs`, so this comes before the
        canary's removal. Creates a route that does not exist.
        """


class Workloads(Protocol):
    """Deployments, their pods, what scales them, and what a canary may leave behind."""

    def deployments(self) -> list[DeploymentState]:
        """All Deployments of the namespace."""

    def pods(self) -> list[PodState]:
        """All pods that belong to a Deployment of the application, on either track."""

    def scale(self, deployment: str, replicas: int) -> None:
        """Ask for this many replicas; returns at once."""

    def autoscalers(self) -> list[AutoscalerState]:
        """All HorizontalPodAutoscalers of the namespace that scale a Deployment."""

    def keep_at_least(self, autoscaler: str, replicas: int) -> None:
        """Set the autoscaler's minimum."""

    def remove_leftovers(self, helm_release: str) -> list[str]:
        """Delete what belongs to this Helm release and outlived it; say what, as ``Kind/name``."""


class Settled(Protocol):
    """What a Helm release elsewhere was set to."""

    def values(self, release: str) -> dict[str, Any] | None:
        """What it was rendered with, the chart's own values included; None where it is none."""


class Charts(Protocol):
    """Helm releases in the namespace."""

    def render(
        self,
        release: str,
        chart: str,
        values: Sequence[Mapping[str, Any]],
        *,
        values_from: str | None,
    ) -> list[dict[str, Any]]:
        """The objects, hooks included, that `upgrade` with the same arguments would apply."""

    def defaults(self, chart: str) -> dict[str, Any]:
        """The chart's own values."""

    def history(self, release: str) -> list[Revision]:
        """The release's revisions, oldest first; empty where there is no such release."""

    def upgrade(
        self,
        release: str,
        chart: str,
        values: Sequence[Mapping[str, Any]],
        *,
        values_from: str | None,
        deadline: float,
        wait: bool = True,
    ) -> None:
        """Install or upgrade `release` and wait until it is ready, `deadline` seconds at most.

        `values` are laid over each other, the last one wins; under them the values that the
        user gave the release `values_from`, where it exists. Without `wait` it returns once
        everything is applied.
        """

    def rollback(self, release: str, revision: int, *, deadline: float, wait: bool = True) -> None:
        """Back to `revision`, and wait until it is ready; as `upgrade` without `wait`."""

    def uninstall(self, release: str, *, deadline: float) -> None:
        """Remove the release and wait until its objects are gone; none there is no error."""


class Journal(Protocol):
    """The bounded journal on the cluster."""

    def append(self, entry: Entry) -> None:
        """Add an entry; the oldest of other releases are dropped when it is full."""

    def entries(self) -> list[Entry]:
        """All entries, oldest first."""


class Lock(Protocol):
    """One lock per application and environment."""

    def acquire(self, *, preempt: bool = False) -> None:
        """Take it, or raise `LockedError` naming the holder. A rollback preempts."""

    def check(self) -> None:
        """Renew it; raise `LockedError` where another run has taken it."""

    def release(self) -> None:
        """Give it up where it is ours."""

    def holder(self) -> LockHolder | None:
        """Who holds it now, if anyone does."""


@contextmanager
def holding(lock: Lock, *, preempt: bool = False) -> Iterator[None]:
    """Hold the lock for the length of the block."""
    lock.acquire(preempt=preempt)
    try:
        yield
    finally:
        lock.release()


class Ground(Protocol):
    """What a release stands on, and is not allowed to change."""

    def nodes(self) -> list[NodeState]:
        """All nodes. Raises `ForbiddenError` without the right, which is the cluster's to give."""

    def namespace(self) -> str | None:
        """The namespace's phase (``Active``), None where there is none. Raises as `nodes`."""

    def lacking(self, rights: Sequence[Right]) -> list[Right]:
        """Those of the rights that whoever asks does not have in the namespace."""


class Receivers(Protocol):
    """Those who are told what happens."""

    def deliver(self, message: Message) -> None:
        """Return when the receiver has taken it; repeated as its provider asks."""


class Reviews(Protocol):
    """Who must approve, and who did, on the platform that runs the pipeline."""

    def private(self) -> bool:
        """Whether the repository is private."""

    def rules(self, environment: str) -> Rules | None:
        """The rules of an environment, None where there is none of that name."""

    def approvals(self, run: str) -> list[Approval]:
        """All reviews of a run, also rejections."""


class Suites(Protocol):
    """The release's own tests, run against one side of what is running."""

    def run(self, marks: Sequence[str], target: Track) -> SuiteResult:
        """The tests that have one of the marks (all of them without any), sent to `target`."""


class Web(Protocol):
    """Plain HTTP requests, for smoke tests."""

    def get(self, host: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        """Status and body of a GET to the gateway with this Host header."""


class Person(Protocol):
    """Whoever decides where the day waits for a person."""

    @property
    def attended(self) -> bool:
        """True where a person reads the question.

        An assumed yes approves, but it never lifts a hold.
        """

    def approves(self, question: str) -> bool:
        """Ask; True is yes."""


class Progress(Protocol):
    """What a person sees while a step works. It never decides and never fails."""

    def say(self, line: str) -> None:
        """One line about what is being done."""

    def look(
        self,
        stage: str,
        weight: int | None,
        elapsed: float,
        planned: float,
        *,
        checks: Iterable[Check],
    ) -> None:
        """One look of a stage: seconds since the shift, seconds planned, results so far.

        `weight` is None where something else moves the traffic.
        """


class Evidence(Protocol):
    """Where outcomes are recorded."""

    def append(self, outcome: Outcome) -> Record:
        """Add the outcome to the chain."""


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One thing found in a bundle. `path` is relative to it, with slashes.

    `problem` says why it cannot count as a file (a link that leaves the bundle or leads nowhere, a
    device, an unreadable folder); None for a regular file or a link to one inside.
    """

    path: str
    size: int
    problem: str | None = None


class BundleFiles(Protocol):
    """A bundle's files, read only."""

    def listing(self) -> list[BundleFile]:
        """Everything in it but folders, sorted by path; links are not followed into folders."""

    def read(self, path: str) -> bytes | None:
        """The content, or None where there is no such file."""

    def digests(self, paths: Sequence[str]) -> dict[str, str | None]:
        """The SHA-256 (hex) of each file, None where it cannot be read; large files streamed."""
