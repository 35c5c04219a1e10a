"""Keep evaluating the canary while a person decides (design: decision 9).

The person answers at this terminal (`ask_while_evaluating`), or the pipeline continues and the
journal and the routes show it (steps/canary_gate_wait.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from math import inf
from typing import TypeVar

from tarsrelease.context import Context
from tarsrelease.gates.protection import chances
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.outcome import Verdict
from tarsrelease.model.rollout import Stage
from tarsrelease.operations.evaluation import StageEvaluation, evaluating
from tarsrelease.operations.observation import Observation
from tarsrelease.operations.past_requests import read_burstiness
from tarsrelease.operations.protecting import protect_while_waiting
from tarsrelease.operations.tasks import Task, asked_until_answered, first_of
from tarsrelease.operations.traffic import lease_and_lock_keeper
from tarsrelease.ports.cluster import holding
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.weights_since import weights_since

T = TypeVar("T")


def evaluate_while_waiting(
    context: Context,
    evaluation: StageEvaluation,
    until: datetime,
    answer: Callable[[], T | None],
) -> T | Observation:
    """Evaluate a stage until `answer`, called once a tick, returns a value; return that value.

    Returns an observation instead: verdict rollback for a proven failure; hold with `protection`
    set for strong evidence, if `evaluation` protects; another verdict if there is no answer before
    `until`, or if the metrics outage exceeds its limit and `limits.after_metrics_outage` is not
    "hold". With "hold", the wait continues on the pods alone.
    """
    return evaluate_meanwhile(context, evaluation, until, asked_until_answered(answer))


def evaluate_meanwhile(
    context: Context,
    evaluation: StageEvaluation,
    until: datetime,
    pending: Task[T],
    after: float = 0.0,
) -> T | Observation:
    """As `evaluate_while_waiting`, until the task `pending` ends; returns its result.

    The evaluations begin after so many seconds, if `pending` has not ended by then.
    """
    if context.environment.limits.after_metrics_outage == "hold":
        limits = context.environment.limits.model_copy(update={"metrics_outage": inf})
        context = context.with_environment(
            context.environment.model_copy(update={"limits": limits})
        )
    planned = max(0.0, (until - evaluation.since).total_seconds())
    stage = evaluation.stage
    waiting = replace(
        evaluation, stage=stage.model_copy(update={"duration": planned, "max_extension": 0.0})
    )

    def evaluates() -> Task[Observation]:
        if after:
            yield after
        past = read_burstiness(context, stage)
        return (yield from evaluating(context, replace(waiting, past=past)))

    found: T | Observation = first_of(context.clock, pending, evaluates())[1]
    return found


class Answer(Enum):
    """The result of a question."""

    YES = "yes"
    NO = "no"
    TOO_LATE = "too late"
    WITHOUT_METRICS = "without metrics"
    """The metrics outage exceeded its limit, and the environment then moves traffic to stable."""
    FAILED_MEANWHILE = "failed meanwhile"
    PROTECTED = "protected"
    """Strong evidence against the canary: all traffic is on stable, which is no rollback."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A question to a person, asked in its own thread."""

    text: str
    answers: list[bool]
    answered: threading.Event

    def ask(self, context: Context) -> None:
        try:
            self.answers.append(context.people.person.approves(self.text))
        finally:
            self.answered.set()

    def answer(self) -> Answer | None:
        if not self.answered.is_set():
            return None
        return Answer.YES if self.answers[:1] == [True] else Answer.NO


def ask_while_evaluating(
    context: Context, text: str, stage: Stage | None
) -> tuple[Answer, Observation | None]:
    """Ask the question, and keep evaluating `stage` meanwhile (None: the canary has no traffic).

    A failure or `limits.wait` ends the wait; the caller acts on both. Strong evidence ends it, too,
    and moves all traffic to stable: a failure if that happened before in this stage. If nobody is
    at the terminal, the answer comes at once, without an evaluation.
    """
    person = context.people.person
    if stage is None or not person.attended:
        return (Answer.YES if person.approves(text) else Answer.NO), None
    question = _Question(text, [], threading.Event())
    with holding(context.cluster.lock):
        asked_at = context.clock.now()
        until = asked_at + timedelta(seconds=context.environment.limits.wait)
        since = weights_since(context.cluster.routes.read(context.rollout.services)) or asked_at
        threading.Thread(target=question.ask, args=(context,), name="question", daemon=True).start()
        judged = StageEvaluation(
            stage=stage,
            since=since,
            weight=stage.weight,
            restarts_before=_restarts_before(context, since),
            each_tick=lease_and_lock_keeper(context),
            protects=chances(context.rollout),
        )
        seen = evaluate_while_waiting(context, judged, until, question.answer)
        if isinstance(seen, Answer):
            return seen, None
        if seen.protection is not None:
            seen = protect_while_waiting(context, judged, seen)
            if seen.verdict is Verdict.HOLD:
                return Answer.PROTECTED, seen
    if seen.verdict is Verdict.ROLLBACK:
        return Answer.FAILED_MEANWHILE, seen
    return (Answer.TOO_LATE if seen.decided_at >= until else Answer.WITHOUT_METRICS), seen


def _restarts_before(context: Context, since: datetime) -> dict[str, int] | None:
    try:
        entries = context.cluster.journal.entries()
    except ReleaseError:
        return None  # the evaluation then uses those of its first reading
    return release_journal.restarts_at_shift(entries, context.release.version, since)
