"""Selectors are accepted and refused as a real Prometheus does."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_rig import Server

from tarsrelease.model import promql, re2

_CLASSES = (r"\d", r"\W", r"\pL", r"\p{Greek}", r"\P{^Lu}", r"\p{nope}", r"\pX", r"\p", r"\p{Lu")
_ESCAPES = (
    *(r"\.", r"\-", r"\_", r"\q", r"\8", r"\1", r"\12", r"\08", r"\x41", r"\x{1F600}", r"\x4"),
    *(r"\x{110000}", r"\a", r"\b", r"\B", r"\A", r"\z", r"\Z", r"\C", r"\G", r"\é", "\\"),
    *(r"\Qa+b\E", r"\Qa", r"\E", r"\Q\E"),
)
_BRACKETS = (
    *("[abc]", "[^a]", "[]a]", "[a-]", "[z-a]", "[a", "[[:alpha:]]", "[[:nope:]]", "[[:x]", "]"),
    *(r"[\d-z]", r"[a-\d]", r"[\b]", "[[:^digit:]-x]", "[a-b-c]", "[-a]", r"[\Q]", "[^]]", "["),
)
_GROUPS = (
    *("(", ")", "(?:", "(?i)", "(?i:", "(?-s)", "(?i-s:", "(?-)", "(?)", "(?P<n>", "(?<n>", "(?x)"),
    *("(?=", "(?!", "(?<=", "(?P=n)", "(?#x)", "(?>", "(?<n-m>", "(?P<>", "(?--i)", "(?P<m"),
)
_REPEATS = (
    *("*", "+", "?", "*?", "++", "{2}", "{2,}", "{,2}", "{3,2}", "{1001}", "{2,1001}", "{01}"),
    *("{100}", "{0}", "{0,20}", "{99999999999}", "{", "{a}", "{1", "{1,", "}"),
)
_PLAIN = ("a", "5", ".", "^", "$", "|", "-", "/", " ", "é", "\n", ":", "<", "~")

PATTERNS = st.lists(
    st.one_of(
        *map(st.sampled_from, (_PLAIN, (*_CLASSES, *_ESCAPES), _BRACKETS, _GROUPS, _REPEATS)),
        st.sampled_from(("(", ")", ")", "(?:")),
    ),
    max_size=9,
).map("".join)
_NAMES = ("up", "a:b", "sum", "on", "inf", "by", "__name__", "code", "2x", "a.b", "bool", "offset")
_SIGNS = ("{", "}", "{", "}", ",", "=", "=~", "!=", "!~", "~=", "==", " ", "\n", "# x\n", "[5m]")
_TEXTS = (
    *('"5.."', "'5..'", "`5..`", r'"5\d"', r'"5\\d"', r"`5\d`", r'"\x41"', r"'\"'", r'"\'"'),
    *(r'"\061"', r'"\u00e9"', r'"\U0010FFFF"', r'"\U00110000"', '"', "'", "`", '"a\nb"', "`a\nb`"),
)
_PIECES = ('up{code="5"', 'up{code=~"5', "up{code!=", "}", 'code=~"(a|b)"', 'code=~"(a|b"')
SELECTORS = st.lists(st.sampled_from((*_NAMES, *_SIGNS, *_TEXTS, *_PIECES)), max_size=9).map(
    "".join
)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.settings.url) as found:
        yield found


def accepted(client: httpx.Client, selector: str) -> bool:
    answer = client.post("/api/v1/format_query", data={"query": selector}).json()
    return bool(answer["status"] == "success")


slow = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@slow
@given(pattern=PATTERNS)
def test_regular_expressions_are_those_of_prometheus(client: httpx.Client, pattern: str) -> None:
    quoted = json.dumps(pattern, ensure_ascii=False)
    fault = re2.fault(pattern)
    assert (fault is None) == accepted(client, f"up{{a=~{quoted}}}"), fault


@slow
@given(text=SELECTORS)
def test_what_prometheus_refuses_is_refused(client: httpx.Client, text: str) -> None:
    try:
        promql.check_expressions(promql.parse(text).matchers)
    except ValueError:
        return
    assert accepted(client, text)


@slow
@given(
    conditions=st.lists(
        st.tuples(
            st.sampled_from(("code", "le", "on", "bool", "_x")),
            st.sampled_from(("=", "!=", "=~", "!~")),
            st.text(st.characters(codec="utf-8", exclude_characters="`"), max_size=4),
            st.sampled_from("\"'`"),
        ),
        max_size=4,
    ),
    space=st.sampled_from(("", " ", "\n", "\t")),
    last=st.booleans(),
)
def test_what_prometheus_accepts_is_accepted_with_the_same_values(
    client: httpx.Client, conditions: list[tuple[str, str, str, str]], space: str, last: bool
) -> None:
    written = [f"{label}{space}{sign}{_quoted(value, by)}" for label, sign, value, by in conditions]
    text = f"up{space}{{{f',{space}'.join(written)}{',' if last and written else ''}}}"
    if not accepted(client, text):
        return
    parsed = promql.parse(text)
    promql.check_expressions(parsed.matchers)
    assert parsed.matchers == tuple(tuple(each[:3]) for each in conditions)


def _quoted(value: str, by: str) -> str:
    if by == "`":
        return f"`{value}`"
    plain = json.dumps(value, ensure_ascii=False)
    return plain if by == '"' else "'" + plain[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"
