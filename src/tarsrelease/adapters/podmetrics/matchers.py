"""Which series a selector selects, without a metrics server."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tarsrelease.model import promql

Fits = Callable[[Mapping[str, str]], bool]


def metric_and_matchers(selector: str, may_lack: frozenset[str]) -> tuple[str, Fits]:
    """The metric's name, and whether a series' labels fit.

    A matcher of a label in `may_lack` holds for series that do not have it: a scrape would have
    added it. Raises ValueError where this is no selector, or where Python cannot match its
    regular expression.
    """
    metric, matchers, _ = promql.parse(selector)
    patterns = [
        (label, operator, value, _compiled(value) if "~" in operator else None)
        for label, operator, value in matchers
    ]

    def fits(labels: Mapping[str, str]) -> bool:
        for label, operator, value, pattern in patterns:
            if label in may_lack and label not in labels:
                continue
            text = labels.get(label, "")
            same = text == value if pattern is None else pattern.fullmatch(text) is not None
            if same is operator.startswith("!"):
                return False
        return True

    return metric, fits


def _compiled(value: str) -> re.Pattern[str]:
    try:
        return re.compile(value, re.ASCII | re.DOTALL)
    except re.error as error:
        raise ValueError(f"{value} cannot be matched on this machine: {error}") from error
