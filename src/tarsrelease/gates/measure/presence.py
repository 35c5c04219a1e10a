"""Whether the series can show what a selector asks for: an empty answer is no count of 0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import ceil, floor, isinf, log2
from typing import NamedTuple

from tarsrelease.gates.measure import attribution, vocabulary
from tarsrelease.gates.measure.attribution import Known
from tarsrelease.gates.measure.counting import (
    Counter,
    Line,
    SeriesId,
    gained,
    rise_together,
    several,
)
from tarsrelease.model import promql
from tarsrelease.model.format import names, percent
from tarsrelease.model.measurement import Key
from tarsrelease.model.rollout import MetricLabels

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
    if metric == whole and (values := _other_kind(counters, of, part, kind, key)) is not None:
        return f"on {track}, {values}"
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


def _other_kind(
    counters: Mapping[str, Counter], of: str, part: str, kind: str, key: Key
) -> str | None:
    """A condition that cannot tell bad from good among the side's values; None: none."""
    for matcher in vocabulary.only_in(part, of):
        values = counters[of].values.get((key, matcher.label), frozenset())
        left_out = vocabulary.inverted(matcher)
        if left_out is None and key in counters[part].labels:
            continue
        has = f"{matcher.label} is {names(sorted(values)[:5])}"
        asked = f'but the selector asks {matcher.label}{matcher.operator}"{matcher.value}"'
        if vocabulary.of_another_kind(left_out or matcher, values):
            why = "that leaves none of them out" if left_out else f"no such value can be {kind}"
            return f"{has}, {asked}; {why}"
        if (value := vocabulary.in_another_case(left_out or matcher, values)) is not None:
            return f"{has}, {asked}; {value} is written in another case"
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
            counted = [attribution.requests(counters[selector], key) for selector in (of, part)]
            if (more := attribution.excess(*counted, part_is_good=is_good)) is not None:
                found.append(Finding(sli, service, more, True))
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
                if (which := _total_beside_parts(each[0] for each in lines)) is not None:
                    text = (
                        f"series of {metric} {which} count what the others count, too: are they "
                        "their sum? Select either"
                    )
                    found.append(Finding(sli, service, text, False))
                if (label := _doubled_by(each[0] for each in lines)) is not None:
                    text = (
                        f"each series of {metric} comes once for each {label[0]} ({label[1]}) and "
                        f"rises alike: collected several times? Select one {label[0]}"
                    )
                    found.append(Finding(sli, service, text, False))
            if (mostly := _mostly_bad(*counted, part_is_good=is_good)) is not None:
                found.append(Finding(sli, service, mostly, False))
        if (inexact := _not_exact(part)) is not None:
            found.append(Finding(sli, "", inexact, False))
        if (probes := counters[of].probes) > 0:
            text = f"{probes} series of {vocabulary.metric_of(of)} are of probes, and left out"
            found.append(Finding(sli, "", text, False))
    return found


_ALIKE = 50
"""Requests after which no two counters rise alike by chance."""
_NEARLY_ALL = 0.9
"""A share of bad requests that no stable version has for long."""


def _doubled_by(lines: Iterable[Line]) -> tuple[str, str] | None:
    """A label that tells apart series which rise alike, and its values; None without any.

    Paths do not count: two of them may belong to one page.
    """
    alike: dict[tuple[str, str, SeriesId], list[Line]] = {}
    for line in lines:
        if line.increase() >= _ALIKE:
            for item in line.origin:
                if item[0] not in vocabulary.TELLING_LABELS:
                    at = (line.owner.target, item[0], line.origin - {item})
                    alike.setdefault(at, []).append(line)
    for (_, label, _), found in alike.items():
        for one, other in pairwise(sorted(found, key=lambda line: line.increase())):
            if rise_together([one.tail, other.tail]):
                return label, names(sorted(dict(each.origin)[label] for each in (one, other)))
    return None


def _mostly_bad(total: float, other: float, *, part_is_good: bool) -> str | None:
    """What is said where nearly every request counts as bad: the selector may mean the others."""
    bad = total - other if part_is_good else other
    if total < _ALIKE or bad < _NEARLY_ALL * total:
        return None
    kind = "good" if part_is_good else "bad"
    return (
        f"{bad:.0f} of {total:.0f} requests count as bad: does the selector select the {kind} ones?"
    )


_OF_ALL = frozenset({"*", "all", "any", "overall", "sum", "total"})
"""Values of labels by which an application names the sum of its other series."""


