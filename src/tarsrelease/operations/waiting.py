"""Keep evaluating the canary while the release waits (design: decision 9).

It waits for a person or for its own tests in this process (`while_evaluating`), or for another run,
whose progress the journal and the routes show (steps/canary_gate_wait.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from math import inf
from typing import TypeVar

from tarsrelease.context import Context
from tarsrelease.gates.protection import chances
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.rollout import Stage
from tarsrelease.operations.evaluation import StageEvaluation, evaluating
from tarsrelease.operations.observation import Observation
from tarsrelease.operations.past_requests import read_burstiness
from tarsrelease.operations.protecting import protect_while_waiting
from tarsrelease.operations.tasks import asked_until_answered, first_of
from tarsrelease.operations.traffic import lease_and_lock_keeper
from tarsrelease.ports.clock import Task
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


def while_evaluating(
    context: Context, stage: Stage, pending: Task[T], until: datetime
) -> T | Observation:
    """The result of the task `pending`; `stage` is evaluated meanwhile, under the lock.

    Returns an observation instead after a failure (verdict rollback), after strong evidence
    (`protection` set: all traffic is on stable; verdict hold, or rollback if that happened before
    in this stage), after `until`, or if the metrics outage exceeds its limit. `pending` is then
    closed. Except after a protection, the caller moves the traffic.
    """
    try:
        with holding(context.cluster.lock):
            routes = context.cluster.routes.read(context.rollout.services)
            since = weights_since(routes) or context.clock.now()
            evaluation = StageEvaluation(
                stage=stage,
                since=since,
                weight=stage.weight,
                restarts_before=_restarts_before(context, since),
                each_tick=lease_and_lock_keeper(context),
                protects=chances(context.rollout),
            )
            found = evaluate_meanwhile(context, evaluation, until, pending)
            if isinstance(found, Observation) and found.protection is not None:
                found = protect_while_waiting(context, evaluation, found)
            return found
    finally:
        pending.close()


def _restarts_before(context: Context, since: datetime) -> dict[str, int] | None:
    try:
        entries = context.cluster.journal.entries()
    except ReleaseError:
        return None  # the evaluation then uses those of its first reading
    return release_journal.restarts_at_shift(entries, context.release.version, since)
