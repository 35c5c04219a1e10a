"""plan works wherever up works: roles, column order, empty copies, poolers, many relations."""

from __future__ import annotations

from pathlib import Path

import pytest
from migration_rig import Rig, Sql
from test_migrate_connections import pgbouncer, tcp_dsn

from tarsrelease.model.errors import UsageError
from tarsrelease.model.outcome import ExitCode, Status


def failed(rig: Rig, sql: str, **settings: object) -> list[str]:
    """Why plan refuses it."""
    outcome = rig.plan(rig.release({"a.sql": Sql(sql)}), **settings)
    return [one.reason for one in outcome.checks if one.status is Status.FAIL]


def test_roles_that_policies_and_grants_name_are_in_the_copy(rig: Rig) -> None:
    with rig.connect("postgres") as admin:
        admin.execute("DROP ROLE IF EXISTS app_writer, app_group")
        admin.execute("CREATE ROLE app_group")
        admin.execute("CREATE ROLE app_writer LOGIN IN ROLE app_group")
        admin.execute("GRANT app_group TO tars")
    with rig.connect() as connection:
        connection.execute("ALTER TABLE missions ENABLE ROW LEVEL SECURITY")
        connection.execute("CREATE POLICY p ON missions TO app_writer USING (true)")
        connection.execute("GRANT SELECT ON missions TO app_writer")
        connection.execute("CREATE TABLE theirs (id int)")
    with rig.connect("postgres") as admin:
        admin.execute("ALTER TABLE theirs OWNER TO app_group")
    sql = "CREATE POLICY q ON missions TO app_writer USING (id > 0);\n"
    sql += "GRANT INSERT ON missions TO app_group;\nALTER TABLE theirs ADD COLUMN b int;"
    assert failed(rig, sql) == []
    assert failed(rig, "REVOKE SELECT ON missions FROM app_writer;") != []
    with rig.connect("postgres") as admin:
        admin.execute(f"ALTER DATABASE {rig.name} OWNER TO postgres")
        admin.execute("DROP OWNED BY app_writer, app_group CASCADE")
        admin.execute("DROP ROLE app_writer, app_group")


def test_the_order_of_columns_is_no_difference(rig: Rig) -> None:
    up = "ALTER TABLE missions ADD COLUMN c int;\n"
    up += "-- tarsrelease:allow breaks-running-version: nobody uses it\n"
    up += "ALTER TABLE missions DROP COLUMN agent;"
    down = "ALTER TABLE missions ADD COLUMN agent text NOT NULL DEFAULT '';"
    down += "ALTER TABLE missions DROP COLUMN c;"
    with rig.connect() as connection:
        connection.execute("ALTER TABLE missions DROP COLUMN agent")
        connection.execute("ALTER TABLE missions ADD COLUMN agent text NOT NULL DEFAULT ''")
        connection.execute("ALTER TABLE missions ADD COLUMN last text")
    outcome = rig.plan(rig.release({"a.sql": Sql(up, down=down)}))
    assert outcome.exit_code is ExitCode.DONE, [one.reason for one in outcome.checks]


def test_a_statement_that_fails_only_on_an_empty_copy_can_be_allowed(rig: Rig) -> None:
    with rig.connect() as connection:
        connection.execute("CREATE MATERIALIZED VIEW m AS SELECT id FROM missions")
        connection.execute("CREATE UNIQUE INDEX ON m (id)")
    refresh = "REFRESH MATERIALIZED VIEW CONCURRENTLY m;\nALTER TABLE missions ADD COLUMN c int;"
    assert "not populated" in failed(rig, refresh)[0]
    allowed = f"-- tarsrelease:allow empty-copy: it is populated in production\n{refresh}"
    assert failed(rig, allowed) == []


SETVAL = "SELECT setval('missions_id_seq', (SELECT {} FROM missions));"


def test_a_sequence_can_follow_its_rows(rig: Rig) -> None:
    assert failed(rig, SETVAL.format("max(id)")) == []
    zero = SETVAL.format("coalesce(max(id), 0)")
    assert "out of bounds for sequence" in failed(rig, zero)[0]
    release = rig.release(
        {
            "a.sql": Sql(
                f"-- tarsrelease:allow empty-copy: missions has rows\n{zero}",
                down=f"-- tarsrelease:allow empty-copy: missions has rows\n{zero}",
            )
        }
    )
    outcome = rig.plan(release)
    assert outcome.exit_code is ExitCode.DONE, [one.reason for one in outcome.checks]
    assert {one.id: one.status for one in outcome.checks}["migrate.down"] is Status.PASS
    assert rig.up(release).exit_code is ExitCode.DONE
    assert rig.down(release).exit_code is ExitCode.DONE
    with rig.connect() as connection:
        row = connection.execute(
            "SELECT last_value = (SELECT max(id) FROM missions) FROM missions_id_seq"
        ).fetchone()
    assert row == (True,)


