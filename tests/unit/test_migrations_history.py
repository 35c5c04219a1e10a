"""The history's laws: what is left is what is not finished, whatever was interrupted."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsrelease.migrations.history import (
    HistoryRow,
    State,
    downs,
    fold,
    objections,
    pending,
    without_down,
)
from tarsrelease.migrations.statements import SqlFile, read_statements
from tarsrelease.model.bundle import Migration

START = datetime(2026, 11, 23, tzinfo=UTC)
TEXTS = {"a.sql": "SELECT 1; SELECT 2; SELECT 3;", "b.sql": "SELECT 4;"}
FILES = {name: read_statements(name, text.encode()) for name, text in TEXTS.items()}
MIGRATIONS = tuple(
    Migration(
        file=name,
        phase="expand",
        order=order,
        sha256=hashlib.sha256(TEXTS[name].encode()).hexdigest(),
        down="rollback/all.sql",
    )
    for order, name in enumerate(TEXTS, 1)
)


def row(
    number: int,
    file: SqlFile,
    statement: int,
    *,
    finished: bool = True,
    direction: str = "up",
    undoes: tuple[str, ...] = (),
    release: str = "1.0.1",
) -> HistoryRow:
    at = START + timedelta(seconds=number)
    return HistoryRow(
        id=number,
        release=release,
        file=file.file,
        direction=direction,
        statement=statement,
        statements=len(file.statements),
        sha256=file.statements[statement - 1].sha256,
        file_sha256=file.sha256,
        undoes=undoes,
        started=at,
        finished=at if finished else None,
        by="somebody@here",
        run=f"run-{number}",
    )


def left(state: State) -> list[tuple[str, int]]:
    return [
        (work.file.file, statement.number)
        for work in pending(MIGRATIONS, FILES, state, "expand")
        for statement in work.statements
    ]


ALL = [("a.sql", 1), ("a.sql", 2), ("a.sql", 3), ("b.sql", 1)]


@given(st.lists(st.integers(0, 3), max_size=4))
def test_after_any_interruptions_what_is_left_is_what_is_not_finished(broken: list[int]) -> None:
    """Each statement is tried once for every time it was interrupted, and then finishes."""
    rows: list[HistoryRow] = []
    for position, (name, statement) in enumerate(ALL):
        tries = broken.count(position)
        for finished in [False] * tries + [True]:
            rows.append(row(len(rows), FILES[name], statement, finished=finished))
            state = fold(rows)
            assert left(state) == ALL[position + finished :]
            assert not objections(MIGRATIONS, FILES, state, release="1.0.1", phase="expand")
            work = pending(MIGRATIONS, FILES, state, "expand")
            if not finished:
                assert work[0].interrupted == rows[-1]
    assert all(fold(rows).applied(name) for name in TEXTS)


@given(st.permutations(range(4)))
def test_the_order_in_which_rows_are_read_does_not_matter(order: list[int]) -> None:
    rows = [row(n, FILES[name], statement) for n, (name, statement) in enumerate(ALL)]
    assert fold(rows[n] for n in order) == fold(rows)


UNDO = read_statements("rollback/all.sql", b"SELECT 'x'; SELECT 'y';")


def test_a_down_file_undoes_all_that_name_it_once_it_is_finished() -> None:
    up = [row(n, FILES[name], statement) for n, (name, statement) in enumerate(ALL)]
    assert downs(MIGRATIONS, fold(up)) == [("rollback/all.sql", ("b.sql", "a.sql"))]
    names = ("b.sql", "a.sql")
    half = [*up, row(10, UNDO, 1, direction="down", undoes=names)]
    assert fold(half).undoing is not None
    assert fold(half).applied("a.sql")
    against = objections(MIGRATIONS, FILES, fold(half), release="1.0.1", phase="expand")
    assert "rollback/all.sql stopped after 1 of 2" in against[0]
    whole = [*half, row(11, UNDO, 2, direction="down", undoes=names)]
    assert fold(whole) == State({})
    assert left(fold(whole)) == ALL
    assert without_down(MIGRATIONS, fold(up)) == []


@pytest.mark.parametrize("text", ["SELECT 9; SELECT 2; SELECT 3;", "SELECT 1;"])
def test_a_half_applied_file_may_change_only_behind_what_is_finished(text: str) -> None:
    rows = [row(0, FILES["a.sql"], 1), row(1, FILES["a.sql"], 2)]
    changed = {**FILES, "a.sql": read_statements("a.sql", text.encode())}
    assert objections(MIGRATIONS, changed, fold(rows), release="1.0.1", phase="expand")
    corrected = {**FILES, "a.sql": read_statements("a.sql", b"SELECT 1; SELECT 2; SELECT 33;")}
    assert not objections(MIGRATIONS, corrected, fold(rows), release="1.0.1", phase="expand")


def test_a_whole_applied_file_may_not_change_at_all_not_even_its_comments() -> None:
    rows = [row(n, FILES["a.sql"], n) for n in (1, 2, 3)]
    changed = {**FILES, "a.sql": read_statements("a.sql", TEXTS["a.sql"].encode() + b"-- more\n")}
    [found] = objections(MIGRATIONS, changed, fold(rows), release="1.0.1", phase="expand")
    assert "a.sql was changed after it was applied" in found
