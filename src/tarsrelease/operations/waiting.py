"""Traffic that stands on the canary while a person thinks stays watched (design: decision 9).

What a person's answer looks like differs: typed at this very terminal (`ask_watched`), or seen in
the journal and the routes when the pipeline goes on (steps/canary_gate_wait.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum
from math import inf
from typing import TypeVar

from tarsrelease.gates.measure.pods import RestartCounts
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Verdict
from tarsrelease.model.release import Release
from tarsrelease.model.rollout import Stage
from tarsrelease.operations import traffic
from tarsrelease.operations.evaluation import Observation, observe
from tarsrelease.operations.past_requests import read_burstiness
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Journal, Lock, Routes, Workloads, holding
from tarsrelease.ports.metrics import ExternalAnswers, Metrics
from tarsrelease.ports.people import Person, Progress
from tarsrelease.rollout import release_journal

T = TypeVar("T")


class _OverError(Exception):
    """Leaves the looking when the wait is over."""


def watch_standing(
    release: Release,
    environment: Environment,
    stage: Stage,
    since: datetime,
    until: datetime,
    over: Callable[[], T | None],
    keep: Callable[[], None],
    *,
    restarts_before: RestartCounts | None,
    metrics: Metrics,
    workloads: Workloads,
    clock: Clock,
    progress: Progress,
    elsewhere: ExternalAnswers,
) -> T | Observation:
    """Look at the stage whose traffic stands `since` then, until `over` has an answer.

    An observation instead: rollback is a proven failure, any other verdict that nobody answered
    before `until`, or that the metrics were away for too long where the environment takes the
    traffic off then. Where it does not, the pods stay watched and the wait goes on. `over` and
    `keep` are called once a tick; `keep` may raise.
    """
    answered: list[T] = []

    def alive() -> None:
        answer = over()
        if answer is not None:
            answered.append(answer)
            raise _OverError
        keep()

    if environment.limits.after_metrics_outage == "hold":
        limits = environment.limits.model_copy(update={"metrics_outage": inf})
        environment = environment.model_copy(update={"limits": limits})
    past = read_burstiness(
        release.rollout,
        environment,
        stage,
        history=metrics,
        clock=clock,
        progress=progress,
    )
    planned = max(0.0, (until - since).total_seconds())
    try:
        return observe(
            release,
            environment,
            stage.model_copy(update={"duration": planned, "max_extension": 0.0}),
            since,
            track=Track.CANARY,
            weight=stage.weight,
            metrics=metrics,
            workloads=workloads,
            clock=clock,
            progress=progress,
            alive=alive,
            restarts_before=restarts_before,
            elsewhere=elsewhere,
            past=past,
        )
    except _OverError:
        return answered[0]


class Answer(Enum):
    """What became of a question."""

    YES = "yes"
    NO = "no"
    TOO_LATE = "too late"
    UNSEEN = "unseen"
    """Without metrics for too long, where the environment takes the traffic off then."""
    FAILED_MEANWHILE = "failed meanwhile"


def ask_watched(
    question: str,
    release: Release,
    environment: Environment,
    stage: Stage | None,
    *,
    person: Person,
    metrics: Metrics,
    workloads: Workloads,
    routes: Routes,
    journal: Journal,
    lock: Lock,
    clock: Clock,
    progress: Progress,
    elsewhere: ExternalAnswers,
) -> tuple[Answer, Observation | None]:
    """Ask; meanwhile go on looking at `stage`, whose traffic stands (None: there is none).

    A failure ends the wait, and so does `limits.wait`; both are for the caller to act on. Where
    nobody is really there, the answer comes at once and nothing needs watching.
    """
    if stage is None or not person.attended:
        return (Answer.YES if person.approves(question) else Answer.NO), None
    answers: list[bool] = []
    answered = threading.Event()

    def ask() -> None:
        try:
            answers.append(person.approves(question))
        finally:
            answered.set()

    def over() -> Answer | None:
        if not answered.is_set():
            return None
        return Answer.YES if answers[:1] == [True] else Answer.NO

    with holding(lock):
        asked_at = clock.now()
        until = asked_at + timedelta(seconds=environment.limits.wait)
        standing = [r.written_at for r in routes.read(release.rollout.services) if r.written_at]
        since = min(standing, default=asked_at)
        threading.Thread(target=ask, name="question", daemon=True).start()
        seen = watch_standing(
            release,
            environment,
            stage,
            since,
            until,
            over,
            traffic.keeper(release, environment, routes=routes, lock=lock, clock=clock),
            restarts_before=_restarts_before(journal, release, since),
            metrics=metrics,
            workloads=workloads,
            clock=clock,
            progress=progress,
            elsewhere=elsewhere,
        )
    if isinstance(seen, Answer):
        return seen, None
    if seen.verdict is Verdict.ROLLBACK:
        return Answer.FAILED_MEANWHILE, seen
    return (Answer.TOO_LATE if seen.decided_at >= until else Answer.UNSEEN), seen


def _restarts_before(journal: Journal, release: Release, since: datetime) -> RestartCounts | None:
    try:
        return release_journal.restarts_at_shift(journal.entries(), release.version, since)
    except ReleaseError:
        return None  # those of the first look stand in
