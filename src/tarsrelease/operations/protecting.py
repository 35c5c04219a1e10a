"""After strong evidence against the canary: traffic on stable, a quiet period, one more try.

The canary keeps its pods, so its smoke requests and its pods are evaluated without users.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from tarsrelease.context import Context
from tarsrelease.gates import evaluation_times
from tarsrelease.gates.protection import Protection
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.format import duration
from tarsrelease.model.journal import Cause, Entry, GateFacts, Phase, ProtectFacts
from tarsrelease.model.measurement import Track
from tarsrelease.model.notice import Event
from tarsrelease.model.outcome import Check, Status, Verdict
from tarsrelease.model.rollout import Stage
from tarsrelease.operations import traffic
from tarsrelease.operations.announcing import announce
from tarsrelease.operations.evaluation import StageEvaluation, evaluating
from tarsrelease.operations.interventions import Interventions
from tarsrelease.operations.journaling import journal_if_possible
from tarsrelease.operations.observation import Observation, Protected
from tarsrelease.operations.smoke import smoke_test
from tarsrelease.operations.tasks import first_of, with_each_tick
from tarsrelease.ports.clock import Task
from tarsrelease.rollout import release_journal

CHECK_ID = "canary.protection"

_QUIET = 60.0
_SMOKE_EVERY = 30.0


def quiet_seconds(context: Context) -> float:
    """How long the canary stays without traffic: a minute, at least four scrapes."""
    return max(_QUIET, 4 * context.environment.prometheus.scrape_interval)


def protect(context: Context, judged: StageEvaluation, seen: Observation) -> Observation:
    """Move all traffic to stable, journal and announce why; the observation with its result.

    Its verdict is rollback if the stage was protected before in this attempt and this protection
    proves a failure, and hold otherwise.
    Raises StoppedError if a route cannot be written.
    """
    found, stage = seen.protection, judged.stage
    if found is None:
        return seen
    again = found.proves and _protected_before(context, stage)
    why = _why(found)
    written = traffic.move_all(context, Track.STABLE, f"protection, not a rollback: {why}")
    facts = ProtectFacts(weight=stage.weight, reason=why)
    journal_if_possible(context, stage.name, release_journal.PROTECT, Phase.RESULT, facts)
    moved = Protected(why, (written - judged.since).total_seconds())
    if again:
        context.say(f"{stage.name}: all traffic is on stable for the second time: {why}")
        failed = _result(found, Status.FAIL, "for the second time in this stage")
        checks = (failed, *seen.checks)
        return replace(seen, verdict=Verdict.ROLLBACK, checks=checks, protected=moved)
    context.say(f"{stage.name}: all traffic is on stable, and the canary is kept: {why}")
    announce(context, Event.PROTECTED, about=stage.name, reason=why)
    return replace(_held(seen, found), protected=moved)


def protect_while_waiting(
    context: Context, judged: StageEvaluation, seen: Observation
) -> Observation:
    """As `protect`, while the release waits for a person or for capacity.

    Journals the verdict, so that no later stage starts before this one has passed again.
    """
    seen = protect(context, judged, seen)
    facts = GateFacts(
        weight=judged.stage.weight,
        verdict=seen.verdict,
        waiting=True,
        why=seen.why,
        cause=Cause.of(seen.checks),
    )
    journal_if_possible(context, judged.stage.name, release_journal.GATE, Phase.RESULT, facts)
    return seen


def wait_quietly(
    context: Context,
    judged: StageEvaluation,
    protected: Observation,
    consent: Task[Check | None],
) -> Observation | None:
    """Evaluate the canary without users for a while; None if the stage may be tried once more.

    `consent` runs after the quiet period: until the canary has its replicas and no person holds
    the release; a result if not. An observation says why the stage is not tried again: rollback
    for a proven failure (late samples, pods, smoke requests) or an abort, hold otherwise.
    """
    clock, stage, limits = context.clock, judged.stage, context.environment.limits
    quiet = quiet_seconds(context)
    context.say(f"{stage.name}: tried once more after {duration(quiet)} without traffic")
    so_far = (clock.now() - judged.since).total_seconds()
    longest = so_far + quiet + limits.deploy + limits.wait + _SMOKE_EVERY
    alone = stage.model_copy(update={"duration": longest, "max_extension": 0.0})
    evaluation = replace(judged, stage=alone, weight=None, protects={}, quiet_until=so_far + quiet)
    lost = protected.protection is not None and not protected.protection.proves
    pending = _quiet(context, quiet, consent, smoke=not lost)  # without pods nothing answers
    found = first_of(clock, pending, evaluating(context, evaluation))[1]
    if found is None:
        return None
    seen = found if isinstance(found, Observation) else Observation.of(found, clock.now())
    if protected.protection is not None and seen.verdict is not Verdict.ROLLBACK:
        seen = _held(seen, protected.protection)
    return replace(seen, protected=protected.protected)


def rest_of_quiet_period(
    context: Context, stage: Stage, entries: Sequence[Entry]
) -> Task[Check | None]:
    """Wait until the quiet period that an interrupted run began is over; a result if not."""
    protection = release_journal.protection(entries, context.release.version)
    if protection is None or protection[1].weight != stage.weight:
        return None
    until = protection[0].at + timedelta(seconds=quiet_seconds(context))
    left = (until - context.clock.now()).total_seconds()
    if left <= 0:
        return None
    context.say(f"{stage.name}: tried once more after {duration(left)} without traffic")
    return (yield from _quiet(context, left, _consented()))


def _consented() -> Task[Check | None]:
    yield from ()
    return None


def tried_once_more(found: Protection, seen: Observation, before: Observation) -> Observation:
    """The second try's observation, with what happened in the first one."""
    once = _result(found, Status.PASS, "not again in the second try")
    return replace(seen, checks=(*seen.checks, once), protected=before.protected)


