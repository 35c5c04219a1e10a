"""How often new requests were read since the shift, and how often bad ones were among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tarsrelease.model.measurement import Counts, Key, Track, Unmeasured


@dataclass(frozen=True, slots=True)
class Growth:
    """Readings that had new requests, those that had new bad ones, and the counts of the last."""

    readings: int = 0
    with_bad: int = 0
    bad: float = 0.0
    total: float = 0.0


def grown(
    growth: Mapping[tuple[str, str, Track], Growth],
    counts: Mapping[str, Mapping[Key, Counts | Unmeasured]],
) -> dict[tuple[str, str, Track], Growth]:
    """With one more reading (see `Inputs.counts`). The same counts again are no reading."""
    found = dict(growth)
    for sli, by_key in counts.items():
        for (service, track), read in by_key.items():
            before = found.get((sli, service, track), Growth())
            if isinstance(read, Counts) and read.total > before.total:
                found[sli, service, track] = Growth(
                    before.readings + 1,
                    before.with_bad + (read.bad > before.bad),
                    read.bad,
                    read.total,
                )
    return found
