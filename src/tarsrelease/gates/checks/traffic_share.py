"""Does the share of requests seen agree with the weight that was set (design: decision 10)?

The bounds are generous: they catch a gateway that ignores the weight, a missing series and a
wrong label, not a router's rounding. They are widest where the smaller side's share would be hard
to tell. What disagrees is an `error`: the measurement cannot be trusted. It is never a failure of
the canary, and too few requests never extend a stage by this check alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from tarsrelease.gates.measure.counting import Counter, recent, several
from tarsrelease.gates.stats.sequential_test import (
    log_evidence_above,
    log_evidence_below,
    proof_needs,
)
from tarsrelease.model.format import count, percent
from tarsrelease.model.measurement import Track, Unmeasured
from tarsrelease.model.outcome import Check, Observed, Status

CHECK_ID = "canary.traffic_share"

SLACK = 0.02
"""Share that may always stray: smoke tests by header, requests in flight at a change."""

ALPHA = 1e-3
"""Chance that a share within the bounds is called a disagreement, over all looks at the same
requests. The requests looked at move on, so over a long stage it is higher; what is at stake is an
`error` that the next look may take back."""

FOLLOW = 3.0
"""Seconds a gateway may take to follow its routes (Traefik: up to 2.4)."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Requests of one service by side of late, put on a common footing.

    `canary` and `total` are counts; each target's rate is taken over its own time between its own
    samples, as targets are scraped at different moments. `seconds` is how long.
    """

    canary: float
    total: float
    seconds: float


def shares(counter: Counter, service: str, scrape_interval: float) -> Shares:
    """The sides' shares of a service's latest requests (`counting.recent`).

    Only the latest: a gateway that was slow to follow has sent many requests the old way, and
    they say nothing about whether it follows now. A target that ended counts over all the time.
    """
    end = max(counter.newest.values(), default=-inf)
    window = recent(scrape_interval)
    rates = {Track.CANARY: 0.0, Track.STABLE: 0.0}
    total = 0.0
    for lines in several(counter):
        line = max(lines, key=lambda each: each.increase()) if len(lines) > 1 else lines[0]
        name, track = line.owner.key
        if name != service:
            continue
        newest = counter.newest[line.owner.target]
        until = newest if newest > end - 1.5 * scrape_interval else end
        begun, gained = line.since, line.increase()
        if end - window > line.since:
            begun = line.last_before(end - window)
            gained -= line.increase(end - window)
        if until > begun:
            total += gained
            rates[track] += gained / (until - begun)
    both = sum(rates.values())
    return Shares(
        canary=total * rates[Track.CANARY] / both if both else 0.0,
        total=total,
        seconds=min(window, max(0.0, end - counter.shift)),
    )


def bounds(weight: int) -> tuple[float, float]:
    """The lowest and the highest canary share that agree with a weight in percent.

    The smaller side may have half to one and a half times its share, and SLACK in any case.
    """
    share = weight / 100
    if share > 0.5:
        low, high = bounds(100 - weight)
        return 1 - high, 1 - low
    return share / 2, share + max(share / 2, SLACK)


def traffic_share(
    service: str,
    weight: int,
    seen: Shares | Unmeasured,
    *,
    scrape_interval: float,
    source: str,
) -> Check:
    """One service's check: `error` on a proven disagreement, else `pass` with what was seen.

    Without a single request there is nothing to compare: `skipped`.
    """
    low, high = bounds(weight)
    expected = f"{percent(low)} to {percent(high)} (weight {weight} %)"

    def check(status: Status, reason: str, observed: float | None = None) -> Check:
        return Check(
            id=CHECK_ID,
            status=status,
            service=service,
            observed=None if observed is None else Observed(value=observed, unit="share"),
            expected=expected,
            reason=reason,
            source=source,
            window=None if isinstance(seen, Unmeasured) else seen.seconds,
            samples=None if isinstance(seen, Unmeasured) else round(seen.total),
        )

    if isinstance(seen, Unmeasured):
        return check(Status.ERROR, seen.reason)
    if seen.total == 0:
        return check(Status.SKIPPED, "no requests on either side: nothing to compare")
    share = min(seen.canary / seen.total, 1.0)
    said = f"{percent(share)} of {count(seen.total, 'request')} went to the canary"
    if seen.seconds < 2 * scrape_interval:
        return check(Status.PASS, f"{said}; too early to compare", share)
    canary = share * seen.total
    needs = proof_needs(ALPHA)
    too_many = high < 1 and log_evidence_above(canary, seen.total, high) >= needs
    too_few = low > 0 and log_evidence_below(canary, seen.total, low) >= needs
    if too_many or too_few:
        return check(
            Status.ERROR,
            f"{said}: the gateway does not follow the weight (yet), or series are missing; "
            "compare the gateway's own request counts with these",
            share,
        )
    within = low <= share <= high
    return check(Status.PASS, said if within else f"{said}; not proven to disagree", share)


def of_services(
    counter: Counter | Unmeasured, services: Mapping[str, int], scrape_interval: float, source: str
) -> tuple[Check, ...]:
    """The check for each service; `services` maps names to their weight."""
    return tuple(
        traffic_share(
            name,
            weight,
            counter if isinstance(counter, Unmeasured) else shares(counter, name, scrape_interval),
            scrape_interval=scrape_interval,
            source=source,
        )
        for name, weight in services.items()
    )