def _total_beside_parts(lines: Iterable[Line]) -> str | None:
    """How the series are told that are the sum of others of their pod; None without any."""
    pods: dict[tuple[str, Key], list[tuple[float, Line, SeriesId]]] = {}
    for line in lines:
        parted = frozenset(each for each in line.origin if each[1].lower() not in _OF_ALL)
        pod = pods.setdefault((line.owner.target, line.owner.key), [])
        pod.append((line.increase(), line, parted))
    for found in pods.values():
        near = 0.99 * max(increase for increase, _, _ in found)
        most, line, parted = min(
            (each for each in found if each[0] >= near), key=lambda each: len(each[2])
        )
        parts = [each for each in found if parted < each[2]]
        if most < _ALIKE or not parts or abs(sum(part[0] for part in parts) - most) > most / 100:
            continue
        if named := sorted(line.origin - parted):
            return f"with {named[0][0]}={named[0][1]}"
        missing_here = {name for part in parts for name, _ in part[2]} - dict(parted).keys()
        return f"without {names(sorted(missing_here))}"
    return None


def _not_exact(part: str) -> str | None:
    """What a native histogram counts instead of a limit that is no bound of all of them."""
    bound = promql.native_bound(part)
    if bound is None or isinf(bound) or (power := log2(bound)).is_integer():
        return None
    near = " and ".join(f"{2.0**exponent:g}" for exponent in (floor(power), ceil(power)))
    return (
        f"le={bound:g} is within a bucket of the native histogram {vocabulary.metric_of(part)}, "
        f"and counts as its upper bound; {near} are exact"
    )


def unseen(
    requests: Mapping[str, str],
    counters: Mapping[str, Counter],
    keys: Iterable[Key],
    labels: MetricLabels,
    known: Known,
) -> list[Finding]:
    """SLIs without a series of a side that has series of others, or that has none at all.

    `requests` gives the selector of all requests by SLI. Nothing is found where nothing at all is
    known of a side: it may be new.
    """
    found = []
    for key in keys:
        seen = any(key in counters[of].labels for of in requests.values())
        for sli, of in requests.items():
            counter, metric = counters[of], vocabulary.metric_of(of)
            if counter.empty and counter.stranger is not None:
                why = attribution.why_nobody(counter.stranger, labels, known)
                text = f"{counter.left_out} series of {metric} match, but none of {key[1]}: {why}"
                found.append(Finding(sli, key[0], text, True))
            elif seen and key not in counter.labels:
                text = f"{metric} has no series of {key[1]}; is it misspelled?"
                found.append(Finding(sli, key[0], text, True))
    return found


def untold_probes(
    requests: Mapping[str, str],
    counters: Mapping[str, Counter],
    keys: Iterable[Key],
    probes: Mapping[str, float],
    seconds: float,
) -> list[Finding]:
    """SLIs none of whose labels tells probes and scrapes from users' requests.

    `probes` are each service's probes and scrapes a second, as far as known; `seconds` is how long
    was counted. Their share is the highest possible: an application may leave them out.
    """
    found = []
    for key in keys:
        for sli, of in requests.items():
            counter = counters[of]
            telling = counter.path_labels - {"endpoint"}  # a port, where Prometheus adds it
            if key not in counter.labels or counter.labels[key] & telling:
                continue
            if counter.path_labels != vocabulary.TELLING_LABELS or any(
                matcher.label in vocabulary.PORT_LABELS for matcher in vocabulary.matchers_of(of)
            ):
                continue  # the selector itself chooses by such a label
            text = (
                "no label (path, route, user_agent) tells probes and scrapes from users' requests"
            )
            total = attribution.requests(counter, key)
            if probes.get(key[0]) and total > 0:
                share = min(1.0, probes[key[0]] * seconds / total)
                text += f"; up to {percent(share)} of {vocabulary.metric_of(of)} may be such"
            if ports := sorted(counter.labels[key] & vocabulary.PORT_LABELS):
                text += f'; if they have a port of their own, add {ports[0]}!="PORT"'
            found.append(Finding(sli, key[0], text, False))
    return found


class Probed(NamedTuple):
    """The kubelet's requests a second to a service's side, and the paths that it asks for."""

    rate: float
    paths: tuple[str, ...]


_MOSTLY = 2.0
"""So many times what the kubelet asks: most of a path's requests are its own."""


def other_probes(
    requests: Mapping[str, str],
    counters: Mapping[str, Counter],
    keys: Iterable[Key],
    probed: Mapping[str, Probed],
    seconds: float,
) -> list[Finding]:
    """SLIs that count the probes of a Deployment, because their path is no usual one."""
    found = []
    for key in keys:
        rate, paths = probed.get(key[0], Probed(0.0, ()))
        for sli, of in requests.items():
            counter = counters[of]
            counted: dict[tuple[str, str], float] = {}
            for lines in several(counter) if paths else ():
                for label, value in lines[0].origin if lines[0].owner.key == key else ():
                    if label in counter.path_labels and value in paths:
                        at = (label, value)
                        counted[at] = counted.get(at, 0.0) + gained(lines)
            for (label, path), number in counted.items():
                if 0 < number <= _MOSTLY * rate * seconds:
                    share = percent(number / attribution.requests(counter, key))
                    text = (
                        f"{share} of {vocabulary.metric_of(of)} are the kubelet's "
                        f'probes of {path}; add {label}!="{path}" to the selectors'
                    )
                    found.append(Finding(sli, key[0], text, False))
    return found
