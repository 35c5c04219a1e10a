"""Selectors: what is refused before a release, and how placeholders are filled in."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_gates_share import rollout

from tarsrelease.gates.measure.selectors import render
from tarsrelease.model import promql
from tarsrelease.model.rollout import ProportionSli

NAMES = {"service": ["cart", "mailer", "search"], "track": ["canary", "stable"]}
VERSIONS = ["2.0.0", "1.9.3+build-5"]
TEXT = st.text(st.sampled_from("ab-_/"), max_size=4)


def filled(template: str) -> str:
    return render(template, rollout(), "prod", VERSIONS, 60)


def expression(template: str) -> str:
    """The regular expression of the selector's one matcher."""
    [matcher] = promql.parse(filled(template)).matchers
    return matcher.value


@pytest.mark.parametrize(
    ("template", "matches", "differs"),
    [
        ('x{b=~"${namespace}_$service"}', "prod_search", "search"),
        ('x{b=~"$service-canary"}', "cart-canary", "cart"),
        ("x{b=~'$service-canary'}", "cart-canary", "cart"),
        ("x{b=~`$service-$version`}", "cart-1.9.3+build-5", "cart-1x9.3+build-5"),
        ('x{b=~"($service|other)"}', "other", "card"),
        ('x{b=~"$service.*"}', "cart-7d9f", "ca"),
        ('x{b=~"a${version}b"}', "a2.0.0b", "2.0.0b"),
    ],
)
def test_names_are_grouped_wherever_they_stand(template: str, matches: str, differs: str) -> None:
    assert re.fullmatch(expression(template), matches)
    assert not re.fullmatch(expression(template), differs)


@given(
    name=st.sampled_from(["service", "track", "version"]),
    before=TEXT,
    after=TEXT,
    quote=st.sampled_from("\"'`"),
    operator=st.sampled_from(["=~", "!~"]),
    text=st.text(st.sampled_from("ab-_/cart19.3+build-50"), max_size=12),
)
def test_a_placeholder_matches_exactly_its_names(
    name: str, before: str, after: str, quote: str, operator: str, text: str
) -> None:
    found = expression(f"x{{l{operator}{quote}{before}${{{name}}}{after}{quote}}}")
    names = [f"{before}{each}{after}" for each in (NAMES | {"version": VERSIONS})[name]]
    assert all(re.fullmatch(found, each) for each in names)
    assert bool(re.fullmatch(found, text)) == (text in names)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ('x{code=~"5\\d"}', "unknown escape \\d; write \\\\ for a backslash"),
        ('x{code=~"(5.."}', "a ( is not closed"),
        ('x{code=~"5..)"}', "a ) closes nothing"),
        ('x{code=~"(?!5).*"}', "(?!5 is not supported by RE2"),
        ('x{code=~"*"}', "* has nothing to repeat"),
        ('x{code=~"5{1001}"}', "repeats more than 1000 times"),
        ('x{code=~"[5-2]"}', "is no range of characters"),
        ("x{code=~5..}", "expected a text in quotes after code=~"),
        ('x{code~="5.."}', "expected =, !=, =~ or !~ after code"),
        ('x{code=~"5.." path="/"}', "expected }"),
        ('x{co-de=~"5.."}', "expected =, !=, =~ or !~ after co"),
        ('x{code=~"5..}', "expected a text in quotes"),
        ('x{__name__="y"}', "__name__ is given twice"),
        ('nan{code=~"5.."}', "is a word of PromQL"),
        ('rate(x{code=~"5.."}[5m])', "counts are made from raw samples"),
        ('x{service="$service"}', "match $service, $track and $version with =~"),
        ("x{service='a-$service'}", "match $service, $track and $version with =~"),
        ("x{service=`$service`}", "match $service, $track and $version with =~"),
        ('x{service!="$service"}', "match $service, $track and $version with =~"),
    ],
)
def test_a_selector_that_prometheus_refuses_is_refused(selector: str, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        ProportionSli(kind="proportion", of='x{a="b"}', bad=selector)


@pytest.mark.parametrize(
    "selector",
    [
        "x{}",
        'x {code=~"5..",}',
        'x{code=~"5\\\\d",path!~`/a\\d+`}',
        'x{\n  code=~"5..",  # server errors\n  path!="/{a}"\n}',
        'x{code=~"5..$$",service=~"a$service{1,2}"}',
        'x{class=~"(?i)[[:alpha:]]+\\\\pL\\\\z"}',
    ],
)
def test_a_selector_that_prometheus_accepts_is_accepted(selector: str) -> None:
    ProportionSli(kind="proportion", of=selector, bad=selector)


def test_conditions_are_added_after_those_of_a_selector() -> None:
    more = 'cluster="eu1",region!~"us.*"'
    assert promql.with_matchers("x{}", more) == f"x{{{more}}}"
    assert promql.with_matchers('x{a="}"}', more) == f'x{{a="}}",{more}}}'
    assert promql.with_matchers('x{a="b", }', more) == f'x{{a="b",{more}, }}'
    assert promql.with_matchers('x{a="b"}', "") == 'x{a="b"}'
