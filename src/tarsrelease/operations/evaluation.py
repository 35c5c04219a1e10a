"""Evaluate a stage until there is a verdict. Evaluations follow the scrapes; decisions are pure.

(1) Query the metrics server when new samples are due, and decide.
(2) Read the pods once a tick, also without metrics, and decide again.
(3) Sleep until either is due.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import inf

from tarsrelease.context import Context
from tarsrelease.gates import evaluation_times
from tarsrelease.gates.checks import (
    Inputs,
    Patience,
    evaluate,
    judged,
    pooled,
    traffic_share,
)
from tarsrelease.gates.measure import queries
from tarsrelease.gates.measure.pods import RestartCounts
from tarsrelease.gates.protection import Protection, protections, without_pods
from tarsrelease.gates.stats import late_change
from tarsrelease.gates.stats.alpha_budget import alpha_per_check
from tarsrelease.gates.stats.bursts import Burstiness, burstiness
from tarsrelease.gates.stats.growth import Growth, grown
from tarsrelease.gates.study.recorded_requests import Past, nothing_known
from tarsrelease.gates.verdict import decide, failed_by_either
from tarsrelease.model.details import Point
from tarsrelease.model.format import duration
from tarsrelease.model.measurement import (
    Counts,
    ExternalAnswer,
    Gauges,
    Key,
    Track,
    Unmeasured,
    Usage,
)
from tarsrelease.model.outcome import Check, Status, Verdict, deciding
from tarsrelease.model.rollout import Stage
from tarsrelease.operations.interventions import Interventions
from tarsrelease.operations.observation import Observation
from tarsrelease.operations.readings import (
    MetricReadings,
    PodReadings,
    Source,
    second_source,
)
from tarsrelease.operations.tasks import result_of
from tarsrelease.ports.clock import Task

Counted = Mapping[str, Mapping[Key, Counts | Unmeasured]]
Read = Mapping[str, Mapping[str, Gauges | Unmeasured]]
Used = Mapping[str, Usage | Unmeasured]

_POINTS = 200


def as_measured(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    """The results, unchanged."""
    return checks


def nothing_to_keep() -> None:
    """Do nothing at a tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEvaluation:
    """Which stage and track are evaluated, and how.

    `since` is the time just before the shift. `weight` is the canary's current percentage, None
    if another tool moves the traffic and no share is expected. `restarts_before` are the pods'
    restart counts at the shift; None uses those of the first reading. `past` gives the burstiness
    of stable's earlier errors. `present` may change the results of each evaluation before the
    verdict. `each_tick` is called once a tick and may raise LockedError. `protects` gives the
    chances of a needless protection by kind of check (`gates.protection`); without them, only a
    side that has traffic and no ready pod protects. A protection ends the evaluation with a hold.
    In the quiet period after one, which ends `quiet_until` seconds after `since`, the canary has no
    traffic.
    """

    stage: Stage
    since: datetime
    weight: int | None
    track: Track = Track.CANARY
    restarts_before: RestartCounts | None = None
    past: Past = nothing_known
    present: Callable[[tuple[Check, ...]], tuple[Check, ...]] = as_measured
    each_tick: Callable[[], None] = nothing_to_keep
    protects: Mapping[str, float] = field(default_factory=dict)
    quiet_until: float | None = None


def evaluate_stage(context: Context, evaluation: StageEvaluation) -> Observation:
    """Evaluate one track until there is a verdict; see `evaluating`."""
    return result_of(context.clock, evaluating(context, evaluation))


def evaluating(context: Context, evaluation: StageEvaluation) -> Task[Observation]:
    """Evaluate one track until there is a verdict; a task, so that something else may wait beside.

    Raises only what `each_tick` raises, and LockedError: if the metrics server or API server does
    not answer, the results are `error`. While the API server does not answer, only the pods are
    asked for, so that evaluations of the metrics do not wait for it more than once.
    """
    evaluator = _Evaluator(context, evaluation)
    pods, metrics = evaluator.pods, evaluator.metrics
    sources = [metrics] if evaluator.direct is None else [evaluator.direct.metrics, metrics]
    pods.read()
    ticked_at = None
    while True:
        if ticked_at is None or evaluator.now >= ticked_at + evaluation_times.TICK:
            if pods.outage.began is None:
                evaluation.each_tick()
                evaluator.read_interventions()
            ticked_at = evaluator.now
        verdict = None
        for source in sources:
            if verdict is None and evaluator.now >= source.next_at:
                source.read(pods)
                verdict = evaluator.judge()
        if verdict is None and evaluator.now >= pods.next_at:
            pods.read()
            verdict = evaluator.judge()
        if verdict is not None:
            return evaluator.observation(verdict)
        due = min(pods.next_at, *(source.next_at for source in sources))
        yield max(0.01, due - evaluator.now)