def _quiet(
    context: Context, seconds: float, consent: Task[Check | None], *, smoke: bool = True
) -> Task[Check | None]:
    """The quiet period, then `consent`; a result as soon as something speaks against a retry.

    Without `smoke`, the canary is smoke-tested only at the end.
    """
    clock = context.clock
    interventions = Interventions(context, traffic.OFF, 0, Track.CANARY)
    until = clock.now() + timedelta(seconds=seconds)
    smoke_at = clock.now() if smoke else until
    while (now := clock.now()) < until:
        interventions.read()
        problem = _first_problem(c for c in interventions.checks if c.status is Status.FAIL)
        if problem is None and now >= smoke_at:
            problem = _first_problem(smoke_test(context))
            smoke_at = now + timedelta(seconds=_SMOKE_EVERY)
        if problem is not None:
            return problem
        yield min(evaluation_times.TICK, max(0.0, (until - clock.now()).total_seconds()))
    lacking = yield from with_each_tick(consent, interventions.read)
    return lacking or _first_problem(smoke_test(context))


def _first_problem(checks: Iterable[Check]) -> Check | None:
    problems = [each for each in checks if each.status not in (Status.PASS, Status.SKIPPED)]
    failed = [each for each in problems if each.status is Status.FAIL]
    return next(iter([*failed, *problems]), None)


def _protected_before(context: Context, stage: Stage) -> bool:
    try:
        entries: Sequence[Entry] = context.cluster.journal.entries()
    except ReleaseError:
        return False
    return release_journal.protected_at(entries, context.release.version, stage.weight)


def _why(found: Protection) -> str:
    return f"{found.check} of {found.service}: {found.reason}"


def _held(seen: Observation, found: Protection) -> Observation:
    result = _result(found, Status.INCONCLUSIVE, "all traffic moved to stable")
    return replace(seen, verdict=Verdict.HOLD, checks=(result, *seen.checks))


def _result(found: Protection, status: Status, what: str) -> Check:
    return Check(
        id=CHECK_ID,
        status=status,
        service=found.service or None,
        expected=found.expected,
        reason=f"{found.check}: {found.reason}; {what}",
    )
