"""How many replicas a side needs for a share of the traffic."""

from __future__ import annotations


def replicas_for(weight: int, stable_replicas: int) -> int:
    """Replicas for `weight` percent of the traffic that `stable_replicas` serve.

    Rounded up, and at least one: a canary without a pod cannot be judged. `stable_replicas` is the
    count pinned at the start of the release, not the current one.
    Raises ValueError for a weight outside 0 to 100.
    """
    if not 0 <= weight <= 100:
        raise ValueError(f"a weight is between 0 and 100, found {weight}")
    return max(1, -(-weight * stable_replicas // 100))
