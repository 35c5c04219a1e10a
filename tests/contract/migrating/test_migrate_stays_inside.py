"""Nothing in a migration leaves the database, and nothing stays in the session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from migration_rig import Rig, Sql, server_program

from tarsrelease.adapters.postgres.throwaway import ThrowawayServer
from tarsrelease.migrations.rules import check_statement
from tarsrelease.migrations.statements import read_statements
from tarsrelease.model.errors import RefusedError, UsageError
from tarsrelease.model.outcome import ExitCode, Status

LEAVES = [
    "COPY missions FROM PROGRAM 'id';",
    "COPY missions TO PROGRAM 'cat';",
    "COPY missions FROM '/etc/passwd';",
    "COPY (SELECT 1) TO '/tmp/x';",
    "SELECT lo_import('/etc/passwd');",
    "CREATE VIEW v AS SELECT pg_read_file('/etc/passwd');",
    "CREATE EXTENSION plpython3u;",
    "CREATE EXTENSION IF NOT EXISTS dblink;",
    "ALTER SYSTEM SET work_mem = '1GB';",
    "LOAD 'auto_explain';",
    "SELECT * FROM dblink('host=x', 'SELECT 1') AS t(a int);",
    "DO $$BEGIN EXECUTE 'COPY missions FROM PROGRAM ''id'''; END$$;",
    "DO $$BEGIN PERFORM pg_read_file('x'); END$$;",
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS 'return 1';",
    "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$SELECT pg_read_file('x')$$;",
    "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'x', 'y';",
    "COPY missions TO STDOUT;",
    "DO $$BEGIN PERFORM pg_read_file/* it */('x'); END$$;",
    """DO $$BEGIN PERFORM "pg_read_binary_file"('x'); END$$;""",
    "DO $$BEGIN EXECUTE format('COPY missions TO PROGRAM %L', 'x'); END$$;",
    "CREATE FUNCTION f() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT pg_ls_dir('x'); END;",
    "DO LANGUAGE plperlu 'x';",
    "SELECT query_to_xml('SELECT pg_read_file(''x'')', true, true, '');",
    "SELECT lo_export(1, '/tmp/x');",
    "SELECT net.http_post('http://x');",
    "SELECT cron.schedule('x', '* * * * *', 'SELECT 1');",
    "SELECT pg_drop_replication_slot('x');",
    "SELECT * FROM pg_logical_slot_get_changes('x', NULL, NULL);",
    "CREATE EXTENSION postgres_fdw;",
    "IMPORT FOREIGN SCHEMA x FROM SERVER y INTO public;",
    "CREATE FOREIGN TABLE f (a text) SERVER files OPTIONS (program 'id');",
]
STAYS = [
    "CREATE EXTENSION pgcrypto;",
    "INSERT INTO missions (id, name) VALUES (nextval('s'), currval('s'));",
    "CREATE SCHEMA net;",
    "CREATE FUNCTION f(x int) RETURNS int LANGUAGE sql AS 'SELECT x';",
    "INSERT INTO settings VALUES ('pg_read_file(''x'')', 'COPY t FROM PROGRAM');",
    "DO $$BEGIN -- a copy of the file\n PERFORM count(*) FROM missions; END$$;",
]
SESSION = [
    "SELECT set_config('search_path', 'x', false);",
    "CREATE TEMP TABLE t AS SELECT 1;",
    "SELECT 1 AS a INTO TEMP t;",
    "CREATE TEMPORARY VIEW v AS SELECT 1;",
    "CREATE TABLE pg_temp.t (a int);",
    "SELECT pg_advisory_lock(1);",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1';",
    "CREATE TYPE pg_temp.mood AS ENUM ('good');",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1;",
    "INSERT INTO missions (name) VALUES (currval('missions_id_seq'));",
    "SELECT setseed(0.5);",
]
HIDDEN = [
    "DO $$BEGIN PERFORM set_config('work_mem', '2MB', false); END$$;",
    "DO $$BEGIN EXECUTE 'CREATE TE' || 'MP TABLE t (a int)'; END$$;",
    "DO $$BEGIN PERFORM pg_advisory_lock(1); END$$;",
    "DO $$BEGIN EXECUTE 'CREATE FUNCTION pg_te' || "
    "'mp.f() RETURNS int LANGUAGE sql AS '' SELECT 1 '' '; END$$;",
    "DO $$BEGIN SET ROLE pg_monitor; END$$;",
]


def rules(sql: str) -> set[str]:
    file = read_statements("a.sql", sql.encode())
    return {item.rule for one in file.statements for item in check_statement(one, "contract")}


@pytest.mark.parametrize("sql", LEAVES)
def test_lint_refuses_what_leaves_the_database(sql: str) -> None:
    assert "leaves-database" in rules(sql)


@pytest.mark.parametrize("sql", STAYS)
def test_lint_lets_pass_what_only_looks_like_it(sql: str) -> None:
    assert rules(sql) == set()


@pytest.mark.parametrize("sql", SESSION)
def test_lint_refuses_what_ends_with_the_session(sql: str) -> None:
    assert "session-state" in rules(sql)


def test_up_refuses_it_before_connecting(rig: Rig) -> None:
    with pytest.raises(RefusedError) as caught:
        rig.up(rig.release({"a.sql": Sql(LEAVES[0])}), dsn="host=192.0.2.1 user=nobody")
    assert "leaves-database" in caught.value.detail.found


def test_plan_finds_what_a_block_hides_from_the_text(rig: Rig) -> None:
    outcome = rig.plan(rig.release({"a.sql": Sql("\n".join(HIDDEN))}))
    assert outcome.exit_code is ExitCode.NO
    failed = [one.reason for one in outcome.checks if one.status is Status.FAIL]
    assert ["session-state: leaves" in reason for reason in failed] == [True] * len(HIDDEN), failed


def test_a_superusers_migration_has_no_rights_on_the_copys_server(rig: Rig, tmp_path: Path) -> None:
    """Even where the text is hidden so well that lint does not find it."""
    mark = tmp_path / "mark"
    tmp_path.chmod(0o777)
    sql = f"DO $$BEGIN EXECUTE 'CO' || 'PY missions TO PRO' || 'GRAM ''touch {mark}'''; END$$;"
    rig.monkeypatch.setattr(rig, "dsn", lambda user="postgres": rig.server.dsn(rig.name, user))
    outcome = rig.plan(rig.release({"a.sql": Sql(sql)}))
    assert outcome.exit_code is ExitCode.NO
    failed = [one.reason for one in outcome.checks if one.status is Status.FAIL]
    assert any("COPY to or from an external program" in one for one in failed)
    assert not mark.exists()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, version: int) -> Iterator[ThrowawayServer]:
    monkeypatch.setenv("TARS_DATABASE_DSN", "postgresql://u:secret@h/d")
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    with ThrowawayServer(server_program(version)) as server:
        yield server


def test_the_copys_server_has_no_network_and_an_empty_environment(
    alone: ThrowawayServer, version: int
) -> None:
    pid = int((alone.data / "postmaster.pid").read_text().splitlines()[0])
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"secret" not in environment
    assert b"TOKEN" not in environment
    # Before PostgreSQL 15, the server's statistics need the loopback interface.
    with_network = Path("/proc/self/ns/net").readlink() == Path(f"/proc/{pid}/ns/net").readlink()
    assert with_network is (version < 15)


def test_text_is_utf_8_whatever_the_database_stores(rig: Rig) -> None:
    with rig.connect("postgres") as admin:
        admin.execute("DROP DATABASE IF EXISTS latin")
        admin.execute(
            "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C' OWNER tars"
        )
    rig.name = "latin"
    sql = "CREATE TABLE greetings (body text);\nINSERT INTO greetings VALUES ('Grüße');"
    rig.up(rig.release({"a.sql": Sql(sql)}), dsn=rig.dsn("postgres"))
    with rig.connect("postgres") as connection:
        row = connection.execute("SELECT body, octet_length(body) FROM greetings").fetchone()
    assert row == ("Grüße", 5)


def test_the_time_zone_is_the_databases(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    monkeypatch.setenv("PGDATESTYLE", "German")
    with rig.connect("postgres") as admin:
        admin.execute(f"ALTER DATABASE {rig.name} SET TimeZone = 'America/New_York'")
    sql = "CREATE TABLE seen (zone text, at timestamptz);\nINSERT INTO seen SELECT current_setting"
    sql += "('TimeZone'), '2026-01-01 12:00';"
    rig.up(rig.release({"a.sql": Sql(sql)}))
    with rig.connect() as connection:
        row = connection.execute("SELECT zone, extract(epoch FROM at)::int FROM seen").fetchone()
    assert row == ("America/New_York", 1767286800)


@pytest.mark.parametrize(
    ("content", "line", "found"),
    [
        (b"SELECT 1;\nSELECT '\0';", 2, "NUL byte"),
        (b"SELECT 1;\n\nSELECT '\xff';", 3, "not UTF-8"),
        (b"-- nothing\n/* at all */\n", 1, "only comments"),
        (b"\xef\xbb\xbfSELECT 1;\r\nSELEC 2;\r\n", 2, "syntax error"),
    ],
)
def test_a_file_that_is_no_sql_is_refused_with_its_line(
    content: bytes, line: int, found: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read_statements("a.sql", content)
    assert caught.value.detail.found.startswith(f"a.sql:{line}: ")
    assert found in caught.value.detail.found


def test_a_byte_order_mark_and_crlf_do_not_matter(rig: Rig) -> None:
    sql = "\ufeffALTER TABLE missions\r\n  ADD COLUMN c text\r\n  DEFAULT 'x';\r\n"
    assert rig.up(rig.release({"a.sql": Sql(sql)})).exit_code is ExitCode.DONE


def test_a_role_with_settings_of_its_own(rig: Rig, version: int) -> None:
    settings = ["search_path = 'elsewhere'", "statement_timeout = '100ms'"]
    if version >= 17:
        settings.append("transaction_timeout = '100ms'")
    with rig.connect("postgres") as admin:
        for setting in settings:
            admin.execute(f"ALTER ROLE tars IN DATABASE {rig.name} SET {setting}")
    sql = "DO $$BEGIN PERFORM pg_sleep(0.3); END$$;\nALTER TABLE missions ADD COLUMN c int;"
    release = rig.release({"a.sql": Sql(sql)})
    outcome = rig.plan(release)
    assert outcome.exit_code is ExitCode.DONE
    assert (
        outcome.details.model_dump(mode="json")["session"]
        == [
            "search_path = public, public (the role's: elsewhere)",
            "statement_timeout = 10000 (the role's: 100)",
            "transaction_timeout = 0 (the role's: 100)",
        ][: len(settings)]
    )
    assert rig.up(release).exit_code is ExitCode.DONE


def test_a_role_that_only_reads_by_default_is_refused_by_plan_and_up(rig: Rig) -> None:
    with rig.connect("postgres") as admin:
        admin.execute(
            f"ALTER ROLE tars IN DATABASE {rig.name} SET default_transaction_read_only=on"
        )
    release = rig.release({"a.sql": Sql("ALTER TABLE missions ADD COLUMN c int;")})
    outcome = rig.plan(release)
    assert outcome.exit_code is ExitCode.NO
    failed = [one.reason for one in outcome.checks if one.status is Status.FAIL]
    assert "default_transaction_read_only is on" in failed[0]
    with pytest.raises(UsageError) as caught:
        rig.up(release)
    assert "default_transaction_read_only is on" in caught.value.detail.found
