"""Asking a person while the traffic that the canary has stays watched (design: decision 9)."""

from __future__ import annotations

import threading
from enum import Enum

from tarsrelease.model.environment import Environment
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Verdict
from tarsrelease.model.release import Release
from tarsrelease.model.rollout import Stage
from tarsrelease.ports import Clock, Lock, Metrics, Person, Progress, Routes, Workloads, holding
from tarsrelease.steps import traffic
from tarsrelease.steps.observe import Observation, observe


class Answer(Enum):
    """What became of a question."""

    YES = "yes"
    NO = "no"
    TOO_LATE = "too late"
    FAILED_MEANWHILE = "failed meanwhile"


class _AnsweredError(Exception):
    """Leaves the looking when the person has answered."""


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
    lock: Lock,
    clock: Clock,
    progress: Progress,
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

    with holding(lock):
        keep = traffic.keeper(release, environment, routes=routes, lock=lock, clock=clock)

        def alive() -> None:
            keep()
            if answered.is_set():
                raise _AnsweredError

        standing = [r.written_at for r in routes.read(release.rollout.services) if r.written_at]
        since = min(standing, default=clock.now())
        stood = (clock.now() - since).total_seconds()
        watched = stage.model_copy(
            update={"duration": stood + environment.limits.wait, "max_extension": 0.0}
        )
        threading.Thread(target=ask, name="question", daemon=True).start()
        try:
            seen = observe(
                release,
                environment,
                watched,
                since,
                track=Track.CANARY,
                weight=stage.weight,
                metrics=metrics,
                workloads=workloads,
                clock=clock,
                progress=progress,
                alive=alive,
            )
        except _AnsweredError:
            return (Answer.YES if answers[:1] == [True] else Answer.NO), None
    if seen.verdict is Verdict.ROLLBACK:
        return Answer.FAILED_MEANWHILE, seen
    return Answer.TOO_LATE, seen
