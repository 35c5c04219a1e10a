"""The planned release: its bundle, stages, durations, and whether it fits the window. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from math import ceil

from tarsrelease.model.base import Value
from tarsrelease.model.details import Table
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.format import duration
from tarsrelease.model.github import GitHub
from tarsrelease.model.outcome import Check, Status
from tarsrelease.model.planning import StagePlan
from tarsrelease.model.quantities import NUMBER, parse_seconds, parse_stages
from tarsrelease.model.rollout import Rollout
from tarsrelease.rollout import stage_list, window
from tarsrelease.rollout.fleet import some

STAGES_BELOW_100 = 6
"""How many stages below 100 % the pipeline has jobs for."""
LONGEST_RELEASE = 120.0
"""Minutes that a release should not exceed (the runbook's success criterion)."""
LONGEST_STAGE = 86400.0
"""Seconds."""
_SHOWN = 60
_JOBS = "plan.job_timeout"


_VERSION = r"v?(\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)"


def bundle_of(ref: str, release: str, folder: str = "release") -> str:
    """The bundle's folder: that of `release` (a version, or a folder under `folder`), else `ref`'s.

    ``release/v1.0.1``, ``refs/heads/release/v1.0.1`` and ``v1.0.1`` name ``release/v1_0_1``. Raises
    UsageError for anything else, so that a field cannot name any other path.
    """
    named = release.strip()
    if named:
        if re.fullmatch(rf"{re.escape(folder)}/[A-Za-z0-9][A-Za-z0-9._-]*/?", named):
            return named.rstrip("/")
        found = re.fullmatch(_VERSION, named)
        said, expected = "the field release", f"a version such as 1.0.1, or {folder}/v1_0_1"
    else:
        found = re.fullmatch(rf"(?:refs/(?:heads|tags)/)?(?:release/)?{_VERSION}", ref)
        said, expected = "the ref", f"{folder}/v1.0.1 or a tag v1.0.1"
    if found is None:
        raise UsageError(
            doing="choosing the release",
            found=f"{said} is {(named or ref)[:_SHOWN]!r}",
            expected=expected,
            next_step=f"start the run with --ref {folder}/v1.0.1, or give the field release",
        )
    return f"{folder}/v{found[1].replace('.', '_')}"


def stages_wanted(text: str) -> tuple[int, ...] | None:
    """The weights of ``1,10,25,50,100``; None for an empty text, which means rollout.yaml's.

    Raises UsageError unless the text is a list of increasing whole percentages that ends with 100
    and has at most `STAGES_BELOW_100` before it.
    """
    if not text.strip():
        return None
    try:
        weights = parse_stages(text)
    except ValueError:
        weights = ()
    rises = list(weights) == sorted(set(weights)) and weights[-1:] == (100,)
    if rises and len(weights) <= STAGES_BELOW_100 + 1:
        return weights
    raise UsageError(
        doing="reading --stages (the field canary_stages of the pipeline)",
        found=f"{text[:_SHOWN]!r}",
        expected="increasing whole percentages that end with 100, at most "
        f"{STAGES_BELOW_100} before it",
        next_step="for example 1,10,25,50,100, or 100 for one gated switch (blue/green)",
    )


def minutes_wanted(text: str) -> float | None:
    """Seconds per stage from decimal minutes such as ``10`` or ``0.5``; None for an empty text."""
    if not text.strip():
        return None
    if re.fullmatch(NUMBER, text.strip()):
        seconds = parse_seconds(f"{text.strip()}m")
        if 0 < seconds <= LONGEST_STAGE:
            return seconds
    raise UsageError(
        doing="reading --stage-minutes (the field stage_duration_minutes of the pipeline)",
        found=f"{text[:_SHOWN]!r}",
        expected="minutes as a decimal number, more than 0, at most 1440 (a day)",
        next_step="for example 10, or 0.5 for half a minute",
    )


class Schedule(Value):
    """The planned stages. The minutes cover the stages, and the promotion with its bake.

    They do not include approvals and the start of jobs, which cannot be known in advance.
    """

    stages: tuple[StagePlan, ...]
    promotion_minutes: float
    minutes: float
    minutes_at_most: float

    @property
    def below_100(self) -> tuple[StagePlan, ...]:
        """The stages before 100 %, which has its own job in the pipeline."""
        return self.stages[:-1]


def schedule(written: Rollout, played: Rollout) -> Schedule:
    """The schedule of `played`; its checks come from `written`, the stages in rollout.yaml."""
    stages = tuple(
        StagePlan(
            weight=stage.weight,
            minutes=_minutes(stage.duration),
            minutes_at_most=_minutes(stage.duration + stage.max_extension),
            gates_of=stage_list.gates_of(written, stage.weight),
        )
        for stage in played.stages
    )
    promotion = played.promotion
    evaluations = _minutes(sum(map(promotion.seconds_at, promotion.weights)))
    return Schedule(
        stages=stages,
        promotion_minutes=evaluations,
        minutes=round(sum(stage.minutes for stage in stages) + evaluations, 3),
        minutes_at_most=round(sum(stage.minutes_at_most for stage in stages) + evaluations, 3),
    )


class WaveSchedule(Value):
    """One wave of targets; the minutes cover its rounds of `parallel` targets and its bake.

    They do not include approvals. `number` is counted from 1.
    """

    number: int
    targets: tuple[str, ...]
    parallel: int
    bake: float
    on_failure: str
    minutes: float
    minutes_at_most: float


def wave_schedules(environment: Environment, plan: Schedule) -> tuple[WaveSchedule, ...]:
    """The waves of the environment, each of whose targets takes as long as `plan`.

    No wave follows the last one, so it has no bake.
    """
    found = []
    for number, wave in enumerate(environment.waves, 1):
        parallel = min(wave.parallel, len(wave.targets))
        rounds = ceil(len(wave.targets) / parallel)
        bake = wave.bake if number < len(environment.waves) else 0.0
        found.append(
            WaveSchedule(
                number=number,
                targets=wave.targets,
                parallel=parallel,
                bake=bake,
                on_failure=wave.on_failure,
                minutes=round(rounds * plan.minutes + bake / 60, 3),
                minutes_at_most=round(rounds * plan.minutes_at_most + bake / 60, 3),
            )
        )
    return tuple(found)


def wave_table(environment: Environment, plan: Schedule, chosen: int | None = None) -> Table:
    """The waves as a table; only wave `chosen`, counted from 1, if it is given."""
    stages = ", ".join(f"{stage.weight} %" for stage in plan.stages)
    return Table(
        header=_WAVES,
        rows=tuple(
            (
                str(wave.number),
                f"{len(wave.targets)}: {some(wave.targets)}",
                str(wave.parallel),
                "one, before it starts",
                stages,
                duration(wave.bake),
                duration(60 * wave.minutes),
                duration(60 * wave.minutes_at_most),
                wave.on_failure,
            )
            for wave in wave_schedules(environment, plan)
            if chosen in (None, wave.number)
        ),
    )


_WAVES = (
    *("wave", "targets", "at once", "approval", "stages", "bake", "takes", "at most"),
    "rolls back on failure",
)


def _minutes(seconds: float) -> float:
    return round(seconds / 60, 3)


_BESIDE = 600.0
"""Seconds that a job needs beside its stage: to install tarsrelease, and to scale the canary."""


def job_check(rollout: Rollout, jobs: GitHub | None) -> Check:
    """Check that no stage lasts longer than its job in the pipeline; GitHub would end the job.

    `jobs` is None where the environment has no pipeline.
    """
    expected = "every stage with its extension ends before the time-out of its job"
    if jobs is None:
        reason = "the environment file has no github"
        return Check(id=_JOBS, status=Status.SKIPPED, expected=expected, reason=reason)
    promotion = sum(map(rollout.promotion.seconds_at, rollout.promotion.weights))
    lasting = [
        (f"the {stage.weight} % stage", stage.duration + stage.max_extension, jobs.stage_job)
        for stage in rollout.stages
    ]
    lasting.append(("the promotion", promotion, jobs.promote_job))
    late = [
        f"{what} takes up to {duration(seconds)} and {duration(_BESIDE)} for its job, which "
        f"GitHub ends after {duration(limit)}"
        for what, seconds, limit in lasting
        if seconds + _BESIDE > limit
    ]
    return Check(
        id=_JOBS,
        status=Status.FAIL if late else Status.PASS,
        expected=expected,
        reason="; ".join(late) or f"jobs end after {duration(jobs.stage_job)}",
        source="github.stage_job",
    )


def warnings(
    rollout: Rollout, plan: Schedule, at: datetime, override: str | None = None
) -> tuple[str, ...]:
    """What is allowed but should be known before the release begins."""
    lines = []
    if rollout.window is not None and override and window.closes(rollout.window, at) is None:
        lines.append(
            f"the release begins outside the deployment window ({rollout.window}): {override}"
        )
    if plan.minutes > LONGEST_RELEASE:
        lines.append(
            f"the stages and the promotion take {duration(60 * plan.minutes)}; a release should "
            f"take at most {duration(60 * LONGEST_RELEASE)}"
        )
    if rollout.window is not None:
        for what, minutes in (
            ("the stages and the promotion", plan.minutes),
            ("the stages and the promotion, with every extension,", plan.minutes_at_most),
        ):
            over = window.overrun(rollout.window, at, minutes)
            if over > 0:
                lines.append(
                    f"{what} end {duration(60 * over)} after the deployment window "
                    f"({rollout.window}) closes"
                )
                break
    return tuple(lines)


def outputs(
    folder: str, rollout: Rollout, plan: Schedule, environment: str, choice: Sequence[str]
) -> dict[str, str]:
    """The values that the pipeline's jobs branch on, as one output in JSON.

    `choice`: the stages' duration as the option accepts it (empty for that of the files), and
    whether feature flags are on (``true``, ``false``).
    """
    duration, flags = choice
    facts = {
        "release": folder,
        "version": rollout.version,
        "environment": environment,
        "count": len(plan.below_100),
        "weights": [stage.weight for stage in plan.below_100],
        "stages": ",".join(str(stage.weight) for stage in plan.stages),
        "stage_duration": duration,
        "feature_flags": flags,
        "minutes": plan.minutes,
        "minutes_at_most": plan.minutes_at_most,
    }
    return {"plan": json.dumps(facts)}
