"""Statements, locks, guards, dumps and assertions as pure values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsrelease.migrations import statements
from tarsrelease.migrations.assertions import (
    IndexState,
    QueryRun,
    answer_check,
    column_check,
    index_check,
    query_check,
)
from tarsrelease.migrations.backoff import pause
from tarsrelease.migrations.dangers import Duration, duration_class
from tarsrelease.migrations.dumps import difference, executable
from tarsrelease.migrations.guards import Vitals, exceeded, guard_checks
from tarsrelease.migrations.locks import Mode, TableLock, mode_of, strongest_each
from tarsrelease.migrations.losses import losses
from tarsrelease.migrations.statements import NonTransactional, read_statements
from tarsrelease.model.bundle import ColumnAssertion, IndexAssertion, QueryAssertion
from tarsrelease.model.cluster import PodState
from tarsrelease.model.database import DatabaseGuards, DatabaseUsage
from tarsrelease.model.errors import UsageError
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Status
from tarsrelease.operations.migrations.contract import ways_back
from tarsrelease.rollout.release_journal import DEPLOY, PROMOTE

PASS, FAIL = Status.PASS, Status.FAIL

# Statements

TRICKY = """-- a comment; with a semicolon
CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $body$
BEGIN
  RETURN 'a;b'; -- ; here, too
END $body$;

