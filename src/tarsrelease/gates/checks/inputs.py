"""What a check is given: whom it judges, what one evaluation read, and how sure it must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tarsrelease.gates.stats.bursts import Burstiness, Spread, binomial, largest
from tarsrelease.gates.stats.growth import Growth
from tarsrelease.gates.stats.late_change import Starts
from tarsrelease.model.cluster import DeploymentState, PodState
from tarsrelease.model.measurement import (
    Counts,
    ExternalAnswer,
    Gauges,
    Key,
    Track,
    Unmeasured,
    Usage,
)

NOT_ASKED = Unmeasured("it was not asked for")


@dataclass(frozen=True, slots=True)
class Patience:
    """How sure and how patient the checks are. Times in seconds.

    `alpha` is the chance of a false alarm that one check which spends the budget may have;
    readings older than `stale_after` are no readings. `false_pass` is the chance that a canary at
    twice a limit passes a stage.
    """

    alpha: float
    confidence: float
    stale_after: float
    false_pass: float = 0.05


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a check judges: a service or worker, its side, and the Deployments of both sides.

    A check of the whole release has a name of None and no Deployments.
    """

    name: str | None
    track: Track
    deployment: str = ""
    beside: str = ""

    @property
    def other(self) -> Track:
        """The side that it is compared with."""
        return self.track.other


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What was read of the pods: the Deployments and pods as they are, and what was remembered.

    `restarts` is by Deployment and ``pod/container``, since the stage began; `incomplete_for`
    gives the seconds that a Deployment has lacked pods.
    """

    deployments: Mapping[str, DeploymentState]
    pods: Sequence[PodState]
    restarts: Mapping[str, Mapping[str, int]]
    incomplete_for: Mapping[str, float]

    def pods_of(self, deployment: str) -> list[PodState]:
        """The Deployment's pods that are not on their way out."""
        return [pod for pod in self.pods if pod.owner == deployment and not pod.terminating]


def _nothing_known(_sli: str, _service: str) -> Sequence[Burstiness]:
    return ()


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that one evaluation read, of both sides.

    `counts` is by SLI and (service, side), `gauges` by SLI and Deployment; `sources` gives each
    SLI's selector. `now` is the metrics server's present (Unix time), `elapsed` seconds since the
    shift. `usages` is by SLI, `external` by check id. `bursts` gives what is known of how the
    errors of an SLI come on the other side of a service: lately, and in the longer past. `growth`
    is by SLI, service and side.
    """

    counts: Mapping[str, Mapping[Key, Counts | Unmeasured]]
    gauges: Mapping[str, Mapping[str, Gauges | Unmeasured]]
    cluster: ClusterState | Unmeasured
    sources: Mapping[str, str]
    now: float
    elapsed: float
    usages: Mapping[str, Usage | Unmeasured] = field(default_factory=dict)
    external: Mapping[str, ExternalAnswer] = field(default_factory=dict)
    bursts: Callable[[str, str], Sequence[Burstiness]] = _nothing_known
    starts: Starts = field(default_factory=dict)
    growth: Mapping[tuple[str, str, Track], Growth] = field(default_factory=dict)

    def counted(self, sli: str, subject: Subject, track: Track) -> Counts | Unmeasured:
        """The requests of one side of the subject."""
        return self.counts.get(sli, {}).get((subject.name or "", track), NOT_ASKED)

    def read(self, sli: str, deployment: str) -> Gauges | Unmeasured:
        """The readings of a Deployment's pods."""
        return self.gauges.get(sli, {}).get(deployment, NOT_ASKED)

    def used(self, sli: str) -> Usage | Unmeasured:
        """What is used of the things of an SLI."""
        return self.usages.get(sli, NOT_ASKED)

    def at_once(self, sli: str, subject: Subject) -> bool:
        """Whether all bad requests of the subject came at once, late enough to be a pack."""
        return self.growth.get((sli, subject.name or "", subject.track), Growth()).at_once

    def spread(self, sli: str, subject: Subject, ours: Counts) -> Spread:
        """How much more the subject's bad requests vary than independent ones would.

        Asked for only where the evidence would decide otherwise, as it takes some milliseconds.
        """
        if ours.total <= 0:
            return binomial
        rate = ours.total / max(self.elapsed, 1.0)
        return largest([known.at(rate) for known in self.bursts(sli, subject.name or "")])
