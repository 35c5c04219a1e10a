"""Selectors of some of the series that another selector returns: they need no query of their own.

An SLI usually has the same metric twice, the second time with one more condition
(``status=~"5.."``). What that selects can be told from the labels of the first one's answer, and
both are then counted from the same scrapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache

from tarsrelease.model import promql
from tarsrelease.model.measurement import Series

_ATOM = r"(?:[\w/:. -]|\\[.d/-]|\[\^?(?:[\w.]-[\w.]|[\w.])+\]|\((?!\?)|\)|\|)"
_ALIKE = re.compile(rf"(?:{_ATOM}[*+?]?)*", re.ASCII)
"""Regular expressions that mean the same in RE2 and in Python."""


@lru_cache(maxsize=256)
def parts(selectors: tuple[str, ...]) -> Mapping[str, str]:
    """By selector that needs no query: the one among the others whose answer has its series."""
    found: dict[str, str] = {}
    for part in selectors:
        wholes = [of for of in selectors if of != part and conditions(part, of)]
        if wholes:
            found[part] = min(wholes, key=lambda of: len(promql.parse(of).matchers))
    return found


@cache
def conditions(part: str, of: str) -> tuple[promql.Matcher, ...]:
    """The conditions by which `part` chooses among the series of `of`.

    Empty if it does not, or if that cannot be told from the labels alone.
    """
    try:
        some, all_of_them = promql.parse(part), promql.parse(of)
    except ValueError:
        return ()
    if some.metric != all_of_them.metric or not set(all_of_them.matchers) < set(some.matchers):
        return ()
    if any(promql.native_bound(each) is not None for each in (part, of)):
        return ()
    more = tuple(each for each in some.matchers if each not in all_of_them.matchers)
    return more if all(map(_is_told_by_the_label, more)) else ()


def selected(series: Iterable[Series], more: Iterable[promql.Matcher]) -> list[Series] | None:
    """The series that fulfill the conditions.

    None if one has no such label: the server may have removed it (Thanos' replica labels).
    """
    found = list(series)
    for matcher in more:
        if any(matcher.label not in each.labels for each in found):
            return None
        found = [each for each in found if promql.holds(matcher, each.labels[matcher.label])]
    return found


def _is_told_by_the_label(matcher: promql.Matcher) -> bool:
    if "~" not in matcher.operator:
        return True
    alike = _ALIKE.fullmatch(matcher.value) is not None
    return alike and promql.expression(matcher.value) is not None
