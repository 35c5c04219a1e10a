"""A scratch copy on a server that is not ours: it works as a copy here, and nothing stays there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psycopg
import pytest
from migration_rig import Rig, Sql, server_program

from tarsrelease.adapters.postgres.borrowed import _KEY, _MARK
from tarsrelease.adapters.postgres.throwaway import ThrowawayServer
from tarsrelease.model.errors import UsageError
from tarsrelease.model.outcome import ExitCode, Outcome, Status

VARIABLE = "SCRATCH_DSN"
SHARED = """
SELECT 'role ' || rolname || concat_ws(' ', rolsuper, rolcreaterole, rolcreatedb, rolcanlogin)
FROM pg_roles
UNION ALL SELECT 'member ' || roleid::regrole || member::regrole FROM pg_auth_members
UNION ALL SELECT 'database ' || datname || coalesce(datacl::text, '') FROM pg_database
UNION ALL SELECT 'setting ' || setconfig::text FROM pg_db_role_setting
UNION ALL SELECT 'comment ' || description FROM pg_shdescription
UNION ALL SELECT 'lock ' || locktype FROM pg_locks WHERE locktype = 'advisory'
"""
OTHERS = """
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
AND pid <> pg_backend_pid()
"""
SCHEMA = """
CREATE TABLE notes (id int PRIMARY KEY, body text);
ALTER TABLE missions ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON missions TO app_writer USING (true);
GRANT SELECT ON missions TO app_writer;
CREATE FUNCTION hide(what text) RETURNS int LANGUAGE plpgsql AS
  $$BEGIN EXECUTE what; RETURN 1; END$$;
CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN EXECUTE 'ALTER ROLE ' || quote_ident(current_user) || ' SET work_mem = ''1MB''';
  RETURN NULL; END$$;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION later();
"""
HARMLESS = """
CREATE POLICY q ON missions TO app_writer USING (id > 0);
GRANT INSERT ON missions TO app_writer;
ALTER TABLE missions ADD COLUMN c int;
CREATE INDEX CONCURRENTLY i ON missions (c);
"""
HIDDEN = [
    "DO $$BEGIN EXECUTE 'ALTER ROLE ' || quote_ident(current_user) || ' SET work_mem = 65'; END$$;",
    "SELECT hide('ALTER ROLE ' || quote_ident(current_user) || ' PASSWORD ''x''');",
    "DO $$BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET work_mem = 65'; END$$;",
    "DO $$BEGIN EXECUTE 'GRANT CONNECT ON DATABASE ' || current_database() || ' TO PUBLIC'; END$$;",
    "INSERT INTO notes VALUES (1, 'a trigger at the end of the transaction');",
]
CREATES = "DO $$BEGIN EXECUTE 'CREATE RO' || 'LE left_behind'; END$$;"


@pytest.fixture
def there(version: int) -> Iterator[ThrowawayServer]:
    """Another server, without the real one's roles."""
    program = server_program(version)
    if program is None:
        pytest.skip(f"no PostgreSQL {version} on this machine")
    with ThrowawayServer(program) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute("CREATE ROLE maker LOGIN CREATEDB")
            admin.execute("CREATE ROLE powerful LOGIN CREATEDB CREATEROLE")
        yield server


@pytest.fixture
def app(rig: Rig) -> Iterator[Rig]:
    with rig.connect("postgres") as admin:
        admin.execute("DROP ROLE IF EXISTS app_writer")
        admin.execute("CREATE ROLE app_writer")
    with rig.connect() as connection:
        connection.execute(SCHEMA.encode())
    yield rig
    with rig.connect("postgres") as admin:
        admin.execute("DROP OWNED BY app_writer CASCADE")
        admin.execute("DROP ROLE app_writer")


def shared(server: ThrowawayServer) -> list[str]:
    """What its databases share, when the backends of closed connections have ended."""
    deadline = monotonic() + 30
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        while admin.execute(OTHERS).fetchone() != (0,) and monotonic() < deadline:
            sleep(0.02)
        return sorted(row[0] for row in admin.execute(SHARED))


def planned(rig: Rig, there: ThrowawayServer, user: str, sql: str) -> Outcome:
    rig.monkeypatch.setenv(VARIABLE, there.dsn(user=user))
    before = shared(there)
    try:
        return rig.plan(rig.release({"a.sql": Sql(sql)}), scratch_env=VARIABLE)
    finally:
        assert shared(there) == before


def failed(outcome: Outcome) -> list[str]:
    return [one.reason for one in outcome.checks if one.status is Status.FAIL]


@pytest.mark.parametrize("user", ["postgres", "powerful"])
def test_roles_are_created_for_the_copy_and_removed(
    app: Rig, there: ThrowawayServer, user: str
) -> None:
    outcome = planned(app, there, user, HARMLESS)
    assert failed(outcome) == []
    assert outcome.exit_code is ExitCode.DONE


