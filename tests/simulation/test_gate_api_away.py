"""The API server is away while the canary is scaled: the gate waits, and its exit code is true."""

from __future__ import annotations

import pytest
from world import SimulatedWorkloads, World, context, release, rollout

from tarsrelease.model.cluster import PodState
from tarsrelease.model.errors import StoppedError
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Verdict
from tarsrelease.steps.canary_gate import gate

SHORT = rollout(weights=(10, 100), duration="20s", max_extension="20s")


class AwayAfterScaling(SimulatedWorkloads):
    """The API server is away for some seconds once something was scaled."""

    seconds = 10.0

    def scale(self, deployment: str, replicas: int) -> None:
        super().scale(deployment, replicas)
        if deployment == "tars-canary-dashboard-api":
            self.world.kubernetes_up = False
            self.world.at(self.seconds, lambda: setattr(self.world, "kubernetes_up", True))


def test_the_wait_for_replicas_goes_on_when_the_api_server_is_back() -> None:
    world = World().populate(stable=2, canary=1)
    outcome = gate(context(world, release(SHORT), workloads=AwayAfterScaling(world)), 100)
    assert outcome.verdict is Verdict.PROCEED
    assert set(world.weights.values()) == {100}


def test_a_failure_after_the_canary_was_scaled_is_no_unchanged_state() -> None:
    world = World().populate(stable=2, canary=1)

    class Away(SimulatedWorkloads):
        """Goes away at the first reading of the pods after the one that finds all of them ready."""

        found = 0

        def pods(self) -> list[PodState]:
            if sum(map(self.world.is_ready, self.world.running(Track.CANARY))) == 6:
                self.found += 1
            if self.found == 2:
                self.world.kubernetes_up = False
            self._answer()
            return super().pods()

    with pytest.raises(StoppedError):
        gate(context(world, release(SHORT), workloads=Away(world)), 100)
