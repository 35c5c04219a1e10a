"""down tells the truth: it is tried on a copy, and what would be lost is counted."""

from __future__ import annotations

import pytest
from migration_rig import Rig, Sql

from tarsrelease.model.errors import RefusedError, ReleaseError
from tarsrelease.model.outcome import ExitCode, Status


class Asked:
    """A person who reads the question and says no."""

    attended = True

    def __init__(self) -> None:
        self.question = ""

    def approves(self, question: str) -> bool:
        self.question = question
        return False


def question(rig: Rig, up: str, down: str, rows: str) -> str:
    """What is asked before this is undone, once these rows are there."""
    release = rig.release({"a.sql": Sql(up, down=down)})
    rig.up(release)
    with rig.connect() as connection:
        connection.execute(rows.encode())
    asked = Asked()
    with pytest.raises(RefusedError):
        rig.down(release, person=asked)
    return asked.question


LOSSES = [
    (
        "CREATE SCHEMA extra; CREATE TABLE extra.notes (id int);",
        "DROP SCHEMA extra CASCADE;",
        "INSERT INTO extra.notes SELECT generate_series(1, 500)",
        "500 rows of extra.notes (rollback/a.sql:1)",
    ),
    (
        "CREATE TABLE notes (id int); ALTER TABLE missions ADD COLUMN note text;",
        "DO $$BEGIN EXECUTE 'DROP TA' || 'BLE notes'; ALTER TABLE missions DROP note; END$$;",
        "INSERT INTO notes VALUES (1), (2); UPDATE missions SET note = 'x' WHERE id <= 3",
        "2 rows of notes (rollback/a.sql:1); 3 rows with a value in missions.note (rollback/a.sql",
    ),
    (
        "CREATE TABLE notes (id int);",
        "DELETE FROM notes WHERE id > 0; DROP TABLE notes;",
        "INSERT INTO notes VALUES (1), (2)",
        "up to 2 rows of notes (rollback/a.sql:1); 2 rows of notes (rollback/a.sql:1)",
    ),
    (
        "CREATE DOMAIN label AS text; CREATE TABLE notes (id int, l label);",
        "DROP DOMAIN label CASCADE; DROP TABLE notes;",
        "INSERT INTO notes VALUES (1, 'a'), (2, NULL)",
        "1 rows with a value in notes.l (rollback/a.sql:1)",
    ),
    (
        "CREATE TABLE notes (id bigint);",
        "ALTER TABLE notes ALTER id TYPE int; DROP TABLE notes;",
        "INSERT INTO notes VALUES (1)",
        "column public.notes.id is converted from bigint to integer (rollback/a.sql:1)",
    ),
    (
        "CREATE TABLE notes (id int);",
        "UPDATE missions SET agent = 'x' WHERE id > 1; DROP TABLE notes;",
        "INSERT INTO missions (name, status, agent) VALUES ('a', 'queued', 'ppo')",
        "rows are overwritten in missions (rollback/a.sql:1)",
    ),
    (
        "CREATE TABLE notes (id int PRIMARY KEY); "
        "CREATE TABLE lines (note int REFERENCES notes ON DELETE CASCADE);",
        "DELETE FROM notes WHERE id > 0; DROP TABLE lines; DROP TABLE notes;",
        "INSERT INTO notes VALUES (1); INSERT INTO lines VALUES (1), (1), (1)",
        "up to 3 rows of lines (rollback/a.sql:1)",
    ),
    (
        "CREATE TABLE hidden (id int); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; "
        "ALTER TABLE hidden FORCE ROW LEVEL SECURITY;",
        "DROP TABLE hidden;",
        "ALTER TABLE hidden NO FORCE ROW LEVEL SECURITY; "
        "INSERT INTO hidden SELECT generate_series(1, 500); ANALYZE hidden; "
        "ALTER TABLE hidden FORCE ROW LEVEL SECURITY",
        "about 500 rows of hidden (rollback/a.sql:1)",
    ),
    (
        "CREATE TABLE parts (id int) PARTITION BY RANGE (id); "
        "CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10);",
        "DROP TABLE parts;",
        "INSERT INTO parts VALUES (1), (2)",
        "LOST FOR GOOD: 2 rows of parts (rollback/a.sql:1).",
    ),
    (
        "CREATE SEQUENCE invoices;",
        "DROP SEQUENCE invoices;",
        "SELECT setval('invoices', 1234)",
        "the position of sequence invoices, 1234 (rollback/a.sql:1)",
    ),
]


