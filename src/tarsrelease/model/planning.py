"""What a release's stages are planned to take, and what their traffic lets their checks decide."""

from __future__ import annotations

from pydantic import Field

from tarsrelease.model.base import Value


class StagePlan(Value):
    """One planned stage; `gates_of` is the weight in rollout.yaml whose checks it uses."""

    weight: int
    minutes: float
    minutes_at_most: float
    gates_of: int


class PlannedCheck(Value):
    """What one check of one service needs in one stage, and what its traffic gives.

    Rates are the canary's requests a second at the stage's weight: `usual` the median over blocks
    as long as the stage, `quiet` what nine of ten blocks exceed. `seconds` is how long the usual
    rate takes to bring the `needed` requests, None without any. `found` is the chance that a
    canary at twice the limit is rolled back within the stage, `found_in` the time by which 95 % of
    them are (None: not within the stage). `stable` is stable's own bad share.
    `like_stable` is how many requests it takes until nine of ten canaries with stable's share pass
    (None: they cannot).
    """

    stage: str
    service: str
    check: str
    limit: float
    needed: int
    usual: float
    quiet: float
    seconds: float | None
    quiet_seconds: float | None
    allowed: float
    found: float
    found_in: float | None
    stable: float
    trouble: str | None
    like_stable: float | None = None
    advisory: bool = Field(default=False, exclude_if=lambda advisory: not advisory)

    @property
    def decides(self) -> bool:
        """A healthy canary can pass within the stage and its extension."""
        return self.trouble is None


class PooledCheck(Value):
    """What one check of one service finds in one stage with the evidence of a wave's targets.

    `usual` are the requests a second of all these canaries. `alone` is the chance that the target
    with the most requests rolls back a canary at twice the limit within the stage by its own
    requests, `found` that it happens by its own or by those of all together, if all of them are
    in the stage at the same time and at twice the limit. `found_in` is the time by which 95 % are
    found (seconds; None: not within the stage).
    """

    wave: int
    stage: str
    service: str
    check: str
    limit: float
    targets: int
    usual: float
    alone: float
    found: float
    found_in: float | None
