"""The grammar of PromQL's vector selectors, such as ``http_requests_total{code=~"5.."}``.

It follows prometheus.io/docs/prometheus/latest/querying/basics. A selector begins with the metric's
name; names in quotes (UTF-8) are not accepted, as they differ between the servers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import NamedTuple

from tarsrelease.model import re2

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*(?:\n|$))*")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OPERATOR = re.compile(r"=~|!~|!=|=")
_STRING = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|`[^`]*`", re.DOTALL)
_ESCAPE = re.compile(
    r"""\\(?:([abfnrtv\\'"])|([0-7]{3})|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))""",
    re.DOTALL,
)
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_NO_METRICS = frozenset(
    ("atan2", "bool", "group_left", "group_right", "ignoring", "inf", "nan", "on")
)
_LONGEST = 40
_LAST_RUNE = 0x10FFFF


class Matcher(NamedTuple):
    """One condition. `value` is the text without quotes and escapes."""

    label: str
    operator: str
    value: str


class Literal(NamedTuple):
    """Where a matcher's string is written: from `start` to `end`, with its quotes."""

    operator: str
    start: int
    end: int


class VectorSelector(NamedTuple):
    """A selector's metric and conditions, in order, and where their strings are written."""

    metric: str
    matchers: tuple[Matcher, ...]
    literals: tuple[Literal, ...]


@cache
def parse(text: str) -> VectorSelector:
    """Read a selector, without judging its regular expressions. Raises ValueError."""
    reader = _Reader(text)
    metric = reader.take(_METRIC, "the name of a metric")
    if metric.lower() in _NO_METRICS:
        raise ValueError(f"{metric} is a word of PromQL and no metric")
    reader.expect("{")
    matchers, literals = reader.matchers("}")
    reader.expect("}")
    reader.end()
    if any(each.label == "__name__" for each in matchers):
        raise ValueError("__name__ is given twice: the selector begins with the metric's name")
    return VectorSelector(metric, matchers, literals)


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Read conditions without braces, such as ``cluster="eu1",region!="x"``. Raises ValueError."""
    reader = _Reader(text)
    matchers, _ = reader.matchers("")
    reader.end()
    check_expressions(matchers)
    return matchers


def check_expressions(matchers: tuple[Matcher, ...]) -> None:
    """Raise ValueError if the server would refuse a matcher's regular expression."""
    for label, operator, value in matchers:
        if "~" in operator and (why := re2.fault(value)) is not None:
            raise ValueError(f"{label}{operator}{_shown(value)} is no regular expression: {why}")


@cache
def expression(text: str) -> re.Pattern[str] | None:
    """A matcher's regular expression; None for what RE2 knows and Python does not."""
    try:
        return re.compile(text, re.ASCII | re.DOTALL)
    except re.error:
        return None


@lru_cache(maxsize=65536)
def holds(matcher: Matcher, value: str) -> bool:
    """Whether the condition holds for a label's value; True where Python cannot tell."""
    if "~" not in matcher.operator:
        return (value == matcher.value) is (matcher.operator == "=")
    pattern = expression(matcher.value)
    if pattern is None:
        return True
    return (pattern.fullmatch(value) is not None) is (matcher.operator == "=~")


def native_bound(text: str) -> float | None:
    """The `le` of a selector of a native histogram: of a metric that is no ``_bucket``.

    ``le="+Inf"`` (all requests) is infinity. None for everything else, also for what is no
    selector: the server says what is wrong with it.
    """
    try:
        metric, matchers, _ = parse(text)
    except ValueError:
        return None
    bounds = [each for each in matchers if each.label == "le"]
    if "bucket" in metric or len(bounds) != 1 or bounds[0].operator != "=":
        return None
    try:
        bound = float(bounds[0].value)
    except ValueError:
        return None
    return bound if bound > 0 else None


_SOME_BOUNDS = (
    "+Inf",
    *(f"{n * 10**e:.12g}" for e in range(-4, 4) for n in (1, 2, 2.5, 3, 5, 7.5)),
)


def has_one_bound(text: str) -> bool:
    """Whether a selector of a histogram's buckets selects one of them: a request is in several.

    True for every other metric, and for an expression that Python cannot match. Raises as `parse`.
    """
    metric, matchers, _ = parse(text)
    bounds = [each for each in matchers if each.label == "le"]
    if not metric.endswith("_bucket") or any(each.operator == "=" for each in bounds):
        return True
    if not any(each.operator == "=~" for each in bounds):
        return False
    try:
        patterns = [
            (each.operator, re.compile(each.value, re.ASCII))
            for each in bounds
            if "~" in each.operator
        ]
    except re.error:
        return True
    named = re.findall(r"[0-9]+(?:\.[0-9]+)?", text.replace("[.]", ".").replace("\\", ""))
    fitting = {
        float(bound)
        for bound in (*_SOME_BOUNDS, *named)
        if all(
            (pattern.fullmatch(bound) is not None) is (operator == "=~")
            for operator, pattern in patterns
        )
    }
    return len(fitting) < 2


def without_matcher(text: str, label: str) -> str:
    """The selector without its conditions on a label. Raises as `parse`."""
    metric, matchers, literals = parse(text)
    kept = [
        f"{matcher.label}{matcher.operator}{text[literal.start : literal.end]}"
        for matcher, literal in zip(matchers, literals, strict=True)
        if matcher.label != label
    ]
    return f"{metric}{{{','.join(kept)}}}"


def with_strings(text: str, replaced: Callable[[str, Literal], str]) -> str:
    """The selector with each string's inside replaced. Raises as `parse`."""
    written, at = [], 0
    for literal in parse(text).literals:
        inside = text[literal.start + 1 : literal.end - 1]
        written += [text[at : literal.start + 1], replaced(inside, literal)]
        at = literal.end - 1
    return "".join([*written, text[at:]])


def with_matchers(text: str, more: str) -> str:
    """The selector with these conditions added; a metric alone gets braces. Raises as `parse`."""
    if _METRIC.fullmatch(text.strip()):
        text = f"{text.strip()}{{}}"
    selector = parse(text)
    if not more.strip():
        return text
    begin = selector.literals[-1].end if selector.literals else text.index("{") + 1
    return f"{text[:begin]}{',' if selector.literals else ''}{more.strip()}{text[begin:]}"


class _Reader:
    """A text and how far it is read."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._skip()

    def take(self, pattern: re.Pattern[str], expected: str) -> str:
        """What matches next, without the space after it."""
        found = pattern.match(self._text, self._at)
        if found is None:
            rest = self._text[self._at : self._at + 12]
            raise ValueError(f"expected {expected}, found {_shown(rest) if rest else 'the end'}")
        self._at = found.end()
        self._skip()
        return found[0]

    def expect(self, char: str) -> None:
        """Take this character."""
        self.take(re.compile(re.escape(char)), char)

    def end(self) -> None:
        """Raise ValueError if something is left."""
        if self._at < len(self._text):
            raise ValueError(f"unexpected {_shown(self._text[self._at : self._at + 12])}")

    def matchers(self, closing: str) -> tuple[tuple[Matcher, ...], tuple[Literal, ...]]:
        """Conditions up to `closing` (not taken) or the end."""
        matchers, literals = [], []
        while self._at < len(self._text) and not (
            closing and self._text.startswith(closing, self._at)
        ):
            label = self.take(_LABEL, "a label")
            operator = self.take(_OPERATOR, f"=, !=, =~ or !~ after {label}")
            start = self._at
            string = self.take(_STRING, f"a text in quotes after {label}{operator}")
            matchers.append(Matcher(label, operator, _unquoted(string)))
            literals.append(Literal(operator, start, start + len(string)))
            if not self._text.startswith(",", self._at):
                break
            self.expect(",")
        return tuple(matchers), tuple(literals)

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at


def _unquoted(string: str) -> str:
    quote, inside = string[0], string[1:-1]
    if quote == "`":
        return inside

    def char(found: re.Match[str]) -> str:
        letter, *numbers, other = found.groups()
        if letter is not None and letter not in {"'", '"'} - {quote}:
            return _LETTERS.get(letter, letter)
        for digits, base in zip(numbers, (8, 16, 16, 16), strict=True):
            if digits is not None and (code := int(digits, base)) <= _LAST_RUNE:
                return chr(code)
        raise ValueError(
            f"{_shown(string)} has the unknown escape \\{letter or other or found[0][1:]}; "
            "write \\\\ for a backslash, or use backticks instead of quotes"
        )

    return _ESCAPE.sub(char, inside)


def _shown(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