@pytest.mark.parametrize(("up", "down", "rows", "lost"), LOSSES)
def test_what_would_be_lost_is_counted_wherever_it_hides(
    rig: Rig, up: str, down: str, rows: str, lost: str
) -> None:
    asked = question(rig, up, down, rows)
    assert "LOST FOR GOOD: " in asked
    assert lost in asked
    assert "No data is lost" not in asked


def test_no_data_is_lost_only_where_that_is_proven(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    up, down = "CREATE INDEX CONCURRENTLY i ON missions (name);", "DROP INDEX CONCURRENTLY i;"
    assert question(rig, up, down, "SELECT 1").endswith("? No data is lost.")
    monkeypatch.setenv("SCRATCH_DSN", "host=/nowhere user=nobody")
    rig.settings["scratch_env"] = "SCRATCH_DSN"
    asked = Asked()
    with pytest.raises(RefusedError):
        rig.down(rig.release({"a.sql": Sql(up, down=down)}), person=asked)
    assert "MORE MAY BE LOST: the down files could not be tried on a copy" in asked.question
    assert "No data is lost" not in asked.question


def test_a_loop_over_rows_is_not_taken_for_harmless(rig: Rig) -> None:
    up = "CREATE TABLE notes (id int);"
    down = "DO $$DECLARE n int; BEGIN FOR n IN SELECT id FROM missions LOOP DELETE FROM missions "
    down += "WHERE id = n; END LOOP; END$$; DROP TABLE notes;"
    asked = question(rig, up, down, "SELECT 1")
    assert "MORE MAY BE LOST: the block in rollback/a.sql:1 has DELETE FROM" in asked


def test_plan_applies_the_rules_of_down(rig: Rig) -> None:
    up = "CREATE TABLE notes (id int);"
    release = rig.release({"a.sql": Sql(up, down="DELETE FROM notes; DROP TABLE notes;")})
    outcome = rig.plan(release)
    assert outcome.exit_code is ExitCode.NO
    failed = [one for one in outcome.checks if one.status is Status.FAIL]
    assert [one.id for one in failed] == ["migrate.down"]
    assert "unbounded-write" in failed[0].reason


@pytest.mark.parametrize(
    "down",
    [
        "ALTER TABLE missions DROP COLUMN a, DROP COLUMN b;",
        "DO $$BEGIN ALTER TABLE missions DROP COLUMN a; DROP TABLE c; END$$;",
        "DROP INDEX i, j;",
    ],
)
def test_a_statement_that_undoes_a_part_is_not_taken_for_done(rig: Rig, down: str) -> None:
    sql = "ALTER TABLE missions ADD COLUMN a int; CREATE INDEX i ON missions (a); SELECT 1 / 0;\n"
    sql += "ALTER TABLE missions ADD COLUMN b int; CREATE TABLE c (id int);"
    release = rig.release({"a.sql": Sql(sql, down=down)})
    with pytest.raises(ReleaseError):
        rig.up(release)
    asked = Asked()
    with pytest.raises(RefusedError):
        rig.down(release, person=asked)
    assert "MORE MAY BE LOST: rollback/a.sql:1 fails on a copy" in asked.question
    with pytest.raises(RefusedError) as caught:
        rig.down(release)
    assert "does not exist" in caught.value.detail.found
    assert [row.direction for row in rig.history()] == ["up"] * 2


def test_a_half_applied_file_can_be_taken_back(rig: Rig) -> None:
    before = rig.schema()
    sql = "ALTER TABLE missions ADD COLUMN a int; CREATE TABLE b (id int); SELECT 1 / 0;\n"
    sql += "CREATE TABLE c (id int); ALTER TABLE b ADD COLUMN d int;"
    down = "ALTER TABLE b DROP COLUMN d; DROP TABLE c; DROP TABLE b;"
    down += "ALTER TABLE missions DROP COLUMN a;"
    release = rig.release({"a.sql": Sql(sql, down=down)})
    with pytest.raises(ReleaseError):
        rig.up(release)
    assert rig.down(release).exit_code is ExitCode.DONE
    assert rig.schema() == before
    assert len(rig.history()) == 2 + 4