/* block ; comment */ SELECT 'ü; \\';
SELECT 1"""


def test_statements_are_split_where_postgresql_splits_them() -> None:
    file = read_statements("x.sql", TRICKY.encode())
    assert [(one.number, one.line) for one in file.statements] == [(1, 2), (2, 7), (3, 8)]
    assert file.statements[1].text == "SELECT 'ü; \\'"
    assert file.statements[2].text == "SELECT 1"


def test_an_allowance_behind_a_statement_does_not_allow_the_next_one() -> None:
    text = "DROP TABLE a; -- tarsrelease:allow breaks-running-version: gone\nDROP TABLE b;"
    with pytest.raises(UsageError, match=r"x\.sql:1: an allowance behind its statement"):
        read_statements("x.sql", text.encode())
    text = "DROP TABLE a;\n-- tarsrelease:allow breaks-running-version: gone\nDROP TABLE b;"
    assert [len(one.allowed) for one in read_statements("x.sql", text.encode()).statements] == [
        0,
        1,
    ]


@given(st.lists(st.sampled_from(["SELECT 1", "SELECT 'ä'", "-- x\nSELECT 2", "VACUUM t"])))
def test_every_statement_is_found_once_and_at_its_line(parts: list[str]) -> None:
    text = ";\n".join(parts)
    if not parts:
        with pytest.raises(UsageError, match="no statement"):
            read_statements("x.sql", text.encode())
        return
    found = read_statements("x.sql", text.encode()).statements
    assert [one.text for one in found] == [part.split("\n")[-1] for part in parts]
    lines = text.split("\n")
    assert all(lines[one.line - 1].startswith(one.text) for one in found)


@pytest.mark.parametrize(
    ("sql", "non_transactional", "names", "table"),
    [
        ("CREATE INDEX CONCURRENTLY i ON s.t (a)", NonTransactional.CREATE_INDEX, ("s.i",), "s.t"),
        (
            'CREATE UNIQUE INDEX CONCURRENTLY "I" ON t (a)',
            NonTransactional.CREATE_INDEX,
            ("I",),
            "t",
        ),
        ("DROP INDEX CONCURRENTLY s.i", NonTransactional.DROP_INDEX, ("s.i",), None),
        ("REINDEX TABLE CONCURRENTLY t", NonTransactional.REINDEX, ("t",), None),
        ("REINDEX (CONCURRENTLY) INDEX i", NonTransactional.REINDEX, ("i",), None),
        ("VACUUM (ANALYZE) t", NonTransactional.VACUUM, ("t",), None),
        ("CREATE INDEX i ON t (a)", None, (), None),
        ("DROP INDEX i", None, (), None),
        ("ANALYZE t", None, (), None),
        ("REINDEX INDEX i", None, (), None),
    ],
)
def test_what_runs_outside_a_transaction(
    sql: str, non_transactional: NonTransactional | None, names: tuple[str, ...], table: str | None
) -> None:
    [one] = read_statements("x.sql", sql.encode()).statements
    assert (one.non_transactional, one.names, one.table) == (non_transactional, names, table)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"SELECT 1;\nSELEC 2;", "x.sql:2: syntax error"),
        (b"\\i other.sql", "x.sql:1: syntax error"),
        (b"SELECT '\xff'", "x.sql:1: not UTF-8 at byte 8"),
        (b"-- nothing\n", "x.sql:1: no statement"),
    ],
)
def test_what_is_no_sql_is_refused_with_its_line(content: bytes, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_statements("x.sql", content)
    assert words in refused.value.detail.found


def test_an_allowance_belongs_to_the_statement_below_it() -> None:
    sql = "SELECT 1;\n-- tarsrelease:allow vacuum-full: small, 3 MB\nVACUUM FULL t;\nSELECT 2;"
    found = [dict(one.allowed) for one in read_statements("x.sql", sql.encode()).statements]
    assert found == [{}, {"vacuum-full": "small, 3 MB"}, {}]


def test_losses_are_columns_and_tables() -> None:
    sql = "ALTER TABLE s.t DROP COLUMN a, DROP COLUMN IF EXISTS b, ADD COLUMN c int;"
    sql += "DROP TABLE x, y; TRUNCATE z; DROP INDEX i; DELETE FROM d WHERE true"
    found = [
        loss.what
        for one in read_statements("x.sql", sql.encode()).statements
        for loss in losses(one)
    ]
    assert found == ["s.t.a", "s.t.b", "x", "y", "z", "d"]


# Locks, durations, backing off


def test_lock_modes_are_ordered_and_named_as_in_the_manual() -> None:
    assert mode_of("ShareUpdateExclusiveLock") is Mode.ShareUpdateExclusive
    assert Mode.ShareUpdateExclusive.words == "SHARE UPDATE EXCLUSIVE"
    assert Mode.AccessExclusive.blocks == "reads and writes"
    assert Mode.Share.blocks == "writes"
    locks = [TableLock("t", Mode.Share), TableLock("u", Mode.RowShare)]
    locks.append(TableLock("t", Mode.AccessExclusive))
    assert [str(one) for one in strongest_each(locks)] == [
        "ACCESS EXCLUSIVE on t",
        "ROW SHARE on u",
    ]


@pytest.mark.parametrize(
    ("seconds", "duration"),
    [(0.99, "instant"), (1, "seconds"), (60, "minutes"), (3599, "minutes"), (3600, "hours")],
)
def test_duration_classes(seconds: float, duration: str) -> None:
    assert duration_class(seconds) is Duration(duration)


@given(st.integers(1, 200), st.floats(0, 1, exclude_max=True))
def test_backing_off_is_never_immediate_and_never_longer_than_45_seconds(
    attempt: int, random: float
) -> None:
    assert 0.25 <= pause(attempt, random) <= 45
    assert pause(attempt + 1, random) >= pause(attempt, random)


# Guards

CALM = Vitals(0.0, 1.0, 50, 10**9, cpu=0.5, memory=1e9)
USAGE = DatabaseUsage(cpu="c", cpu_below=2.0, memory="m", memory_below=2e9)
LIMITS = DatabaseGuards(volume=4e9, usage=USAGE)


def faults(vitals: Vitals, growth: float = 0.0) -> list[str]:
    return [check.id for check in exceeded(guard_checks(vitals, LIMITS, growth))]


def test_guards_at_and_beyond_their_limits() -> None:
    from dataclasses import replace

    assert faults(CALM) == []
    assert faults(replace(CALM, replication_lag=10.0)) == []
    assert faults(replace(CALM, replication_lag=10.1)) == ["database.replication_lag"]
    assert faults(replace(CALM, oldest_transaction=301.0)) == ["database.oldest_transaction"]
    assert faults(replace(CALM, free_connections=4)) == ["database.connections"]
    assert faults(replace(CALM, free_connections=5)) == []
    assert faults(replace(CALM, cpu=2.1)) == ["database.cpu"]
    assert faults(replace(CALM, memory=2.1e9)) == ["database.memory"]
    assert faults(CALM, growth=2.5e9) == ["database.disk"]


def test_what_cannot_be_seen_is_never_a_pass() -> None:
    blind = Vitals(None, None, None, None, why="hidden")
    checks = guard_checks(blind, LIMITS)
    assert PASS not in {check.status for check in checks}
    assert faults(blind) == ["database.cpu", "database.memory"], "what should be read must be"
    unset = guard_checks(CALM, DatabaseGuards())
    assert {c.id for c in unset if c.status is Status.SKIPPED} == {
        "database.disk",
        "database.cpu",
        "database.memory",
    }


# Dumps


def test_dumps_are_compared_without_comments_and_random_keys() -> None:
    one = (
        "--\n-- Name: t\n\\restrict abc\n\nCREATE TABLE t (\n    a integer\n);\n\\unrestrict abc\n"
    )
    two = "-- other\n\\restrict xyz\nCREATE TABLE t (\n    a integer\n);\n"
    assert difference(one, two, names=("a", "b")) == []
    assert "restrict" not in executable(one)
    three = two.replace("integer", "bigint")
    assert "-    a integer" in difference(two, three, names=("a", "b"))


# Assertions

INDEX = IndexAssertion(kind="index", index="i", table="t", columns=("a", "b DESC"))
FOUND = IndexState("t", ("a", "b DESC"), valid=True, ready=True)


def test_an_index_must_be_valid_ready_and_on_its_columns() -> None:
    from dataclasses import replace

    assert index_check(INDEX, FOUND, "f").status is PASS
    assert index_check(INDEX, None, "f").status is FAIL
    for change in (
        {"valid": False},
        {"ready": False},
        {"columns": ("a", "b")},
        {"columns": ("b DESC", "a")},
        {"table": "u"},
    ):
        assert index_check(INDEX, replace(FOUND, **change), "f").status is FAIL, change


def test_a_column_must_have_its_type() -> None:
    wanted = ColumnAssertion(kind="column", table="t", column="c", type="text")
    assert column_check(wanted, "text", "f").status is PASS
    assert column_check(wanted, "bigint", "f").status is FAIL
    assert column_check(wanted, None, "f").status is FAIL


@pytest.mark.parametrize(
    ("seconds", "indexes", "status"),
    [(0.049, {"i"}, PASS), (0.05, {"i"}, FAIL), (0.01, {"j"}, FAIL), (0.01, set(), FAIL)],
)
def test_a_query_must_be_fast_and_use_its_index(
    seconds: float, indexes: set[str], status: Status
) -> None:
    wanted = QueryAssertion(kind="query", query="SELECT 1", within=0.05, uses_index="s.i")
    run = QueryRun(frozenset(indexes), seconds, 5)
    assert query_check(wanted, run, "f").status is status


def test_the_median_answer_decides() -> None:
    assert answer_check([0.01, 0.02, 5.0], 0.1).status is PASS
    assert answer_check([0.2, 0.02, 5.0], 0.1).status is FAIL


# Contract

NOW = datetime(2026, 11, 25, tzinfo=UTC)
DAY = 86400.0


def entry(action: str, hours_ago: float, phase: Phase = Phase.RESULT, **facts: object) -> Entry:
    at = NOW - timedelta(hours=hours_ago)
    return Entry(at=at, run="r", release="1.0.1", step="s", action=action, phase=phase, facts=facts)


def pod(version: str, *, terminating: bool = False) -> PodState:
    return PodState(
        name=f"p-{version}",
        owner="d",
        track=Track.STABLE,
        version=version,
        ready=True,
        terminating=terminating,
        phase="Running",
        started_at=None,
        containers=(),
    )


DEPLOYED = entry(DEPLOY, 30, Phase.INTENT)
PROMOTED = entry(PROMOTE, 25)


@pytest.mark.parametrize(
    ("entries", "pods", "words"),
    [
        ([], [pod("1.0.1")], "has not been promoted"),
        ([DEPLOYED], [pod("1.0.1")], "has not been promoted"),
        ([DEPLOYED, entry(PROMOTE, 23)], [pod("1.0.1")], "is watched until 2026-11-25 01:00"),
        ([DEPLOYED, PROMOTED, entry("rollback", 1)], [pod("1.0.1")], "was rolled back"),
        ([DEPLOYED, PROMOTED], [pod("1.0.1"), pod("1.0.0")], "pods of 1.0.0 still run"),
        ([DEPLOYED, PROMOTED], [], "nobody can say"),
    ],
)
def test_contract_waits_while_there_is_a_way_back(
    entries: list[Entry], pods: list[PodState], words: str
) -> None:
    assert words in "; ".join(ways_back("1.0.1", entries, pods, NOW, DAY))


def test_contract_comes_when_the_release_is_promoted_watched_and_alone() -> None:
    pods = [pod("1.0.1"), pod("1.0.0", terminating=True)]
    assert ways_back("1.0.1", [DEPLOYED, PROMOTED], pods, NOW, DAY) == []


PARTS = [
    "CREATE TABLE t (a int, b text);\n",
    "-- a comment; with a semicolon;\nINSERT INTO t VALUES (1, 'x;\n;y');\r\n",
    "/* a;\n b */ UPDATE t SET b = $$a;\nb$$ WHERE a = 1;\n",
    "-- tarsrelease:allow long-lock: yes;\nCREATE INDEX CONCURRENTLY i ON t (a);\n",
    "DO $x$BEGIN\n PERFORM 1;\n END$x$;\n",
    "CREATE RULE r AS ON INSERT TO t DO (SELECT 1;\n SELECT 2);\n",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1;\n SELECT 2;\n END;\n",
    "INSERT INTO t VALUES (2, 'Gr\u00fc\u00dfe;\n');SELECT 3;;\n",
]


@pytest.mark.parametrize("part", [1, 40, 300])
@pytest.mark.parametrize("end", ["", "SELECT 1", " -- end", "\nSELEC 1;\nSELECT 2;\n"])
def test_a_large_file_is_read_in_parts_as_if_it_were_read_at_once(
    monkeypatch: pytest.MonkeyPatch, part: int, end: str
) -> None:
    def read() -> object:
        try:
            return read_statements("a.sql", ("".join(PARTS) * 3 + end).encode())
        except UsageError as problem:
            return problem.detail.found

    whole = read()
    monkeypatch.setattr(statements, "_PART", part)
    assert read() == whole
    assert isinstance(whole, str) is ("SELEC " in end)
