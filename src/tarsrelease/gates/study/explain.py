"""What decided a check, and what would have decided it otherwise."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil, inf

from tarsrelease.gates.stats.pass_side import allows
from tarsrelease.gates.stats.power import fewest_bad
from tarsrelease.gates.stats.sequential_test import log_evidence_above
from tarsrelease.model.format import count, odds, percent, reading
from tarsrelease.model.outcome import Check, Status

_LIMIT = re.compile(r"^(<|≥) ([0-9.e+-]+) %$")


@dataclass(frozen=True, slots=True)
class Proportion:
    """A check of a proportion as it was recorded: bad requests among all, and their limit.

    `inclusive` says that a share of exactly the limit is within it (``at_least``).
    """

    bad: int
    total: int
    limit: float
    needed: int
    inclusive: bool


def proportion_of(check: Check) -> Proportion | None:
    """The counts behind a recorded result; None where it is no proportion with requests."""
    match = _LIMIT.match(check.expected)
    if match is None or check.needed is None or not check.samples or check.observed is None:
        return None
    share = check.observed.value
    if not isinstance(share, (int, float)):
        return None
    good = match[1] == "≥"
    limit = float(match[2]) / 100
    bad = round(check.samples * (1 - share if good else share))
    if not 0 < (1 - limit if good else limit) < 1:
        return None
    return Proportion(bad, check.samples, 1 - limit if good else limit, check.needed, good)


LAW = (
    "fails when the evidence against the limit reaches 1/alpha at any look (an e-process: looking "
    "often costs nothing); passes at the end of its stage with enough requests and a share within "
    "the limit; is inconclusive in between"
)


def counterfactuals(check: Check, alpha: float, false_pass: float = 0.05) -> list[str]:
    """The numbers of one check, and what would have changed its result, a sentence each."""
    found = proportion_of(check)
    if found is None:
        return [_of_other(check)]
    bad, total, limit = found.bad, found.total, found.limit
    evidence = log_evidence_above(bad, total, limit)
    proof = fewest_bad(total, limit, alpha)
    said = [
        f"{bad} of {count(total, 'request')} bad ({percent(bad / total)}), limit {percent(limit)}: "
        f"evidence {odds(evidence)} to 1, proof at {1 / alpha:.0f} to 1"
    ]
    within = int(limit * total) if found.inclusive else ceil(limit * total) - 1
    while within >= 0 and not allows(within, total, limit, false_pass):
        within -= 1
    match check.status:
        case Status.FAIL if bad >= proof:
            said.append(_fewer(int(proof) - 1, bad, "would not have been proof"))
            if bad > within >= 0:
                said.append(_fewer(within, bad, "would have been within the limit"))
        case Status.PASS:
            said.append(_more(proof, bad, "would have been proof that the limit is broken"))
            said.append(_more(within + 1, bad, "would not have passed, and extended it"))
        case Status.INCONCLUSIVE:
            if total < found.needed:
                said.append(f"{found.needed - total} more requests would have been enough to tell")
            if bad > within >= 0:
                said.append(_fewer(within, bad, "would have been within the limit"))
            said.append(_more(proof, bad, "would have been proof that the limit is broken"))
        case _:
            said.append(f"it was not decided by its numbers: {check.reason}")
    return said


def _fewer(wanted: int, bad: int, what: str) -> str:
    return f"{bad - wanted} fewer bad requests ({wanted} in all) {what}"


def _more(wanted: float, bad: int, what: str) -> str:
    if wanted == inf:
        return f"no number of bad requests {what}: there are too few requests"
    if wanted <= bad:
        return f"independent errors in this number {what}; they come in bursts on the other side"
    return f"{int(wanted) - bad} more bad requests ({int(wanted)} in all) {what}"


def _of_other(check: Check) -> str:
    seen = "nothing was observed"
    if (found := check.observed) is not None:
        told = found.value
        seen = f"seen {reading(told, found.unit) if isinstance(told, (int, float)) else told}"
    return f"{seen}, expected {check.expected}: {check.reason}"
