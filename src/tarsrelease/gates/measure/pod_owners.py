"""Which service, side and version a pod belongs to, as the cluster says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tarsrelease.model.cluster import DeploymentState, PodState
from tarsrelease.model.measurement import Key, Track
from tarsrelease.model.rollout import Rollout

_OF_DEPLOYMENT = re.compile(r"(?P<deployment>.+)-[bcdf-hj-np-tv-z2456789]{1,10}-[a-z0-9]{5}")
"""A Deployment's pod: its name, the hash of the template (in the letters that Kubernetes takes for
it: k8s.io/apimachinery, util/rand) and five random letters."""


class PodOwner(NamedTuple):
    """A pod's service and side, and its version ("" where the cluster does not say)."""

    pod: str
    key: Key
    version: str


@dataclass(frozen=True, slots=True)
class PodOwners:
    """The pods that were seen so far, by name and by address, also those that are gone by now.

    `deployments` are those of the release. `versions` holds the version of each side's Deployment.
    """

    deployments: Mapping[str, Key] = field(default_factory=dict)
    names: Mapping[str, PodOwner] = field(default_factory=dict)
    addresses: Mapping[str, PodOwner] = field(default_factory=dict)
    versions: Mapping[Key, str] = field(default_factory=dict)

    def seen(self, pods: Iterable[PodState], deployments: Iterable[DeploymentState]) -> PodOwners:
        """With what one more reading of the cluster shows."""
        found = [
            (pod, PodOwner(pod.name, self.deployments[pod.owner], pod.version))
            for pod in pods
            if pod.owner in self.deployments
        ]
        return replace(
            self,
            names={**self.names, **{owner.pod: owner for _, owner in found}},
            addresses={
                **self.addresses,
                **{pod.address: owner for pod, owner in found if pod.address},
            },
            versions={
                **self.versions,
                **{
                    self.deployments[each.name]: each.version
                    for each in deployments
                    if each.name in self.deployments
                },
            },
        )

    def of(self, pod: str, instance: str) -> PodOwner | None:
        """The owner of a series by its pod's name, else by the address in `instance`.

        A pod that was never seen, such as one of last night, is told by its name, without version.
        """
        if not pod:
            return self.addresses.get(_host(instance))
        known = self.names.get(pod)
        if known is not None:
            return known
        named = _OF_DEPLOYMENT.fullmatch(pod)
        key = self.deployments.get(named["deployment"]) if named else None
        return None if key is None else PodOwner(pod, key, "")


def pod_owners(rollout: Rollout) -> PodOwners:
    """No pods yet, and the Deployments of the rollout's services and workers."""
    return PodOwners(
        {each.stable.deployment: (each.name, Track.STABLE) for each in rollout.services}
        | {each.canary.deployment: (each.name, Track.CANARY) for each in rollout.services}
        | {each.stable: (each.name, Track.STABLE) for each in rollout.workers}
        | {each.canary: (each.name, Track.CANARY) for each in rollout.workers}
    )


def _host(instance: str) -> str:
    return instance.rpartition(":")[0].strip("[]") or instance
