"""Positions of sequences, and what functions remove by their text, as pure values."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsrelease.migrations.routines import Routine, called_by, removals
from tarsrelease.migrations.sequences import Position, is_set
from tarsrelease.migrations.statements import read_statements

AT = Position(16412, True, 0, 1, 1, 2**63 - 1)


def nextval(position: Position) -> Position:
    """As PostgreSQL's sequence.c does it, in a session without cached values."""
    last, log, cached = position.last_value, position.log_count, position.cache
    if not position.is_called:
        cached -= 1  # the position itself is the first value
    if log < position.cache or not position.is_called:
        log = cached + 32
    last += cached * position.increment
    return replace(position, last_value=last, is_called=True, log_count=log - cached)


@given(
    st.integers(0, 200),
    st.integers(1, 200),
    st.sampled_from([1, 10, -1, -7]),
    st.sampled_from([1, 2, 7, 32, 50]),
    st.booleans(),
)
def test_taking_values_is_not_taken_for_setting(
    earlier: int, now: int, increment: int, cache: int, called: bool
) -> None:
    bound = AT.bound if increment > 0 else -AT.bound
    before = replace(AT, increment=increment, cache=cache, is_called=called, bound=bound)
    for _ in range(earlier):
        before = nextval(before)
    after = before
    for _ in range(now):
        after = nextval(after)
    assert not is_set(before, after)


@pytest.mark.parametrize(
    "after",
    [
        replace(AT, last_value=1),
        replace(AT, last_value=1, is_called=False),
        replace(AT, is_called=False),
        replace(AT, last_value=2, log_count=32),  # and a value taken afterwards
        replace(AT, last_value=20000),
        replace(AT, last_value=900_000, log_count=32),
        replace(AT, last_value=16415, increment=10, log_count=32),
    ],
)
def test_setting_is_found(after: Position) -> None:
    assert is_set(AT, after)
    assert not is_set(after, after)


ROUTINES = {
    1: Routine("s.a()", "a", "BEGIN PERFORM s.B (1); END"),
    2: Routine("s.b(x integer)", "b", "BEGIN DELETE\n FROM t; EXECUTE 'drop table x'; END"),
    3: Routine("s.c()", "c", "-- delete from t\nSELECT 1 /* truncate t */"),
    4: Routine("s.d()", "d", "BEGIN PERFORM d(); END"),
}


@pytest.mark.parametrize(
    ("sql", "removes"),
    [
        ("SELECT s.a()", True),
        ('CALL "a"()', True),
        ("DO $$BEGIN PERFORM s.b(1); END$$", True),
        ("DO $$BEGIN -- b()\nNULL; END$$", False),
        ("SELECT c(), d()", False),
        ("CREATE VIEW v AS SELECT a()", False),
        ("CREATE TABLE v AS SELECT a()", True),
        ("CREATE POLICY p ON t USING (a())", False),
    ],
)
def test_what_is_called_is_followed(sql: str, removes: bool) -> None:
    [statement] = read_statements("a.sql", sql.encode()).statements
    lines = ["s.b(x integer), which has DELETE FROM, DROP TABLE"]
    assert removals(called_by(statement), (), ROUTINES) == (lines if removes else [])


def test_near_the_end_of_a_sequence_no_values_are_logged() -> None:
    assert not is_set(replace(AT, bound=16413), replace(AT, bound=16413, last_value=16413))


def test_what_was_executed_is_followed() -> None:
    assert removals((), [1, 99], ROUTINES) == removals(["b"], (), ROUTINES) != []