class _Evaluator:
    """The readings and results so far. `gates` decides; this class only reads and shows."""

    def __init__(
        self,
        context: Context,
        evaluation: StageEvaluation,
        source: Source | None = None,
        pods: PodReadings | None = None,
    ) -> None:
        self._context, self._evaluation = context, evaluation
        stage, since = evaluation.stage, evaluation.since
        self.pods = pods or PodReadings(context, stage, since, evaluation.restarts_before)
        self.metrics = MetricReadings(context, stage, since, evaluation.track, source)
        second = second_source(context)
        self._sources = 1 if second is None else 2
        self._name = "metrics" if source is None else "pods"
        self.direct: _Evaluator | None = None
        if second is not None and source is None:
            self.direct = _Evaluator(context, evaluation, second, self.pods)
        self._interventions = (
            Interventions(context, stage.name, evaluation.weight, evaluation.track)
            if evaluation.weight is not None
            else None
        )
        self._checks: tuple[Check, ...] = ()
        self._history: list[Point] = []
        self._shown_at: float | None = None
        self._extended = False
        self._starts: late_change.Starts = {}
        self._growth: dict[tuple[str, str, Track], Growth] = {}
        self._protection: Protection | None = None

    @property
    def now(self) -> float:
        """Unix time, our clock."""
        return self._context.clock.now().timestamp()

    @property
    def _elapsed(self) -> float:
        return self.now - self._evaluation.since.timestamp()

    def read_interventions(self) -> None:
        """Read what people did to the release; nothing if another tool moves the traffic."""
        if self._interventions is not None:
            self._interventions.read()

    def judge(self) -> Verdict | None:
        """Evaluate and show the checks; the verdict, None if there is none yet."""
        checks = self._evaluate()
        if self.direct is not None:
            checks = failed_by_either(checks, self.direct._evaluate())
        self._checks = self._evaluation.present(checks)
        if self._interventions is not None:
            self._interventions.compare(self.pods.deployments)
            excused = self._interventions.excuse(self._checks, self._evaluation.stage)
            self._checks = excused + self._interventions.checks
        verdict = decide(
            self._checks,
            self._evaluation.stage,
            self._elapsed,
            without_metrics=self.metrics.seconds_without,
            without_api=self.pods.outage.seconds,
            outage_limit=self._context.environment.limits.metrics_outage,
        )
        if verdict is not Verdict.ROLLBACK:
            self._protection = self._found_by_either()
        if self._protection is not None:
            verdict = Verdict.HOLD  # also while a person holds the release: users come first
        elif self._interventions is not None:
            verdict = self._interventions.ruling(verdict)
        self._show(verdict)
        return verdict

    def _found_by_either(self) -> Protection | None:
        """Why a source of metrics protects, or a side with traffic has no ready pod. The sources
        count the same requests, so they have one chance of doing so needlessly."""
        judging = self._evaluation
        share = {Track.CANARY: judging.weight, Track.STABLE: 100 - (judging.weight or 0)}
        if judging.weight is not None and share[judging.track]:
            found = without_pods(self._context.rollout, self._inputs.cluster, judging.track)
            if found is not None:
                return found
        if not judging.protects:
            return None
        for each in (self, self.direct):
            if each is not None:
                rollout, chance = self._context.rollout, judging.protects
                if several := protections(judging.stage, rollout, each._inputs, chance):
                    return several[0]
        return None

    def observation(self, verdict: Verdict) -> Observation:
        """The observation with this verdict."""
        return Observation(
            verdict=verdict,
            checks=self._checks,
            decided_at=self._context.clock.now(),
            evaluations=self.metrics.answers,
            history=tuple(self._history),
            without_metrics=self.metrics.seconds_without,
            protection=self._protection,
        )

    def _evaluate(self) -> tuple[Check, ...]:
        judging, rollout = self._evaluation, self._context.rollout
        interval = self.metrics.source.interval
        names = [service.name for service in rollout.services]
        measurements, trouble = self.metrics.measurements, self.metrics.trouble
        counts, gauges, usages = self._measured()
        self._growth = grown(self._growth, counts)
        lag = 0.0 if measurements is None or measurements.lag == inf else measurements.lag
        self._inputs = inputs = Inputs(
            counts=counts,
            gauges=gauges,
            cluster=self.pods.state(judging.track),
            sources=measurements.queries.sources if measurements else {},
            now=self.now + self.metrics.skew,
            elapsed=self._elapsed,
            usages=usages,
            external=self._external(),
            bursts=self._bursts,
            starts=self._starts,
            growth=self._growth,
        )
        stage = judging.stage
        self._starts = late_change.remember(
            self._starts, counts, self._elapsed, stage.duration + stage.max_extension
        )
        patience = Patience(
            alpha=alpha_per_check(rollout) / self._sources,
            confidence=rollout.statistics.confidence,
            stale_after=max(3 * interval, 15.0) + lag,
            false_pass=rollout.statistics.false_pass,
        )
        checks = evaluate(judging.stage, rollout, judging.track, inputs, patience)
        if judging.track is Track.CANARY:
            checks = self._with_other_targets(checks, patience.alpha)
        if judging.weight is None or measurements is None:
            return checks
        if measurements.queries.share is None or measurements.share is None:
            return checks
        share = measurements.share if trouble is None else Unmeasured(trouble)
        weights = dict.fromkeys(names, judging.weight)
        return checks + traffic_share.of_services(
            share, weights, interval, measurements.queries.share
        )

    def _with_other_targets(self, checks: tuple[Check, ...], alpha: float) -> tuple[Check, ...]:
        """The checks; what all targets of the wave prove together has failed."""
        others, judging = self._context.metrics.others, self._evaluation
        if others.targets == 1:
            return checks
        ours = pooled.log_ratios(judging.stage, self._context.rollout, self._inputs)
        place = f"{judging.stage.name} {judging.weight} {self._name}"
        theirs = others.exchange(place, ours)
        chance = pooled.pooled_alpha(alpha, others.targets, others.waves)
        return pooled.prove(checks, ours, theirs, chance)

    def _measured(self) -> tuple[Counted, Read, Used]:
        """Counts, gauges and usages by SLI; all unmeasured if the metrics server is down."""
        rollout, measurements = self._context.rollout, self.metrics.measurements
        names = [service.name for service in rollout.services]
        deployments = [name for track in Track for name in judged(rollout, track).values()]
        if measurements is not None and self.metrics.trouble is None:
            return (
                queries.counts(measurements, names, self.pods.reachable),
                queries.readings(measurements, self.pods.memory.owners or {}, deployments),
                queries.usages(measurements),
            )
        away = Unmeasured(self.metrics.trouble or "not queried yet")
        keys = [(name, track) for name in names for track in Track]
        slis = {name for check in self._evaluation.stage.checks for name in check.named_slis()}
        return (
            {sli: dict.fromkeys(keys, away) for sli in slis},
            {sli: dict.fromkeys(deployments, away) for sli in slis},
            dict.fromkeys(slis, away),
        )

    def _external(self) -> dict[str, ExternalAnswer]:
        judging, external = self._evaluation, self._context.metrics.external
        asked = {
            rule.id: external.answer(rule, judging.track, judging.since)
            for rule in judging.stage.checks
            if rule.elsewhere
        }
        return {name: answer for name, answer in asked.items() if answer is not None}

    def _bursts(self, sli: str, service: str) -> list[Burstiness]:
        """Burstiness of errors on the other track during the stage, and of stable before it."""
        measurements = self.metrics.measurements
        ticks = None if measurements is None else queries.beside(measurements, sli, service)
        lately = None if ticks is None else burstiness(ticks)
        past = self._evaluation.past(sli, service)
        return [known for known in (lately, past) if known is not None]

    def _show(self, verdict: Verdict | None) -> None:
        stage, elapsed = self._evaluation.stage, self._elapsed
        over = elapsed >= stage.duration
        if over and verdict is None and not self._extended:
            self._extended = True
            open_ = [
                c for c in deciding(self._checks) if c.status in (Status.INCONCLUSIVE, Status.ERROR)
            ]
            why = f"{open_[0].id} of {open_[0].service}: {open_[0].reason}" if open_ else ""
            extension = duration(stage.max_extension)
            self._context.say(f"{stage.name}: extended by up to {extension}; {why}")
        due = self._shown_at is None or self.now >= self._shown_at + evaluation_times.TICK
        if due or verdict is not None:
            planned = stage.duration + (stage.max_extension if over else 0.0)
            weight, quiet_until = self._evaluation.weight, self._evaluation.quiet_until
            if quiet_until is not None:
                weight, planned = 0, quiet_until
            self._context.people.progress.evaluated(
                stage.name, weight, elapsed, planned, checks=self._checks
            )
            self._shown_at = self.now
        step = max(evaluation_times.TICK, stage.duration / _POINTS)
        if verdict is not None or not self._history or elapsed >= self._history[-1].elapsed + step:
            self._history.append(Point.of(self._checks, elapsed))
