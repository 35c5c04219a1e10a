"""How many replicas a side needs for a share of the traffic (capacity before weight)."""

from __future__ import annotations


def replicas_for(weight: int, stable_replicas: int) -> int:
    """Replicas that carry `weight` percent of what `stable_replicas` carry whole.

    Rounded up, and at least one: a canary without a pod cannot be judged. `stable_replicas` are
    those pinned at the start of the release, not those of the moment.
    Raises ValueError for a weight outside 0 to 100.
    """
    if not 0 <= weight <= 100:
        raise ValueError(f"a weight is between 0 and 100, found {weight}")
    return max(1, -(-weight * stable_replicas // 100))
