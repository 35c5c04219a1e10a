"""The evidence of several targets of a wave, put together.

Each target's e-process bets on the same alternatives, multiples of the limit's odds. Under the null
hypothesis (no target is beyond its limits) the products over targets, alternative by alternative,
are e-processes, too: the requests of different clusters are independent, and a step's expected
factor is at most 1 in each. Their mean is the evidence of all targets together. So a regression
that no target has the traffic to prove is proven by all of them, whatever rates the targets have
and whenever each is read. One bad target among many good ones is not averaged away, because its own
gate judges it, too.

Ville 1939; products of independent e-values: Vovk and Wang, "E-values: calibration, combination and
applications", Annals of Statistics 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from tarsrelease.gates.checks import compare
from tarsrelease.gates.checks.evaluate import subjects
from tarsrelease.gates.checks.inputs import Inputs, Subject
from tarsrelease.gates.stats.sequential_test import (
    log_mean,
    log_ratios_above,
    proof_needs,
)
from tarsrelease.model.checks import CheckRule, CompareCheck, ProportionCheck
from tarsrelease.model.format import odds
from tarsrelease.model.measurement import Counts, Question, Ratios, Track
from tarsrelease.model.outcome import Check, Status
from tarsrelease.model.rollout import Rollout, Stage


def log_ratios(stage: Stage, rollout: Rollout, inputs: Inputs) -> dict[Question, Ratios]:
    """What this target's canary says to each question that targets can answer together."""
    found = {}
    for rule in stage.checks:
        if not rule.spends or rule.advisory:
            continue
        for subject in subjects(rule, rollout, Track.CANARY):
            ratios = _of(rule, subject, inputs)
            if ratios is not None:
                found[rule.id, subject.name or ""] = ratios
    return found


def _of(rule: CheckRule, subject: Subject, inputs: Inputs) -> Ratios | None:
    if not isinstance(rule, ProportionCheck | CompareCheck):
        return None
    ours = inputs.counted(rule.sli, subject, subject.track)
    if not isinstance(ours, Counts) or ours.total <= 0 or inputs.at_once(rule.sli, subject):
        return None
    if isinstance(rule, ProportionCheck):
        ratios = partial(log_ratios_above, ours.bad, ours.total, rule.bad_limit)
    else:
        theirs = inputs.counted(rule.sli, subject, subject.other)
        if not isinstance(theirs, Counts) or theirs.total <= 0:
            return None
        ratios = partial(compare.log_ratios_worse, ours, theirs, rule)
    plain = ratios()
    return plain if log_mean(plain) <= 0 else ratios(inputs.spread(rule.sli, subject, ours))


def prove(
    checks: tuple[Check, ...],
    ours: Mapping[Question, Ratios],
    others: Mapping[Question, Sequence[Ratios]],
    alpha: float,
) -> tuple[Check, ...]:
    """The checks; one that this target and others fail together fails.

    `alpha` is the chance of a false alarm of one question in the whole wave. The check fails only
    at targets whose own requests speak for it: the others go on until they are interrupted.
    """
    return tuple(_proven(check, ours, others, alpha) for check in checks)


def _proven(
    check: Check,
    ours: Mapping[Question, Ratios],
    others: Mapping[Question, Sequence[Ratios]],
    alpha: float,
) -> Check:
    question = check.id, check.service or ""
    mine, theirs = ours.get(question), others.get(question, ())
    if check.status is Status.FAIL or mine is None or not theirs or max(mine) <= 0:
        return check  # a target whose own requests do not speak for a failure has none
    together = tuple(map(sum, zip(mine, *theirs, strict=True)))
    evidence = log_mean(together)
    if evidence < proof_needs(alpha) or mine[together.index(max(together))] <= 0:
        return check
    number = f"{len(theirs)} other target{'s' if len(theirs) > 1 else ''} of the wave"
    return check.model_copy(
        update={
            "status": Status.FAIL,
            "reason": f"{check.reason}; together with {number} it is proof beyond the limit "
            f"(evidence {odds(evidence)} to 1, needed {1 / alpha:.0f} to 1)",
        }
    )


def pooled_alpha(own: float, targets: int, waves: int) -> float:
    """The chance of a false alarm of one question in one wave; `own` is that of a target's check.

    A release's budget is spent in two halves: by the targets' checks, and by those of the waves.
    """
    return own * targets / waves
