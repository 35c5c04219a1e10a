"""Errors that begin late in a stage: the bet placed anew from time to time.

The share over the whole stage hides what its last minutes show. So the bet of `sequential_test` is
placed again at up to STARTS moments of the stage, each with an equal part of a tenth of the
capital; the rest stays on the bet from the shift on (an e-detector: Shin, Ramdas and Rinaldo 2022,
"E-detectors: a nonparametric framework for sequential change detection"). Each bet grows only
where the share is above the limit in its time, so their weighted sum is an e-process against "the
share was never above the limit": it proves what it proves at the same chance of a false alarm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log

from tarsrelease.gates.stats.bursts import Spread, binomial
from tarsrelease.gates.stats.sequential_test import log_evidence_above
from tarsrelease.model.measurement import Counts, Key, Track, Unmeasured

Starts = Mapping[tuple[str, str, Track], Sequence[tuple[float, float]]]
"""By SLI, service and side: the bad and all requests up to earlier moments, oldest first."""

STARTS = 64
"""At most so many moments, evenly spread over the stage and its extension."""

_LATE = 0.1


def remember(
    starts: Starts,
    counts: Mapping[str, Mapping[Key, Counts | Unmeasured]],
    elapsed: float,
    planned: float,
) -> Starts:
    """With the counts of now (see `Inputs`), where another moment is due.

    `elapsed` and `planned` are seconds: since the shift, and of the stage with its extension.
    """
    known = max(map(len, starts.values()), default=0)
    if known >= STARTS or elapsed < (known + 1) * planned / STARTS:
        return starts
    found = {key: tuple(moments) for key, moments in starts.items()}
    for sli, by_key in counts.items():
        for (service, track), counted in by_key.items():
            if isinstance(counted, Counts):
                before = found.get((sli, service, track), ())
                found[sli, service, track] = (*before, (counted.bad, counted.total))
    return found


def log_evidence(
    starts: Sequence[tuple[float, float]],
    bad: float,
    total: float,
    limit: float,
    spread: Spread = binomial,
) -> float:
    """Log of the evidence that the share is above `limit`, over the whole stage or lately.

    `starts` are the bad and all requests up to each moment; without any, only the whole counts.
    """
    whole = log_evidence_above(bad, total, limit, spread)
    if not starts:
        return whole
    logs = [log(1 - _LATE) + whole]
    for bad_before, total_before in starts[:STARTS]:
        fresh_bad, fresh = bad - bad_before, total - total_before
        if fresh_bad > limit * fresh and fresh_bad <= fresh:
            late = log_evidence_above(fresh_bad, fresh, limit, spread)
            logs.append(log(_LATE / STARTS) + late)
    highest = max(logs)
    return highest + log(sum(exp(each - highest) for each in logs))
