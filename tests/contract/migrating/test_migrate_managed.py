"""A managed server: the role that migrates is no superuser, and cannot read everything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from migration_rig import Rig, Sql

from tarsrelease.model.outcome import ExitCode, Status

PROVIDER = """
CREATE SCHEMA provider;
CREATE TABLE provider.secrets (id int);
CREATE TABLE provider.readable (id int);
CREATE FUNCTION provider.audit() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER audit ON ddl_command_end EXECUTE FUNCTION provider.audit();
CREATE TABLE public.guarded (id int);
REVOKE ALL ON public.guarded FROM PUBLIC;
CREATE SCHEMA extensions;
GRANT USAGE ON SCHEMA extensions TO tars;
GRANT USAGE ON SCHEMA provider TO reader;
REVOKE pg_monitor FROM tars;
"""
UP = """
CREATE TABLE notes (id bigserial PRIMARY KEY, body text NOT NULL);
CREATE INDEX CONCURRENTLY notes_body ON notes (body);
ALTER TABLE missions ADD COLUMN note bigint;
ALTER TABLE missions ADD CONSTRAINT note FOREIGN KEY (note) REFERENCES notes NOT VALID;
ALTER TABLE missions VALIDATE CONSTRAINT note;
GRANT SELECT ON notes TO reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO reader;
UPDATE missions SET note = NULL WHERE id = 1;
REINDEX INDEX CONCURRENTLY notes_body;
"""
DOWN = """
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON TABLES FROM reader;
ALTER TABLE missions DROP CONSTRAINT note;
ALTER TABLE missions DROP COLUMN note;
DROP TABLE notes;
"""


def columns(rig: Rig) -> list[tuple[str, ...]]:
    """Columns, constraints and indexes of what the migration may change."""
    with rig.connect() as connection:
        return sorted(
            connection.execute(
                "SELECT table_name, column_name, data_type FROM information_schema.columns "
                "WHERE table_schema = 'public' AND table_name NOT LIKE 'tarsrelease%' "
                "UNION ALL SELECT conrelid::regclass::text, conname, contype::text "
                "FROM pg_constraint WHERE connamespace = 'public'::regnamespace "
                "AND conname NOT LIKE 'tarsrelease%'"
            ).fetchall()
        )


@pytest.fixture
def managed(rig: Rig) -> Iterator[Rig]:
    with rig.connect("postgres") as admin:
        admin.execute(PROVIDER.encode())
    yield rig
    with rig.connect("postgres") as admin:
        admin.execute("GRANT pg_monitor TO tars")


def test_plan_up_verify_and_down_need_no_superuser(managed: Rig) -> None:
    before = columns(managed)
    release = managed.release({"a.sql": Sql(UP, down=DOWN)})
    outcome = managed.plan(release)
    assert outcome.exit_code is ExitCode.DONE, [one.reason for one in outcome.checks]
    assert {one.id: one.status for one in outcome.checks}["migrate.down"] is Status.PASS
    details = outcome.details.model_dump(mode="json")
    assert details["not_copied"] == ["schema provider", "public.guarded"]
    assert managed.up(release).exit_code is ExitCode.DONE
    assert managed.verify(release).exit_code is ExitCode.DONE
    assert managed.down(release).exit_code is ExitCode.DONE
    assert columns(managed) == before


def test_what_the_role_may_not_do_is_said_by_plan(managed: Rig) -> None:
    outcome = managed.plan(managed.release({"a.sql": Sql("ALTER TABLE guarded ADD c int;")}))
    [reason] = [one.reason for one in outcome.checks if one.status is Status.FAIL]
    assert "guarded" in reason
