"""The table of statement kinds in docs/migrations.md is measured, not remembered.

TARSRELEASE_WRITE_DOCS=1 python -m pytest tests/contract/migrating/test_migrate_kinds.py
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from migration_rig import ROOT, Rig, Sql

DOCS = ROOT / "docs/migrations.md"
BEGIN, END = "<!-- statement kinds: generated -->", "<!-- end of statement kinds -->"
SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, a text, n int NOT NULL DEFAULT 1, v varchar(9), u int);
CREATE TABLE other (id int PRIMARY KEY, t int);
CREATE TABLE parts (id int) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE apart (id int NOT NULL CHECK (id >= 10 AND id < 20));
CREATE TYPE mood AS ENUM ('good');
CREATE DOMAIN score AS int;
CREATE SEQUENCE counter;
CREATE TABLE emptied (id int);
CREATE VIEW seen AS SELECT id FROM t;
CREATE MATERIALIZED VIEW kept AS SELECT id FROM t;
CREATE FUNCTION f(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x';
CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE INDEX t_a ON t (a);
CREATE INDEX t_u ON t (u);
"""
KINDS = [
    "CREATE TABLE fresh (id bigserial PRIMARY KEY)",
    "CREATE TABLE copy AS SELECT * FROM t",
    "CREATE TABLE linked (t int REFERENCES t)",
    "ALTER TABLE t ADD COLUMN b text",
    "ALTER TABLE t ADD COLUMN c int NOT NULL DEFAULT 0",
    "ALTER TABLE t ADD COLUMN d uuid DEFAULT gen_random_uuid()",
    "ALTER TABLE t ADD COLUMN e int GENERATED ALWAYS AS (n * 2) STORED",
    "ALTER TABLE t ADD COLUMN s bigint GENERATED ALWAYS AS IDENTITY",
    "ALTER TABLE t ALTER COLUMN a SET DEFAULT 'x'",
    "ALTER TABLE t ALTER COLUMN a DROP DEFAULT",
    "ALTER TABLE t ALTER COLUMN a SET NOT NULL",
    "ALTER TABLE t ALTER COLUMN a DROP NOT NULL",
    "ALTER TABLE t ALTER COLUMN v TYPE varchar(20)",
    "ALTER TABLE t ALTER COLUMN v TYPE text",
    "ALTER TABLE t ALTER COLUMN u TYPE bigint",
    "ALTER TABLE t ALTER COLUMN a SET STATISTICS 500",
    "ALTER TABLE t ALTER COLUMN a SET STORAGE EXTERNAL",
    "ALTER TABLE t SET (fillfactor = 80)",
    "ALTER TABLE t ADD CONSTRAINT positive CHECK (id > 0)",
    "ALTER TABLE t ADD CONSTRAINT small CHECK (id < 9) NOT VALID",
    "ALTER TABLE t VALIDATE CONSTRAINT small",
    "ALTER TABLE t ADD CONSTRAINT unique_n UNIQUE (n, id)",
    "ALTER TABLE other ADD CONSTRAINT fk FOREIGN KEY (t) REFERENCES t",
    "ALTER TABLE other ADD CONSTRAINT later FOREIGN KEY (t) REFERENCES t NOT VALID",
    "ALTER TABLE other VALIDATE CONSTRAINT later",
    "ALTER TABLE t DROP CONSTRAINT positive",
    "ALTER TABLE t RENAME COLUMN b TO b2",
    "ALTER TABLE t DROP COLUMN b2",
    "ALTER TABLE other RENAME TO other2",
    "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE t DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE parts ATTACH PARTITION apart FOR VALUES FROM (10) TO (20)",
    "ALTER TABLE parts DETACH PARTITION part",
    "CREATE INDEX plain ON t (n)",
    "CREATE INDEX CONCURRENTLY online ON t (n)",
    "CREATE UNIQUE INDEX CONCURRENTLY online_u ON t (id, n)",
    "ALTER INDEX plain RENAME TO plain2",
    "REINDEX INDEX plain2",
    "REINDEX INDEX CONCURRENTLY plain2",
    "DROP INDEX plain2",
    "DROP INDEX CONCURRENTLY online",
    "CREATE VIEW more AS SELECT a FROM t",
    "CREATE OR REPLACE VIEW seen AS SELECT id, n FROM t",
    "DROP VIEW more",
    "CREATE MATERIALIZED VIEW kept2 AS SELECT id FROM t",
    "REFRESH MATERIALIZED VIEW kept",
    "CREATE FUNCTION h() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION g()",
    "DROP TRIGGER tr ON t",
    "CREATE POLICY p ON t USING (true)",
    "CREATE TYPE size AS ENUM ('s')",
    "ALTER TYPE mood ADD VALUE 'bad'",
    "CREATE SEQUENCE counter2",
    "ALTER SEQUENCE counter INCREMENT BY 10",
    "COMMENT ON TABLE t IS 'x'",
    "GRANT SELECT ON t TO reader",
    "INSERT INTO t (id) VALUES (1)",
    "UPDATE t SET a = 'x' WHERE id = 1",
    "DELETE FROM t WHERE id = 1",
    "LOCK TABLE t IN SHARE MODE",
    "ANALYZE t",
    "VACUUM t",
    "VACUUM FULL t",
    "CLUSTER t USING t_pkey",
    "TRUNCATE emptied",
    "DROP TABLE t CASCADE",
]


def row(sql: str, found: dict[str, Any]) -> str:
    """A line of the table."""
    words = set(sql.split())
    locks = [lock for lock in found["locks"] if lock["relation"] in words] or found["locks"]
    lock = f"{locks[0]['mode']} on {locks[0]['relation']}" if locks else "none"
    work = "rewrites it" if found["rewrites"] else "reads it" if found["scans"] else "at once"
    if sql.startswith("TRUNCATE"):
        work = "at once"  # new storage, but empty
    rules = dict.fromkeys(one["rule"] for one in found["findings"] if one["weight"] != "note")
    refused = ", ".join(f"`{rule}`" for rule in rules)
    how = "" if found["measured"] else " (manual)"
    deadline = found["deadline"].partition("(")[2].partition(")")[0]
    return f"| `{sql}` | {lock}{how} | {work} | {deadline} | {refused} |"


@pytest.mark.parametrize("version", [17])
def test_the_table_of_statement_kinds_is_as_measured(rig: Rig, version: int) -> None:
    with rig.connect() as connection:
        connection.execute(SCHEMA.encode())
    outcome = rig.plan(rig.release({"a.sql": Sql(";\n".join(KINDS))}))
    facts = outcome.details.model_dump(mode="json")["statements"]
    assert len(facts) == len(KINDS), [c.reason for c in outcome.checks if c.status == "fail"][-1]
    lines = [
        "| statement | strongest lock on an existing table | work | deadline | refused in expand |",
        "|---|---|---|---|---|",
        *map(row, KINDS, facts),
    ]
    table = "\n".join([BEGIN, *lines, END])
    text = DOCS.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    assert rest, f"{DOCS} has no {BEGIN}"
    written = head + table + rest.partition(END)[2]
    if os.environ.get("TARSRELEASE_WRITE_DOCS"):
        DOCS.write_text(written, encoding="utf-8")
    assert DOCS.read_text(encoding="utf-8") == written
