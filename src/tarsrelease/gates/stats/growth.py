"""How often new requests were read since the shift, and how often bad ones were among them.

Bad requests of a healthy canary may come in packs (a client's retries, a hiccup of a database), and
a rare pack is in nothing that is known of stable. A pack comes at once. So bad requests that all
came between two scrapes prove something only among the first readings (FIRST): a canary that fails
all the time fails in them, and one that fails later has more in the next scrape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tarsrelease.model.measurement import Counts, Key, Track, Unmeasured

FIRST = 3
"""Among so many readings of new requests, bad ones in a single reading are enough."""

AT_ONCE = "all of them at once, between two scrapes; the next scrapes will tell"


@dataclass(frozen=True, slots=True)
class Growth:
    """Readings that had new requests, those that had new bad ones, and the counts of the last."""

    readings: int = 0
    with_bad: int = 0
    bad: float = 0.0
    total: float = 0.0

    @property
    def at_once(self) -> bool:
        """Whether all bad requests came in a single reading of many, as a pack does."""
        return self.with_bad < 2 and self.readings > FIRST


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
