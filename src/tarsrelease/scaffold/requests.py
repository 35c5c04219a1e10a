"""Recognize the metrics of requests on a metrics page: which SLIs an application has. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tarsrelease.model.presets import GRPC_FAILURES, PRESETS, Preset

Lines = Sequence[tuple[str, Mapping[str, str], float]]
"""Name, labels and value of each line of a page."""

_STATUS = re.compile(r"[1-5](\d\d|xx)")
_FAILURES = "5..|5xx"
_GRPC_STATUS = re.compile(
    r"OK|cancell?ed|unknown|invalid_?argument|deadline_?exceeded|not_?found|already_?exists|"
    r"permission_?denied|resource_?exhausted|failed_?precondition|aborted|out_?of_?range|"
    r"unimplemented|internal|unavailable|data_?loss|unauthenticated|\d|1[0-6]",
    re.I,
)
_STATUS_NAME = re.compile("status|code", re.I)
_PROBES = re.compile(
    r"/?(-/)?(actuator/)?(healthz?|livez?|readyz?|startupz?|health/.*|metrics|prometheus|ping)"
)
_ALL_PROBES = "/?(-/)?(actuator/)?(healthz?|livez?|readyz?|startupz?|health/.*|metrics|ping)"
_NOT_REQUESTS = re.compile(r"(promhttp|go|process)_.*|.*(^|_)client_.*")
"""Metrics of the exporter itself, and of requests that the application sends to others."""
_MILLISECONDS = re.compile("millis(econds)?$|_ms$")
_REQUESTS = re.compile("request|http|rpc")
_COUNTERS = ("_count", "_total", "_requests", "_responses")
_LEAST_LIMIT = 0.1
"""Seconds: a latency limit below that is seldom wanted."""
_SLOW_SHARE = 0.01


class Recognized(NamedTuple):
    """The SLIs of rollout.yaml, with what they follow from; `slow` None without a histogram."""

    errors: dict[str, Any]
    slow: dict[str, Any] | None
    source: str


def recognize(lines: Lines) -> Recognized | None:
    """The SLIs of the page's requests: a preset if one fits, else selectors; None without any."""
    for name, preset in PRESETS.items():
        if preset.sides is None and _fits(preset, lines):
            limit = _limit(lines, preset.histogram, preset.unit)
            seconds = None if limit is None else limit[1]
            buckets = _bounds(lines, preset.histogram, preset.unit)
            slow: dict[str, Any] | None = None
            if seconds is not None:
                slow = {"preset": name, "slower_than": f"{seconds * 1000:g}ms"}
                if not any(abs(bound - seconds) < 1e-9 for bound in preset.bounds):
                    slow["buckets"] = [f"{bound * 1000:g}ms" for bound in buckets]
            return Recognized({"preset": name}, slow, f"preset {name}")
    return _by_selectors(lines)


def _fits(preset: Preset, lines: Lines) -> bool:
    """Whether the page has the preset's metric with its labels."""
    status = re.match(r"\w+", preset.bad)
    asked = {status[0]} if status else set()
    asked |= set(re.findall(r"(\w+)!~", preset.common))
    return any(name == preset.requests and asked <= labels.keys() for name, labels, _ in lines)


def _by_selectors(lines: Lines) -> Recognized | None:
    best: tuple[tuple[bool, bool, float], str, str, str] | None = None
    by_name: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for name, labels, value in lines:
        if name.endswith(_COUNTERS) and not _NOT_REQUESTS.fullmatch(name):
            by_name.setdefault(name, []).append((labels, value))
    for name, series in by_name.items():
        status, failures = _label(series, _STATUS), _FAILURES
        if status is None and "rpc" in name:
            status, failures = _label(series, _GRPC_STATUS, _STATUS_NAME), GRPC_FAILURES
        if status is None:
            continue
        histogram = any(
            line == f"{name.removesuffix('_count')}_bucket" for line, _, _ in lines
        ) and name.endswith("_count")
        rank = (bool(_REQUESTS.search(name)), histogram, sum(value for _, value in series))
        if best is None or rank > best[0]:
            best = (rank, name, status, failures)
    if best is None:
        return None
    (_, histogram, _), name, status, failures = best
    common = 'namespace="$namespace"'
    if probes := _probe_label(by_name[name]):
        common += f',{probes}!~"{_ALL_PROBES}"'
    errors = {
        "kind": "proportion",
        "of": f"{name}{{{common}}}",
        "bad": f'{name}{{{common},{status}=~"{failures}"}}',
    }
    slow = None
    family = name.removesuffix("_count")
    unit = 1000.0 if _MILLISECONDS.search(family) else 1.0
    limit = _limit(lines, family, unit) if histogram else None
    if limit is not None:
        slow = {
            "kind": "proportion",
            "of": f"{name}{{{common}}}",
            "good": f'{family}_bucket{{{common},le="{limit[0]}"}}',
        }
    return Recognized(errors, slow, f"{name} by {status}")


def _label(
    series: Iterable[tuple[Mapping[str, str], float]],
    wanted: re.Pattern[str],
    called: re.Pattern[str] = re.compile(""),
) -> str | None:
    """The label all of whose values look like that, one that is called a status or code first.

    `called` is what its name must have.
    """
    values: dict[str, set[str]] = {}
    for labels, _ in series:
        for label, value in labels.items():
            values.setdefault(label, set()).add(value)
    return next(
        (
            label
            for label, found in sorted(
                values.items(), key=lambda each: (not _STATUS_NAME.search(each[0]), each[0])
            )
            if called.search(label) and all(wanted.fullmatch(value) for value in found)
        ),
        None,
    )


def _probe_label(series: Iterable[tuple[Mapping[str, str], float]]) -> str | None:
    """The label that names probes, such as a path."""
    return next(
        (
            label
            for labels, _ in series
            for label, value in sorted(labels.items())
            if _PROBES.fullmatch(value)
        ),
        None,
    )


def _bounds(lines: Lines, histogram: str, unit: float) -> list[float]:
    return sorted({float(le) / unit for le in _buckets(lines, histogram) if le != "+Inf"})


def _buckets(lines: Lines, histogram: str) -> dict[str, float]:
    """The sum of each bucket, by its bound as the page writes it."""
    found: dict[str, float] = {}
    for name, labels, value in lines:
        if histogram and name == f"{histogram}_bucket" and "le" in labels:
            found[labels["le"]] = found.get(labels["le"], 0.0) + value
    return found


def _limit(lines: Lines, histogram: str, unit: float) -> tuple[str, float] | None:
    """A bound that almost all requests keep now, as the page writes it and in seconds."""
    buckets = _buckets(lines, histogram)
    total = buckets.get("+Inf", 0.0)
    bounds = sorted((float(le), le) for le in buckets if le != "+Inf")
    for bound, le in bounds:
        if bound / unit >= _LEAST_LIMIT and buckets[le] >= (1 - _SLOW_SHARE) * total:
            return le, bound / unit
    return (bounds[-1][1], bounds[-1][0] / unit) if bounds else None
