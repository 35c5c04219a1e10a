"""An index counts as built, or is replaced, only if an interrupted attempt of ours has left it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from migration_rig import Rig, Sql

from tarsrelease.model.errors import RefusedError, ReleaseError
from tarsrelease.model.outcome import ExitCode, Outcome, Status

UP = "CREATE UNIQUE INDEX CONCURRENTLY i ON missions (lower(name), id DESC) WHERE id > 0;"
OTHERS = [
    "CREATE INDEX i ON missions (lower(name), id DESC) WHERE id > 0",
    "CREATE UNIQUE INDEX i ON missions (lower(name), id) WHERE id > 0",
    "CREATE UNIQUE INDEX i ON missions (lower(name), id DESC)",
    "CREATE UNIQUE INDEX i ON missions (id)",
]


def interrupted(rig: Rig, sql: str, index: str) -> None:
    """The history and the index after an attempt that was cut off before it recorded its end."""
    rig.up(rig.release({"a.sql": Sql(sql)}))
    with rig.connect() as connection:
        connection.execute("UPDATE tarsrelease_migrations SET finished = NULL")
        connection.execute("DROP INDEX i")
        connection.execute(index.encode())


@pytest.mark.parametrize("index", OTHERS)
def test_another_index_of_the_name_is_not_taken_for_the_one_that_was_begun(
    rig: Rig, index: str
) -> None:
    interrupted(rig, UP, index)
    with pytest.raises(RefusedError) as caught:
        rig.up(rig.release({"a.sql": Sql(UP)}), run="second")
    assert "another index i exists: it is " in caught.value.detail.found
    assert rig.history()[-1].finished is None


def test_the_index_that_was_begun_is_finished(rig: Rig) -> None:
    interrupted(rig, UP, UP.replace(" CONCURRENTLY", ""))
    assert rig.up(rig.release({"a.sql": Sql(UP)}), run="second").exit_code is ExitCode.DONE
    assert rig.history()[-1].finished is not None


def test_if_not_exists_does_not_accept_another_index(rig: Rig) -> None:
    with rig.connect() as connection:
        connection.execute("CREATE INDEX i ON missions (agent)")
    sql = "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON missions (name);"
    with pytest.raises(RefusedError) as caught:
        rig.up(rig.release({"a.sql": Sql(sql)}))
    assert "it is btree (agent), not btree (name)" in caught.value.detail.found
    with rig.connect() as connection:
        connection.execute("DROP INDEX i")
        connection.execute("CREATE INDEX i ON missions (name)")
    assert rig.up(rig.release({"a.sql": Sql(sql)})).exit_code is ExitCode.DONE


@contextmanager
def open_write(rig: Rig) -> Iterator[None]:
    """A transaction that has written to missions, so that a build waits for it."""
    with rig.connect() as connection:
        connection.execute("BEGIN")
        connection.execute("UPDATE missions SET id = id WHERE id = 1")
        yield


def left_by_hand(rig: Rig, statement: str) -> None:
    """What a person's build, or REINDEX, leaves when it is cancelled."""
    with rig.connect() as builder, open_write(rig):
        builder.execute("SET statement_timeout = '500ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            builder.execute(statement.encode())


def refused(rig: Rig, sql: str) -> str:
    """What `up` says when it refuses; `plan` says the same."""
    release = rig.release({"a.sql": Sql(sql)})
    planned = [one.reason for one in rig.plan(release).checks if one.status is Status.FAIL]
    with pytest.raises(ReleaseError) as caught:
        rig.up(release, run="second")
    detail = caught.value.detail
    assert any(detail.found in reason for reason in planned), planned
    return f"{detail.found}; {detail.next}"


@pytest.mark.parametrize("absent", ["", "IF NOT EXISTS "])
def test_an_invalid_index_that_the_history_does_not_know_is_not_dropped(
    rig: Rig, absent: str
) -> None:
    left_by_hand(rig, "CREATE INDEX CONCURRENTLY i ON missions (name)")
    found = refused(rig, f"CREATE INDEX CONCURRENTLY {absent}i ON missions (name);")
    assert "a.sql:1: index i exists and is INVALID" in found
    assert "this history has no interrupted attempt" in found
    assert "DROP INDEX CONCURRENTLY i" in found
    assert rig.invalid_indexes() == ["i"]
    assert rig.history() == []


def test_an_invalid_index_of_a_statement_that_was_changed_since_is_not_dropped(rig: Rig) -> None:
    interrupted(rig, UP, "SELECT 1")
    left_by_hand(rig, "CREATE INDEX CONCURRENTLY i ON missions (agent)")
    found = refused(rig, "CREATE INDEX CONCURRENTLY i ON missions (agent);")
    assert "index i exists and is INVALID" in found
    assert rig.invalid_indexes() == ["i"]


def test_another_invalid_index_of_the_name_is_not_dropped_for_an_interrupted_attempt(
    rig: Rig,
) -> None:
    interrupted(rig, UP, "SELECT 1")
    left_by_hand(rig, "CREATE INDEX CONCURRENTLY i ON missions (agent)")
    assert "another index i exists: it is btree (agent)" in refused(rig, UP)
    assert rig.invalid_indexes() == ["i"]


def test_the_invalid_index_of_an_interrupted_attempt_is_built_anew(rig: Rig) -> None:
    interrupted(rig, UP, "SELECT 1")
    left_by_hand(rig, UP)
    outcome = rig.up(rig.release({"a.sql": Sql(UP)}), run="second")
    assert repaired(outcome) == 1
    assert rig.invalid_indexes() == []
    assert [row.finished is not None for row in rig.history()] == [False, True]


def repaired(outcome: Outcome) -> object:
    return outcome.details.model_dump(mode="json")["repaired"]


def test_an_index_of_the_same_definition_on_another_table_is_another_index(rig: Rig) -> None:
    sql = "CREATE INDEX CONCURRENTLY i ON missions (id);"
    interrupted(rig, sql, "CREATE INDEX i ON traces (id)")
    assert "another index i exists: it is on traces" in refused(rig, sql)


def test_without_temporary_tables_nothing_is_taken_for_proven(rig: Rig) -> None:
    interrupted(rig, UP, "CREATE INDEX i ON missions (agent)")
    with rig.connect("postgres") as admin:
        admin.execute(f"ALTER DATABASE {rig.name} OWNER TO postgres")
        admin.execute(f"REVOKE TEMPORARY ON DATABASE {rig.name} FROM PUBLIC, tars")
    found = refused(rig, UP)
    assert "comparing it with the statement needs a temporary table" in found
    assert "GRANT TEMPORARY ON DATABASE" in found


REINDEXES = ["REINDEX TABLE CONCURRENTLY public.missions;", "REINDEX INDEX CONCURRENTLY i;"]


@pytest.mark.parametrize("sql", REINDEXES)
def test_the_rest_of_a_reindex_that_the_history_does_not_know_is_not_dropped(
    rig: Rig, sql: str
) -> None:
    with rig.connect() as connection:
        connection.execute("CREATE INDEX i ON missions (name)")
    left_by_hand(rig, "REINDEX INDEX CONCURRENTLY i")
    found = refused(rig, sql)
    assert "i_ccnew is INVALID" in found
    assert "DROP INDEX CONCURRENTLY i_ccnew" in found
    assert rig.invalid_indexes() == ["i_ccnew"]
    with rig.connect() as connection:
        connection.execute("DROP INDEX i_ccnew")
    assert rig.up(rig.release({"a.sql": Sql(sql)})).exit_code is ExitCode.DONE


@pytest.mark.parametrize("sql", REINDEXES)
def test_the_rest_of_an_interrupted_reindex_is_dropped(rig: Rig, sql: str) -> None:
    with rig.connect() as connection:
        connection.execute("CREATE INDEX i ON missions (name)")
        connection.execute("CREATE INDEX other ON missions (agent)")
    rig.up(rig.release({"a.sql": Sql(sql)}))
    with rig.connect() as connection:
        connection.execute("UPDATE tarsrelease_migrations SET finished = NULL")
    left_by_hand(rig, "REINDEX INDEX CONCURRENTLY i")
    assert repaired(rig.up(rig.release({"a.sql": Sql(sql)}), run="second")) == 1
    assert rig.invalid_indexes() == []


def test_the_copy_of_another_index_is_not_in_the_way(rig: Rig) -> None:
    with rig.connect() as connection:
        connection.execute("CREATE INDEX i ON missions (name)")
        connection.execute("CREATE INDEX other ON missions (agent)")
    left_by_hand(rig, "REINDEX INDEX CONCURRENTLY other")
    assert rig.up(rig.release({"a.sql": Sql(REINDEXES[1])})).exit_code is ExitCode.DONE
    assert rig.invalid_indexes() == ["other_ccnew"]


def test_a_drop_counts_as_done_only_after_an_attempt_of_ours(rig: Rig) -> None:
    sql = "DROP INDEX CONCURRENTLY i;"
    with pytest.raises(RefusedError) as caught:
        rig.up(rig.release({"a.sql": Sql(sql)}))
    assert 'index "i" does not exist' in caught.value.detail.found
    assert [row.error for row in rig.history()] == ['42704: index "i" does not exist']
    with pytest.raises(RefusedError):
        rig.up(rig.release({"a.sql": Sql(sql)}), run="second")
    with rig.connect() as connection:
        connection.execute("UPDATE tarsrelease_migrations SET error = NULL")
    assert rig.up(rig.release({"a.sql": Sql(sql)}), run="third").exit_code is ExitCode.DONE


def test_a_failed_attempt_owns_nothing_that_comes_later(rig: Rig) -> None:
    sql = "CREATE UNIQUE INDEX CONCURRENTLY i ON missions (status);"
    with pytest.raises(RefusedError):
        rig.up(rig.release({"a.sql": Sql(sql)}))
    assert "could not create unique index" in str(rig.history()[-1].error)
    with rig.connect() as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(sql.encode())
    assert "index i exists and is INVALID" in refused(rig, sql)
    assert rig.invalid_indexes() == ["i"]


def test_an_index_that_the_migration_itself_drops_is_not_in_the_way(rig: Rig) -> None:
    with rig.connect() as connection:
        connection.execute("CREATE INDEX i ON missions (agent)")
    sql = "DROP INDEX CONCURRENTLY i;\nCREATE INDEX CONCURRENTLY i ON missions (name);"
    release = rig.release({"a.sql": Sql(sql)})
    assert rig.plan(release).exit_code is ExitCode.DONE
    assert rig.up(release).exit_code is ExitCode.DONE


def test_a_history_of_an_earlier_version_is_completed(rig: Rig) -> None:
    rig.up(rig.release({"a.sql": Sql("ALTER TABLE missions ADD COLUMN c int;")}))
    with rig.connect() as connection:
        connection.execute("ALTER TABLE tarsrelease_migrations DROP COLUMN error")
    assert [row.error for row in rig.history()] == [None]
    later = {"a.sql": Sql("ALTER TABLE missions ADD COLUMN c int;"), "b.sql": Sql(UP, order=2)}
    assert rig.up(rig.release(later), run="second").exit_code is ExitCode.DONE
