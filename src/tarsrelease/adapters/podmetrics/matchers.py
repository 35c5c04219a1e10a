"""Which series a selector selects, without a metrics server."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_SELECTOR = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{(.*)\}\s*", re.DOTALL)
_STRING = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`[^`]*`"
_MATCHER = re.compile(rf"([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*({_STRING})")
_ESCAPED = re.compile(r"\\(.)")

Fits = Callable[[Mapping[str, str]], bool]


def metric_and_matchers(selector: str, may_lack: frozenset[str]) -> tuple[str, Fits]:
    """The metric's name, and whether a series' labels fit.

    A matcher of a label in `may_lack` holds for series that do not have it: a scrape would have
    added it. Raises ValueError where this is no selector with a metric's name.
    """
    found = _SELECTOR.fullmatch(selector)
    if found is None:
        raise ValueError(f"{selector} does not begin with a metric's name and matchers")
    tests = [(*each[:2], _value(each[2])) for each in _MATCHER.findall(found[2])]
    patterns = [
        (label, operator, value, re.compile(value) if "~" in operator else None)
        for label, operator, value in tests
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

    return found[1], fits


def _value(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    return _ESCAPED.sub(lambda each: {"n": "\n", "t": "\t"}.get(each[1], each[1]), text[1:-1])
