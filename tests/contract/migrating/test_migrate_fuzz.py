"""A catalog fuzzer: what plan lets pass takes nothing away, and down leads back.

Schemas and migrations are drawn from a seed. Each expand migration that plan lets pass is applied
to a real database, whose catalog is compared by names, not by the reader that plan uses; then down
must lead back to the same dump.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import psycopg
import pytest
from migration_rig import Rig, Sql

from tarsrelease.model.outcome import ExitCode, Status

SMALL = range(6)
MANY = range(*map(int, os.environ.get("TARSRELEASE_SEEDS", "6-500").split("-")))
"""Other ends split a run into portions."""
HARMLESS = 0.8
"""The share of statements that only add, so that about half of the migrations pass."""
TYPES = ("int", "bigint", "text", "numeric(8,2)", "boolean", "timestamptz", "jsonb")


class Draw:
    """One schema and one migration."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.tables = {
            f"t{number}": [f"c{column}" for column in range(self._random.randint(1, 4))]
            for number in range(self._random.randint(1, 4))
        }
        self.types = {
            (table, column): self._random.choice(TYPES)
            for table, columns in self.tables.items()
            for column in columns
        }
        self._fresh = 0

    def _one(self, *choices: str) -> str:
        return self._random.choice(choices)

    def _name(self) -> str:
        self._fresh += 1
        return f"n{self._fresh}"

    def schema(self) -> str:
        lines = [
            "CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';",
            "CREATE FUNCTION f(x int) RETURNS int LANGUAGE sql AS 'SELECT x';",
            "CREATE TYPE mood AS ENUM ('good', 'bad');",
        ]
        for table, columns in self.tables.items():
            parts = [
                f"{column} {self.types[table, column]}{self._one('', ' NOT NULL', ' UNIQUE')}"
                for column in columns
                if column != "c9"
            ]
            parts = [part.replace("jsonb UNIQUE", "jsonb") for part in parts]
            lines.append(
                f"CREATE TABLE {table} (id int PRIMARY KEY, d int DEFAULT 1, {', '.join(parts)});"
            )
            if self._random.random() < 0.4:
                lines.append(f"CREATE VIEW v_{table} AS SELECT id, {columns[0]} FROM {table};")
            if self._random.random() < 0.3:
                lines.append(
                    f"CREATE TRIGGER tr BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION g();"
                )
            if self._random.random() < 0.3:
                lines.append(f"GRANT SELECT ON {table} TO reader;")
            if self._random.random() < 0.3:
                lines.append(f"CREATE INDEX i_{table} ON {table} (id, {columns[0]});")
        return "\n".join(lines)

    def statement(self) -> tuple[str, str]:
        """A statement and what undoes it."""
        table = self._random.choice(list(self.tables))
        column, new = self._random.choice(self.tables[table]), self._name()
        choices = self._adding if self._random.random() < HARMLESS else self._taking
        up, down = self._random.choice(choices(table, column, new))
        if ";" not in up and "CONCURRENTLY" not in up and self._random.random() < 0.4:
            up = f"DO $$BEGIN EXECUTE '{up[:4]}' || '{up[4:].replace(chr(39), chr(39) * 2)}'; END$$"
        return up, down

    def _adding(self, table: str, column: str, new: str) -> list[tuple[str, str]]:
        return [
            (
                f"ALTER TABLE {table} ADD {new} {self._random.choice(TYPES)}",
                f"ALTER TABLE {table} DROP {new}",
            ),
            (
                f"ALTER TABLE {table} ADD {new} int NOT NULL DEFAULT 1",
                f"ALTER TABLE {table} DROP {new}",
            ),
            (f"CREATE TABLE {new} (id int PRIMARY KEY, b text)", f"DROP TABLE {new}"),
            (f"CREATE INDEX CONCURRENTLY {new} ON {table} (id)", f"DROP INDEX {new}"),
            (f"CREATE VIEW {new} AS SELECT id FROM {table}", f"DROP VIEW {new}"),
            (f"CREATE SEQUENCE {new}", f"DROP SEQUENCE {new}"),
            (
                f"ALTER TABLE {table} ADD CONSTRAINT {new} CHECK (id > 0) NOT VALID",
                f"ALTER TABLE {table} DROP CONSTRAINT {new}",
            ),
            (f"GRANT INSERT ON {table} TO reader", f"REVOKE INSERT ON {table} FROM reader"),
            (
                f"CREATE FUNCTION {new}() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                f"DROP FUNCTION {new}()",
            ),
            (
                f"CREATE UNIQUE INDEX CONCURRENTLY {new} ON {table} (id, {column})"
                if self.types[table, column] != "jsonb"
                else f"CREATE INDEX CONCURRENTLY {new} ON {table} ({column})",
                f"DROP INDEX CONCURRENTLY {new}",
            ),
            (f"CREATE TYPE {new} AS ENUM ('a')", f"DROP TYPE {new}"),
            (f"CREATE DOMAIN {new} AS int CHECK (value > 0)", f"DROP DOMAIN {new}"),
            (
                f"CREATE TABLE {new} (t int REFERENCES {table})",
                f"DROP TABLE {new}",
            ),
            (
                f"CREATE STATISTICS {new} ON id, {column} FROM {table}",
                f"DROP STATISTICS {new}",
            ),
            (f"COMMENT ON TABLE {table} IS '{new}'", f"COMMENT ON TABLE {table} IS NULL"),
            (
                f"CREATE MATERIALIZED VIEW {new} AS SELECT id FROM {table}",
                f"DROP MATERIALIZED VIEW {new}",
            ),
            (
                f"CREATE TRIGGER {new} AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION g()",
                f"DROP TRIGGER {new} ON {table}",
            ),
            (
                "CREATE OR REPLACE FUNCTION f(x int) RETURNS int LANGUAGE sql AS 'SELECT 2'",
                "CREATE OR REPLACE FUNCTION f(x int) RETURNS int LANGUAGE sql AS 'SELECT x'",
            ),
        ]

    def _taking(self, table: str, column: str, new: str) -> list[tuple[str, str]]:
        """What takes something away, often in a disguise."""
        return [
            (f"ALTER TABLE {table} DROP {column} CASCADE", "SELECT 1"),
            (f"ALTER TABLE {table} RENAME {column} TO {new}", "SELECT 1"),
            (f"ALTER TABLE {table} RENAME TO {new}", "SELECT 1"),
            (f"DROP TABLE {table} CASCADE", "SELECT 1"),
            (f"ALTER TABLE {table} ALTER {column} DROP NOT NULL", "SELECT 1"),
            (f"ALTER TABLE {table} ALTER {column} TYPE text", "SELECT 1"),
            (f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey CASCADE", "SELECT 1"),
            (f"REVOKE ALL ON {table} FROM reader", "SELECT 1"),
            (f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY", "SELECT 1"),
            ("ALTER TYPE mood RENAME VALUE 'bad' TO 'sad'", "SELECT 1"),
            ("DROP FUNCTION f(int)", "SELECT 1"),
            (f"CREATE SCHEMA {new}; ALTER TABLE {table} SET SCHEMA {new}", "SELECT 1"),
            (f"DELETE FROM {table} WHERE true", "SELECT 1"),
            (f"REVOKE INSERT ON {table} FROM CURRENT_USER", "SELECT 1"),
            (f"ALTER TABLE {table} DISABLE TRIGGER ALL", "SELECT 1"),
            (f"ALTER TABLE {table} DISABLE TRIGGER USER", "SELECT 1"),
            (f"ALTER TABLE {table} ALTER d SET DEFAULT 2", "SELECT 1"),
            (f"ALTER TABLE {table} REPLICA IDENTITY NOTHING", "SELECT 1"),
            (
                f"CREATE OR REPLACE VIEW v_{table} AS SELECT id, {self.tables[table][0]} "
                f"FROM {table} WHERE false",
                f"DROP VIEW v_{table}",
            ),
            ("ALTER FUNCTION f(int) STRICT", "SELECT 1"),
            (f"ALTER TABLE {table} SET UNLOGGED", "SELECT 1"),
            (
                "CREATE OR REPLACE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS "
                "'BEGIN RETURN NULL; END'",
                "CREATE OR REPLACE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS "
                "'BEGIN RETURN NEW; END'",  # it takes nothing away if no table has the trigger
            ),
        ]

    def migration(self) -> Sql:
        drawn = [self.statement() for _ in range(self._random.randint(1, 3))]
        ups = "".join(f"{up};\n" for up, _ in drawn)
        downs = "".join(f"{down};\n" for _, down in reversed(drawn))
        return Sql(ups, down=downs)


PROMISES = """
SELECT 'relation ' || c.relkind::text || c.relname FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'S')
UNION ALL SELECT 'column ' || c.relname || '.' || a.attname || format_type(a.atttypid, a.atttypmod)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')
AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL SELECT 'not null ' || c.relname || '.' || a.attname
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace AND a.attnotnull AND c.relkind = 'r' AND a.attnum > 0
UNION ALL SELECT 'constraint ' || conrelid::regclass::text || conname || contype::text
FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
UNION ALL SELECT 'grant ' || table_name || privilege_type || grantee
FROM information_schema.role_table_grants WHERE table_schema = 'public'
UNION ALL SELECT 'visible ' || relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND NOT relrowsecurity
UNION ALL SELECT 'default ' || adrelid::regclass || adnum || pg_get_expr(adbin, adrelid)
FROM pg_attrdef
UNION ALL SELECT 'trigger ' || tgrelid::regclass || tgname || tgenabled::text || f.prosrc
FROM pg_trigger JOIN pg_proc f ON f.oid = tgfoid WHERE NOT tgisinternal
UNION ALL SELECT 'logged ' || relname || relreplident::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relpersistence = 'p'
UNION ALL SELECT 'strict ' || proname || proisstrict FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'enum ' || enumlabel FROM pg_enum
UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'rows ' || (xpath('/row/n/text()', query_to_xml(
  'SELECT count(*) AS n FROM ' || quote_ident(relname), false, true, '')))[1] || relname
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
AND relname LIKE 't%'
"""


def promises(connection: psycopg.Connection[tuple[str]]) -> set[str]:
    return {row[0] for row in connection.execute(PROMISES)}


def each(connection: psycopg.Connection[tuple[str]], text: str) -> None:
    """Run the statements one by one, without any of our checks."""
    for statement in text.split(";\n"):
        connection.execute(statement.encode())


def check(rig: Rig, seed: int) -> str:
    """One case; how it ended: refused, failed, or passed."""
    draw = Draw(seed)
    with rig.connect() as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        connection.execute(draw.schema().encode())
        for table in draw.tables:
            connection.execute(
                f"DO $$BEGIN INSERT INTO {table} (id) VALUES (1); "
                "EXCEPTION WHEN not_null_violation THEN END$$"
            )
        before = promises(connection)
    dump = rig.schema()
    migration = draw.migration()
    release = rig.release({"a.sql": migration})
    outcome = rig.plan(release)
    refused = [one for one in outcome.checks if one.status is Status.FAIL]
    if any("breaks-running" in one.reason for one in refused):
        return "refused"
    if refused:
        with rig.connect() as connection, pytest.raises(psycopg.Error):
            each(connection, migration.text)
        return "failed"
    assert rig.up(release).exit_code is ExitCode.DONE, (seed, migration)
    with rig.connect() as connection:
        lost = before - promises(connection)
    assert lost == set(), (seed, migration.text, lost)
    assert rig.down(release).exit_code is ExitCode.DONE, (seed, migration)
    assert rig.schema() == dump, (seed, migration)
    return "passed"


@pytest.mark.parametrize("version", [17])
@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(SMALL, id="small"),
        pytest.param(MANY, id="many", marks=[pytest.mark.full, pytest.mark.timeout(7200)]),
    ],
)
def test_what_plan_lets_pass_takes_nothing_away(rig: Rig, version: int, seeds: range) -> None:
    ends = []
    for seed in seeds:
        ends.append(check(rig, seed))
        print(f"seed {seed}: {dict(Counter(ends))}", flush=True)
    assert ends.count("passed") >= len(seeds) / 3
    assert "refused" in ends