def test_user_mappings_are_copied(app: Rig, there: ThrowawayServer) -> None:
    with app.connect("postgres") as admin:
        admin.execute("CREATE FOREIGN DATA WRAPPER wrapper")
        admin.execute("CREATE SERVER elsewhere FOREIGN DATA WRAPPER wrapper")
        admin.execute("CREATE USER MAPPING FOR app_writer SERVER elsewhere OPTIONS (a 'b')")
        admin.execute("ALTER SERVER elsewhere OWNER TO tars")
    sql = "CREATE USER MAPPING FOR reader SERVER elsewhere;"
    sql += "ALTER USER MAPPING FOR app_writer SERVER elsewhere OPTIONS (c 'd');"
    assert failed(planned(app, there, "postgres", sql)) == []
    assert failed(app.plan(app.release({"a.sql": Sql(sql)}))) == []


def test_roles_that_nobody_may_create_there_are_named(app: Rig, there: ThrowawayServer) -> None:
    with pytest.raises(UsageError) as caught:
        planned(app, there, "maker", HARMLESS)
    assert "it lacks the roles " in caught.value.detail.found
    assert "app_writer" in caught.value.detail.found
    assert "ALTER ROLE maker CREATEROLE" in caught.value.detail.next


@pytest.mark.parametrize("user", ["postgres", "powerful"])
def test_hidden_statements_change_nothing_of_that_server(
    app: Rig, there: ThrowawayServer, user: str
) -> None:
    outcome = planned(app, there, user, "\n".join(HIDDEN))
    reasons = failed(outcome)
    assert len(reasons) == len(HIDDEN), reasons
    for reason in reasons:
        assert "cluster-wide: it changes pg_" in reason


@pytest.mark.parametrize(
    ("user", "said"),
    [("postgres", "permission denied to create role"), ("powerful", "it changes pg_authid")],
)
def test_a_hidden_role_is_not_created(
    app: Rig, there: ThrowawayServer, user: str, said: str
) -> None:
    [reason] = failed(planned(app, there, user, CREATES))
    assert said in reason


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE ROLE left_behind;",
        "GRANT CONNECT ON DATABASE tars TO reader;",
        "COMMENT ON ROLE tars IS 'x';",
        "CREATE TABLESPACE s LOCATION '/tmp';",
        "ALTER DATABASE tars SET work_mem = '1MB';",
        "DROP OWNED BY reader;",
    ],
)
def test_cluster_wide_statements_are_not_tried_there(
    app: Rig, there: ThrowawayServer, sql: str
) -> None:
    reasons = failed(planned(app, there, "postgres", sql))
    assert any("cluster-wide" in one or "not-resumable" in one for one in reasons), reasons


def test_programs_of_that_server_are_not_run(
    app: Rig, there: ThrowawayServer, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    tmp_path.chmod(0o777)
    sql = f"DO $$BEGIN EXECUTE 'CO' || 'PY notes TO PRO' || 'GRAM ''touch {mark}'''; END$$;"
    assert "external program" in failed(planned(app, there, "postgres", sql))[0]
    assert not mark.exists()


def test_privileges_are_compared_there(app: Rig, there: ThrowawayServer) -> None:
    sql = "DO $$BEGIN REVOKE SELECT ON missions FROM app_writer; END$$;"
    [reason] = failed(planned(app, there, "postgres", sql))
    assert "removes SELECT on public.missions for app_writer" in reason
    outcome = planned(app, there, "powerful", "REVOKE SELECT ON missions FROM app_writer;")
    assert "revokes privileges" in failed(outcome)[0]
    [unchecked] = [one for one in outcome.checks if one.id == "migrate.privileges"]
    assert unchecked.status is Status.SKIPPED


def test_what_a_killed_plan_has_left_is_removed(app: Rig, there: ThrowawayServer) -> None:
    before = shared(there)
    with psycopg.connect(there.dsn(), autocommit=True) as admin:
        admin.execute("CREATE ROLE tarsrelease_scratch_dead")
        admin.execute(f"COMMENT ON ROLE tarsrelease_scratch_dead IS '{_MARK}'")
        admin.execute("CREATE DATABASE tarsrelease_scratch_dead OWNER tarsrelease_scratch_dead")
    app.monkeypatch.setenv(VARIABLE, there.dsn())
    release = app.release({"a.sql": Sql(HARMLESS)})
    assert app.plan(release, scratch_env=VARIABLE).exit_code is ExitCode.DONE
    assert shared(there) == before


def test_another_plan_on_that_server_keeps_its_roles(app: Rig, there: ThrowawayServer) -> None:
    app.monkeypatch.setenv(VARIABLE, there.dsn())
    release = app.release({"a.sql": Sql(HARMLESS)})
    with psycopg.connect(there.dsn(), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock_shared(%s)", (_KEY,))
        assert app.plan(release, scratch_env=VARIABLE).exit_code is ExitCode.DONE
        roles: Any = other.execute("SELECT rolname FROM pg_roles WHERE rolname = 'app_writer'")
        assert roles.fetchall() == [("app_writer",)]
    assert app.plan(release, scratch_env=VARIABLE).exit_code is ExitCode.DONE
    assert not any("app_writer" in one for one in shared(there))
