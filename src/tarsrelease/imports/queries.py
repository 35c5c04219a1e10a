"""What a query measures: a share of requests, a latency percentile, or a reading.

A share is read from ``sum(rate(A)) / sum(rate(B))``, also as a percentage, and as ``1 - …`` or
``100 - …``; a percentile from ``histogram_quantile``. Anything else has no counterpart, because
gates count raw samples instead of evaluating a query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tarsrelease.imports.expressions import (
    Aggregate,
    Binary,
    Call,
    Expression,
    Matcher,
    Number,
    Parse,
    Selector,
)

_COUNTED = ("rate", "irate", "increase", "delta")
_UNITS = (("_seconds", 1.0), ("_milliseconds", 1000.0), ("_ms", 1000.0), ("_duration", None))
_TEMPLATE = re.compile(r"\{\{\s*([^}]*?)\s*\}\}")
_RANGE = re.compile(r"\[\s*\{\{[^}]*\}\}\s*\]")
_MARK, _END = "template", "end"
_MARKED = re.compile(f"{_MARK}([0-9a-f]+){_END}")
_IDENTITY = re.compile(
    r"service|workload|deployment|pod|app|ingress|cluster|container|instance|job|version|route|name"
)
"""Labels that name a workload: their value would select one side only."""


@dataclass(frozen=True, slots=True)
class ShareOf:
    """`part` among `whole`; the query has it times `scale`, or what is missing to `scale`."""

    part: Selector
    whole: Selector
    scale: float = 1.0
    complement: bool = False


@dataclass(frozen=True, slots=True)
class Percentile:
    """A histogram's percentile; the query has it times `scale`."""

    quantile: float
    buckets: Selector
    scale: float = 1.0

    @property
    def per_second(self) -> float:
        """How many units of the histogram's bounds are a second. Raises ValueError."""
        name = self.buckets.metric.removesuffix("_bucket")
        for suffix, found in _UNITS:
            if name.endswith(suffix) and found is not None:
                return found
        raise ValueError(f"the unit of {self.buckets.metric} is not in its name")


@dataclass(frozen=True, slots=True)
class Condition:
    """What the query must be: at least or at most `limit`."""

    at_least: bool
    limit: float


def measured(query: str, values: Mapping[str, str], parse: Parse) -> ShareOf | Percentile:
    """What the query measures.

    `values` replace templates by name; what remains a template selects the canary, and is left out,
    as samples are attributed by pod or side. Raises ValueError with why it has no counterpart.
    """
    found = _form(_simple(parse(_filled(query, values))))
    if isinstance(found, ShareOf):
        return replace(found, part=_own(found.part, values), whole=_own(found.whole, values))
    return replace(found, buckets=_own(found.buckets, values))


def identity_labels(query: str, parse: Parse) -> tuple[str, ...]:
    """The labels by which the query selects the canary's own series."""
    found = _form(_simple(parse(_filled(query, {}))))
    chosen = found.whole if isinstance(found, ShareOf) else found.buckets
    return tuple(m.label for m in chosen.matchers if _MARKED.search(m.value))


def _filled(query: str, values: Mapping[str, str]) -> str:
    """The query with its templates: marked inside of a string, filled elsewhere."""

    def value(found: re.Match[str]) -> str:
        name = found[1].removeprefix("args.").removeprefix("variables.")
        inside = found.string.count('"', 0, found.start()) % 2 == 1
        return f"{_MARK}{name.encode().hex()}{_END}" if inside else values.get(name, "0")

    return _TEMPLATE.sub(value, _RANGE.sub("[1m]", query))


