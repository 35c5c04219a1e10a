"""What targets of a wave prove together: the tables of docs/waves.md.

    python benchmarks/waves_table.py [RELEASES]

Simulates requests with fixed seeds, in stages of ten minutes that are evaluated every 5 s. The
evidence of many releases is computed at once with numpy; whatever comes near to a proof is judged
again by the real code. Takes some minutes of CPU time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "simulation"))

from law_world import ALPHA, LOOKS, TICK
from numpy.typing import NDArray

from tarsrelease.gates.checks import pooled
from tarsrelease.gates.checks.compare import log_ratios_worse
from tarsrelease.gates.stats.sequential_test import ODDS_ABOVE, log_ratios_above, proof_needs
from tarsrelease.model.checks import CompareCheck
from tarsrelease.model.measurement import Counts
from tarsrelease.model.outcome import Check, Status

Array = NDArray[np.float64]
RATE, LIMIT = 0.005, 0.01
REQUESTS = 50.0
RULE = CompareCheck(kind="compare", id="a.compare", sli="e")
STAGES = (0.01, 0.1, 0.25, 0.5, 0.5)
SERVICES = 3
NEAR = 1.0
"""Evidence within this of a proof is computed again by the real code."""


def log_ratios(bad: Array, total: Array, limit: Array | float) -> Array:
    """As `log_ratios_above`, with one more axis in front: an alternative each."""
    odds = np.array(ODDS_ABOVE).reshape(-1, *([1] * bad.ndim))
    return bad * np.log(odds) - total * np.log1p(limit * (odds - 1))


def log_mean(ratios: Array) -> Array:
    """The log of the mean over the first axis."""
    highest = ratios.max(axis=0)
    mean: Array = highest + np.log(np.exp(ratios - highest).mean(axis=0))
    return mean


@dataclass(frozen=True)
class Drawn:
    """Cumulative counts of releases x targets x looks."""

    bad: Array
    total: Array
    stable_bad: Array
    stable_total: Array

    @classmethod
    def of(
        cls, rng: np.random.Generator, releases: int, shares: tuple[float, ...], weight: float
    ) -> Drawn:
        """`shares`: the share of bad requests of each target's canary. Stable has RATE."""
        shape = (releases, len(shares), LOOKS)
        ours = rng.poisson(REQUESTS * TICK * weight, shape)
        theirs = rng.poisson(REQUESTS * TICK * (1 - weight), shape)
        bad = rng.binomial(ours, np.array(shares)[None, :, None])
        stable = rng.binomial(theirs, RATE)
        return cls(*(each.cumsum(axis=2).astype(float) for each in (bad, ours, stable, theirs)))

    def ratios(self) -> tuple[Array, Array]:
        """Of the limit and of the comparison: alternatives x releases x targets x looks."""
        weighed = (1 + RULE.worse_by) * self.total
        exposed = weighed / np.maximum(weighed + self.stable_total, 1)
        worse = log_ratios(self.bad, self.bad + self.stable_bad, exposed)
        tolerated = log_ratios(self.bad, self.total, RULE.tolerated)
        return log_ratios(self.bad, self.total, LIMIT), np.minimum(worse, tolerated)

    def really(self, release: int, look: int, comparison: bool, alpha: float) -> bool:
        """Whether the real code finds a proof, at one of the targets, together with the others."""

        def of(target: int) -> pooled.Ratios:
            place = release, target, look
            ours = Counts(self.bad[place], self.total[place], None)
            if not comparison:
                return log_ratios_above(ours.bad, ours.total, LIMIT)
            theirs = Counts(self.stable_bad[place], self.stable_total[place], None)
            return log_ratios_worse(ours, theirs, RULE)

        ratios = [of(target) for target in range(self.bad.shape[1])]
        check = Check(id="a", status=Status.INCONCLUSIVE, service="s", reason="", expected="")
        return any(
            pooled.prove(
                (check,),
                {("a", "s"): mine},
                {("a", "s"): ratios[:number] + ratios[number + 1 :]},
                alpha,
            )[0].status
            is Status.FAIL
            for number, mine in enumerate(ratios)
        )

    def found(self, own: float, together: float) -> Array:
        """Seconds until a proof of one target alone or of all; infinite without one: by release."""
        first = np.full(self.bad.shape[0], np.inf)
        for comparison, ratios in enumerate(self.ratios()):
            alone = (log_mean(ratios) >= proof_needs(own)).any(axis=1)
            first = np.minimum(first, _first(alone))
            if together and self.bad.shape[1] > 1:
                near = log_mean(ratios.sum(axis=2)) >= proof_needs(together) - NEAR
                for release in np.flatnonzero(near.any(axis=1)):
                    for look in np.flatnonzero(near[release]):
                        if TICK * (look + 1) >= first[release]:
                            break
                        if self.really(int(release), int(look), bool(comparison), together):
                            first[release] = TICK * (look + 1)
                            break
        return first


def _first(looks: NDArray[np.bool_]) -> Array:
    return np.where(looks.any(axis=1), TICK * (looks.argmax(axis=1) + 1.0), np.inf)


def chances(targets: int, waves: int) -> tuple[float, float]:
    """The chances of a false alarm of a target's own check, and of a wave's."""
    own = ALPHA / (2 * targets) if targets > 1 else ALPHA
    return own, pooled.pooled_alpha(own, targets, waves) if targets > 1 else 0.0


def healthy(releases: int) -> Iterator[str]:
    """Releases to 30 targets in waves of 1, 9 and 20 that are as good as stable."""
    yield "| targets | waves | releases | rolled back |"
    yield "|---|---|---|---|"
    waves = (1, 9, 20)
    own, together = chances(sum(waves), len(waves))
    back, step = 0, 25
    for begin in range(0, releases, step):
        rng, some = np.random.default_rng([1, begin]), min(step, releases - begin)
        failed = np.zeros(some, dtype=bool)
        for targets in waves:
            for weight in STAGES * SERVICES:
                drawn = Drawn.of(rng, some, (RATE,) * targets, weight)
                failed |= np.isfinite(drawn.found(own, together))
        back += int(failed.sum())
        print(f"{begin + some} of {releases} releases, {back} rolled back", file=sys.stderr)
    yield f"| {sum(waves)} | 1, 9, 20 | {releases} | {back} ({100 * back / releases:.1f} %) |"


def found(releases: int) -> Iterator[str]:
    """Bad releases at 10 % of the traffic: how many are found in a stage, and when."""
    yield "| canary | targets | found | median |"
    yield "|---|---|---|---|"
    rows = [
        ("twice the errors of stable, everywhere", n, (2 * RATE,) * n) for n in (1, 3, 10, 30)
    ] + [
        ("5 % of requests fail, at one target", n, (0.05, *(RATE,) * (n - 1))) for n in (1, 10, 30)
    ]
    for name, targets, shares in rows:
        times: list[float] = []
        for begin in range(0, releases, 50):
            rng = np.random.default_rng([2, begin, targets])
            drawn = Drawn.of(rng, min(50, releases - begin), shares, 0.1)
            times += drawn.found(*chances(targets, 1)).tolist()
        seen = [each for each in times if each < np.inf]
        when = f"{median(seen):.0f} s" if seen else "-"
        yield f"| {name} | {targets} | {100 * len(seen) / len(times):.1f} % | {when} |"


def main() -> None:
    """Print the tables."""
    releases = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    for table in (found(min(releases, 500)), healthy(releases)):
        for line in table:
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