def test_cluster_wide_statements_are_refused_on_a_server_that_is_not_ours(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCH_DSN", rig.server.dsn())
    sql = "CREATE ROLE left_behind;\nALTER ROLE tars SET work_mem = '1MB';"
    reasons = failed(rig, sql, scratch_env="SCRATCH_DSN")
    assert [reason.count("cluster-wide") for reason in reasons] == [1, 1]
    with rig.connect("postgres") as admin:
        roles = admin.execute("SELECT 1 FROM pg_roles WHERE rolname = 'left_behind'").fetchall()
        settings = admin.execute("SELECT 1 FROM pg_db_role_setting").fetchall()
    assert roles == settings == []


def test_a_pooler_in_transaction_mode_is_noticed_by_plan(
    own_server_rig: Rig, tmp_path: Path
) -> None:
    rig = own_server_rig
    release = rig.release({"a.sql": Sql("ALTER TABLE missions ADD COLUMN c int;")})
    with pgbouncer(rig, tmp_path, "transaction") as port:
        rig.monkeypatch.setattr(rig, "dsn", lambda: tcp_dsn(rig.name, port))
        with pytest.raises(UsageError) as caught:
            rig.plan(release)
    assert "pooler in transaction mode" in caught.value.detail.found


EXTENSIONS = {
    # extension: a column that uses it
    "citext": "extensions.citext",
    "vector": "extensions.vector(3)",
    "hstore": "extensions.hstore",
}


def test_extensions_in_another_schema(rig: Rig) -> None:
    """Both one of the schema that the migration uses, and one that it creates."""
    with rig.connect("postgres") as admin:
        names = {row[0] for row in admin.execute("SELECT name FROM pg_available_extensions")}
        usable = [name for name in EXTENSIONS if name in names]
        if not usable:
            pytest.skip(f"this PostgreSQL has none of {', '.join(EXTENSIONS)}")
        name = usable[0]
        admin.execute("CREATE SCHEMA extensions")
        admin.execute("GRANT USAGE ON SCHEMA extensions TO tars")
        admin.execute(f"CREATE EXTENSION {name} SCHEMA extensions")
    with rig.connect() as connection:
        connection.execute(f"CREATE TABLE used (a {EXTENSIONS[name]})")
    sql = f"CREATE TABLE keys (id {EXTENSIONS[name]});\n"
    sql += f"CREATE EXTENSION IF NOT EXISTS {name} SCHEMA extensions;"
    release = rig.release({"a.sql": Sql(sql, down="DROP TABLE keys;")})
    outcome = rig.plan(release)
    assert outcome.exit_code is ExitCode.DONE, [one.reason for one in outcome.checks]
    assert rig.up(release).exit_code is ExitCode.DONE
    assert rig.down(release).exit_code is ExitCode.DONE


@pytest.mark.full
def test_seven_thousand_relations(rig: Rig) -> None:
    with rig.connect() as connection:
        for number in range(3500):
            connection.execute(f"CREATE TABLE many_{number} (id int PRIMARY KEY)")
    assert failed(rig, "ALTER TABLE many_1 ADD COLUMN b int;") == []


def test_publications_are_copied_and_statements_that_they_forbid_fail(rig: Rig) -> None:
    with rig.connect("postgres") as admin:
        admin.execute("CREATE TABLE unkeyed (id int)")
        admin.execute("ALTER TABLE unkeyed OWNER TO tars")
        admin.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    sql = "ALTER TABLE unkeyed ADD COLUMN c int;\nUPDATE unkeyed SET c = 1 WHERE id = 1;"
    outcome = rig.plan(rig.release({"a.sql": Sql(sql)}))
    failed = [one for one in outcome.checks if one.status is Status.FAIL]
    assert [one.source for one in failed] == ["a.sql:2"]
    assert "does not have a replica identity and publishes updates" in failed[0].reason


def test_a_character_that_the_database_cannot_store_is_found(rig: Rig) -> None:
    with rig.connect("postgres") as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {rig.name}_latin")
        admin.execute(
            f"CREATE DATABASE {rig.name}_latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C' "
            "OWNER tars"
        )
    rig.name = f"{rig.name}_latin"
    sql = "CREATE TABLE greetings (body text);\nINSERT INTO greetings VALUES ('Γειά');"
    outcome = rig.plan(rig.release({"a.sql": Sql(sql)}))
    failed = [one.reason for one in outcome.checks if one.status is Status.FAIL]
    assert any("has no equivalent in encoding" in one for one in failed), failed