def _own(selector: Selector, values: Mapping[str, str]) -> Selector:
    """The selector without what selects the canary; the namespace is the environment's.

    A template in a label that names no workload, such as a status, gets its value.
    """
    kept = []
    for each in selector.matchers:
        marked = _MARKED.findall(each.value)
        names = [bytes.fromhex(one).decode() for one in marked]
        if marked and "namespace" in each.label:
            kept.append(Matcher(each.label, "=", "$namespace"))
        elif not marked or (set(names) <= set(values) and not _IDENTITY.search(each.label)):
            text = _MARKED.sub(lambda m: values[bytes.fromhex(m[1]).decode()], each.value)
            kept.append(replace(each, value=text.replace("$", "$$")))
    return Selector(selector.metric, tuple(kept))


def _simple(found: Expression) -> Expression:
    """Without what only replaces an empty result: ``X or on() vector(0)``, ``scalar(X)``."""
    if isinstance(found, Binary) and found.op == "or":
        return _simple(found.left)
    if isinstance(found, Call) and found.name in ("scalar", "abs", "round") and found.arguments:
        return _simple(found.arguments[0])
    return found


def _form(found: Expression) -> ShareOf | Percentile:
    match found:
        case Binary("-", Number(whole), rest) if whole in (1, 100):
            inner = _form(_simple(rest))
            if isinstance(inner, ShareOf) and inner.scale == whole and not inner.complement:
                return replace(inner, complement=True)
        case Binary("*", Number(scale), rest) | Binary("*", rest, Number(scale)):
            inner = _form(_simple(rest))
            return replace(inner, scale=inner.scale * scale)
        case Binary("/", rest, Number(divisor)) if divisor > 0:
            inner = _form(_simple(rest))
            return replace(inner, scale=inner.scale / divisor)
        case Binary("/", part, whole_of):
            return _ratio(part, whole_of)
        case Call("histogram_quantile", (Number(quantile), buckets)):
            selector = _counted(buckets)
            if selector is not None and selector.metric.endswith("_bucket"):
                return Percentile(quantile, selector)
    raise ValueError(
        "it is neither a share of requests, sum(rate(…)) / sum(rate(…)), nor a "
        "histogram_quantile; gates count raw samples"
    )


def _ratio(part: Expression, whole: Expression) -> ShareOf:
    scale = 1.0
    if isinstance(part, Binary) and part.op == "*":
        for number, rest in ((part.left, part.right), (part.right, part.left)):
            if isinstance(number, Number):
                part, scale = rest, number.value
                break
    above, below = _counted(_simple(part)), _counted(_simple(whole))
    if above is None or below is None:
        raise ValueError("it divides something other than two sums of rates of counters")
    return ShareOf(above, below, scale)


def _counted(found: Expression) -> Selector | None:
    """The counter in ``sum(rate(…))``; None for anything else."""
    match _simple(found):
        case Aggregate("sum", argument, _):
            return _counted(argument)
        case Call(name, (Selector() as selector,)) if name in _COUNTED:
            return selector
    return None


_RESULT = r"(?:default\(\s*)?result(?:\[0\])?(?:\s*,[^)]*\))?"
_COMPARED = re.compile(rf"{_RESULT}\s*(>=|<=|>|<)\s*(-?[0-9.]+(?:e-?[0-9]+)?)")
_OPPOSITE = {">=": "<", ">": "<=", "<=": ">", "<": ">="}


def filled(text: Any, values: Mapping[str, str]) -> str:
    """Text with the templates of known arguments replaced; "" for None."""
    return _TEMPLATE.sub(lambda m: values.get(m[1].removeprefix("args."), m[0]), str(text or ""))


def condition(success: str, failure: str) -> Condition:
    """The one limit in a success condition, or in a failure condition turned around.

    Raises ValueError if there is none, or several.
    """
    text = success or failure
    found = {(op, float(limit)) for op, limit in _COMPARED.findall(text)}
    if len(found) != 1:
        raise ValueError(f"its condition {text!r} is not one comparison of result[0] with a number")
    ((op, limit),) = found
    if not success:
        op = _OPPOSITE[op]
    return Condition(op in (">=", ">"), limit)
