"""Code that the kinds of checks share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tarsrelease.gates.checks.inputs import Inputs, Patience
from tarsrelease.model.format import duration
from tarsrelease.model.measurement import Counts, ExternalAnswer, Sample, Unmeasured
from tarsrelease.model.outcome import Observed, Status


def age(counts: Counts, inputs: Inputs) -> float:
    """Seconds since the newest sample of the counts; 0 without samples."""
    return 0.0 if counts.newest is None else inputs.now - counts.newest


def stale(counts: Counts, inputs: Inputs, patience: Patience) -> str | None:
    """Why the counts are too old to decide; None if they are not."""
    old = age(counts, inputs)
    return (
        f"the newest sample of a pod is {duration(old)} old" if old > patience.stale_after else None
    )


class Sides(NamedTuple):
    """The requests of the judged side and of its baseline; both have some."""

    ours: Counts
    theirs: Counts


def sides(
    ours: Counts | Unmeasured, theirs: Counts | Unmeasured, track: str, other: str
) -> Sides | tuple[Status, str]:
    """Both sides' requests, or why they cannot be compared (yet), with the status for that.

    `track` and `other` are the sides' names.
    """
    if isinstance(ours, Unmeasured):
        return Status.ERROR, f"not measured: {ours.reason}"
    if isinstance(theirs, Unmeasured):
        return Status.ERROR, f"{other} is not measured: {theirs.reason}"
    for side, name in ((ours, track), (theirs, other)):
        if side.total <= 0:
            return Status.INCONCLUSIVE, f"no requests on {name} yet: nothing to compare"
    return Sides(ours, theirs)


def undecidable(
    found: Sides, said: str, needed: int, inputs: Inputs, patience: Patience
) -> tuple[Status, str] | None:
    """Why a comparison without proof decides nothing: a side too old, or with too few requests."""
    for side in found:
        if old := stale(side, inputs, patience):
            return Status.ERROR, f"{said}, but {old}"
    if min(side.total for side in found) < needed:
        return Status.INCONCLUSIVE, f"{said}; {needed} requests a side are needed to tell"
    return None


def silent_pods(
    read: Mapping[str, Sequence[Sample]], deployment: str, inputs: Inputs, patience: Patience
) -> list[str]:
    """Running pods of the Deployment that should have a fresh reading and have none."""
    if isinstance(inputs.cluster, Unmeasured) or inputs.elapsed <= patience.stale_after:
        return []
    oldest = inputs.now - patience.stale_after
    if deployment in read:
        return [] if read[deployment][-1].time >= oldest else [deployment]
    return [
        pod.name
        for pod in inputs.cluster.pods_of(deployment)
        if pod.phase == "Running"
        and pod.started_at is not None
        and pod.started_at.timestamp() < oldest
        and not (read.get(pod.name) and read[pod.name][-1].time >= oldest)
    ]


def share(counts: Counts | object) -> Observed | None:
    """The share of bad requests as an observed value; None without requests."""
    if not isinstance(counts, Counts) or counts.total <= 0:
        return None
    return Observed(value=counts.bad / counts.total, unit="share")


def not_told(answer: ExternalAnswer) -> str:
    """Why there is no answer, where something else came than what was asked for."""
    return answer.reason if isinstance(answer, Unmeasured) else f"the answer was {answer!r}"
