"""Whether the series can show what a selector asks for: an empty answer is no count of 0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tarsrelease.gates.measure import vocabulary
from tarsrelease.gates.measure.counting import Counter, several
from tarsrelease.model.format import names
from tarsrelease.model.measurement import Key

_KNOWN = frozenset(
    {"__name__", "namespace", "service", "pod", "container", "version", "deployment"}
)
"""Labels that nobody looks for where one is missing."""


def missing(
    counters: Mapping[str, Counter], of: str, part: str, is_good: bool, key: Key
) -> str | None:
    """Why a selector of bad or good requests cannot have seen those of a side; None: it can.

    That nothing matches is no count of 0: not where the label it asks for is on none of the
    side's series, where the metric does not exist, or where a histogram has no such bound.
    """
    counter, some = counters[of], counters[part]
    service, track = key
    if key not in counter.labels:
        return None
    kind = "good" if is_good else "bad"
    metric, whole = vocabulary.metric_of(part), vocabulary.metric_of(of)
    other = (service, track.other)
    if metric == whole:
        for label in vocabulary.labels_only_in(part, of):
            if label not in counter.labels[key] and not _optional(counters, of, part, label, other):
                there = names(_own(counter.labels[key]))
                return (
                    f"no series of {metric} on {track} has the label {label}, which the selector "
                    f"of {kind} requests asks for (it has {there})"
                )
    if key in some.labels:
        return None
    bounds = [m.value for m in vocabulary.matchers_of(part) if m.label == "le"]
    if is_good and bounds:
        return f"no series of {metric} on {track} has the bound le={bounds[0]}"
    if not is_good and metric != whole and (some.empty or _counts_from_zero(some, other)):
        where = "either side" if some.empty else track
        return (
            f"{metric} has no series on {where}: misspelled, or not counted before the first bad "
            "request (then say `absent: zero` at the sli)"
        )
    return None


def _own(labels: Iterable[str]) -> list[str]:
    """Labels that the application gives, first; those of the collecting side are no help."""
    return sorted(set(labels) - vocabulary.SCRAPE_LABELS - _KNOWN) or sorted(labels)


def _optional(counters: Mapping[str, Counter], of: str, part: str, label: str, other: Key) -> bool:
    """A label that only bad requests have: the other side has it there, and on no good request."""
    if label not in counters[part].labels.get(other, ()):
        return False
    bad = counters[part].lines.keys()
    return not any(
        label in dict(identity)
        for identity, line in counters[of].lines.items()
        if line.owner.key == other and identity not in bad
    )


def _counts_from_zero(counter: Counter, key: Key) -> bool:
    """The side's series exist before anything was counted."""
    return any(
        line.anchor.value == 0 and not line.born
        for line in counter.lines.values()
        if line.owner.key == key
    )


class Finding(NamedTuple):
    """What is wrong with an SLI's series of one side of a service, before a release meets it.

    `serious`: nothing could be decided from them. Otherwise they are counted rightly, but somebody
    should know.
    """

    sli: str
    service: str
    text: str
    serious: bool


def findings(
    proportions: Mapping[str, tuple[str, str, bool]],
    may_be_absent: frozenset[str],
    counters: Mapping[str, Counter],
    keys: Iterable[Key],
) -> list[Finding]:
    """What the series of these services and sides show of the selectors (see `queries.Queries`)."""
    found = []
    wanted = list(keys)
    groups = {selector: several(counter) for selector, counter in counters.items()}
    for sli, (of, part, is_good) in proportions.items():
        for key in wanted:
            service = key[0]
            why = None if sli in may_be_absent else missing(counters, of, part, is_good, key)
            if why is not None:
                found.append(Finding(sli, service, why, True))
            for selector in dict.fromkeys((of, part)):
                lines = [each for each in groups[selector] if each[0].owner.key == key]
                metric = vocabulary.metric_of(selector)
                troubles = {line.trouble for each in lines for line in each if line.trouble}
                found += (
                    Finding(sli, service, f"a series of {metric} {text}", True)
                    for text in sorted(troubles)
                )
                twice = [each[0].owner.target for each in lines if len(each) > 1]
                if twice:
                    text = f"{metric} of {names(sorted(set(twice)))} is collected several times"
                    found.append(Finding(sli, service, f"{text}; each request counts once", False))
        if (probes := counters[of].probes) > 0:
            text = f"{probes} series of {vocabulary.metric_of(of)} are of probes, and left out"
            found.append(Finding(sli, "", text, False))
    return found
