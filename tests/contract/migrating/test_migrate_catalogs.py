"""plan compares catalogs: what removes, renames or weakens is found wherever it hides."""

from __future__ import annotations

from typing import Any

import pytest
from migration_rig import Rig, Sql

from tarsrelease.model.outcome import ExitCode, Outcome, Status

RULE = "breaks-running-version"
SCHEMA = """
CREATE SCHEMA app;
CREATE SCHEMA other;
CREATE TYPE app.mood AS ENUM ('good', 'bad');
CREATE DOMAIN app.score AS int CHECK (value >= 0);
CREATE TABLE app.parent (id int PRIMARY KEY, name text NOT NULL DEFAULT 'x', n int UNIQUE);
CREATE TABLE app.child (id int PRIMARY KEY, parent int REFERENCES app.parent, s app.score);
CREATE TABLE app.parts (id int) PARTITION BY RANGE (id);
CREATE TABLE app.part PARTITION OF app.parts FOR VALUES FROM (0) TO (10);
CREATE TABLE app.rows (id int PRIMARY KEY, body text, big bigint GENERATED ALWAYS AS IDENTITY);
CREATE TABLE app.secret (id int, owner text);
CREATE TABLE app.moved (id int);
CREATE TABLE app.owned (id int);
CREATE TABLE app.gone (a int, b int, c int);
CREATE TABLE app.triggered (id int);
CREATE UNIQUE INDEX gone_a ON app.gone (a);
CREATE INDEX gone_b ON app.gone (b);
CREATE VIEW app.seen AS SELECT id, name FROM app.parent;
CREATE SEQUENCE app.counter;
CREATE FUNCTION app.f(x int) RETURNS int LANGUAGE sql AS 'SELECT x';
CREATE FUNCTION app.t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER tr BEFORE INSERT ON app.triggered FOR EACH ROW EXECUTE FUNCTION app.t();
CREATE POLICY mine ON app.secret USING (owner = current_user);
GRANT SELECT ON app.parent TO reader;
GRANT UPDATE (body) ON app.rows TO reader;
GRANT USAGE ON SCHEMA app TO reader;
CREATE FUNCTION app.drops() RETURNS void LANGUAGE plpgsql AS
  $$BEGIN EXECUTE 'ALTER TABLE app.gone DROP' || ' COLUMN c'; END$$;
"""
BREAKING = [
    # statement, what plan says of it
    ("DO $$BEGIN ALTER TABLE app.child DROP COLUMN s; END$$;", "removes column app.child.s"),
    ("SELECT app.drops();", "removes column app.gone.c"),
    (
        "DO $$BEGIN EXECUTE 'ALTER TABLE app.rows RENAME COLUMN '||'body TO text'; END$$;",
        "renames column app.rows.body to text",
    ),
    (
        "DROP INDEX app.gone_a;",
        "removes the uniqueness of app.gone USING btree (a)",
    ),
    ("ALTER TABLE app.parent ALTER name DROP DEFAULT;", "removes the default of app.parent.name"),
    ("ALTER TABLE app.parent ALTER name DROP NOT NULL;", "removes NOT NULL of app.parent.name"),
    ("ALTER TABLE app.rows ALTER big DROP IDENTITY;", "removes the identity of app.rows.big"),
    (
        "ALTER TABLE app.parent DROP CONSTRAINT parent_n_key;",
        "removes constraint parent_n_key of app.parent",
    ),
    ("ALTER TABLE app.secret ENABLE ROW LEVEL SECURITY;", "enables row level security on app.sec"),
    ("DROP POLICY mine ON app.secret;", "removes policy mine of app.secret"),
    ("ALTER TYPE app.mood RENAME VALUE 'bad' TO 'sad';", "renames value bad of type app.mood to"),
    ("REVOKE SELECT ON app.parent FROM reader;", "removes SELECT on app.parent for reader"),
    (
        "REVOKE UPDATE (text) ON app.rows FROM reader;",
        "removes UPDATE on column app.rows.text for reader",
    ),
    ("REVOKE USAGE ON SCHEMA app FROM reader;", "removes USAGE on schema app for reader"),
    ("ALTER TABLE app.moved SET SCHEMA other;", "renames table app.moved to other.moved"),
    ("ALTER TABLE app.parts DETACH PARTITION app.part;", "removes app.part as a part of app.parts"),
    ("DROP SEQUENCE app.counter;", "removes sequence app.counter"),
    ("ALTER FUNCTION app.f(int) RENAME TO g;", "renames function app.f(x integer) to app.g"),
    ("DROP TRIGGER tr ON app.triggered;", "removes trigger tr of app.triggered"),
    ("DROP TABLE app.parent CASCADE;", "removes view app.seen"),
    ("DROP DOMAIN IF EXISTS app.score;", "removes domain app.score"),
    (
        "DO $$BEGIN ALTER TABLE app.rows ALTER id TYPE bigint; END$$;",
        "changes the type of column app.rows.id from integer to bigint",
    ),
    ("ALTER TABLE app.rows ADD need int NOT NULL;", "adds app.rows.need, which every INSERT"),
    ("DELETE FROM app.rows WHERE true;", "deletes rows of app.rows"),
    ("DO $$BEGIN TRUNCATE app.rows; END$$;", "deletes rows of app.rows"),
    (
        "DO $$BEGIN ALTER TABLE app.rows DISABLE TRIGGER USER; EXECUTE 'DELETE ' || "
        "'FROM app.rows'; ALTER TABLE app.rows ENABLE TRIGGER USER; END$$;",
        "deletes rows of app.rows",
    ),
    (
        "DO $$DECLARE one int; BEGIN FOR one IN SELECT id FROM app.rows LOOP DELETE FROM app.rows "
        "WHERE id = one; END LOOP; END$$;",
        "its block has DELETE FROM",
    ),
    ("WITH gone AS (DELETE FROM app.rows RETURNING 1) SELECT * FROM gone;", "deletes rows of app"),
    ("CREATE RULE quiet AS ON INSERT TO app.owned DO INSTEAD NOTHING;", "adds rule quiet to app"),
    ("ALTER TABLE app.owned SET UNLOGGED;", "changes the persistence of app.owned"),
    ("DROP SCHEMA app CASCADE;", "removes schema app"),
]
MERGE = (
    "MERGE INTO app.rows USING (SELECT 1 AS id) x ON x.id = rows.id WHEN MATCHED THEN DELETE;",
    "deletes rows of app.rows",
)
HARMLESS = [
    "ALTER TABLE app.rows ADD extra text;",
    "ALTER TABLE app.rows ADD filled int NOT NULL DEFAULT 0;",
    "CREATE TABLE app.fresh (id bigserial PRIMARY KEY, body text NOT NULL);",
    "ALTER TABLE app.fresh ALTER body DROP NOT NULL;",
    "CREATE INDEX CONCURRENTLY rows_body ON app.rows (body);",
    "DROP INDEX CONCURRENTLY app.gone_b;",
    "CREATE UNIQUE INDEX CONCURRENTLY gone_a_again ON app.gone (a);",
    "DROP INDEX CONCURRENTLY app.gone_a;",
    "ALTER TYPE app.mood ADD VALUE 'fine';",
    "CREATE OR REPLACE VIEW app.seen AS SELECT id, name, n FROM app.parent;",
    "CREATE OR REPLACE FUNCTION app.f(x int) RETURNS int LANGUAGE sql AS 'SELECT x + 1';",
    "GRANT SELECT ON app.rows TO reader;",
    "INSERT INTO app.rows (id, body) VALUES (1, 'a') ON CONFLICT DO NOTHING;",
    "UPDATE app.rows SET body = 'b' WHERE id = 1;",
    "ALTER TABLE app.rows ADD CONSTRAINT short CHECK (length(body) < 9) NOT VALID;",
    "ALTER TABLE app.rows VALIDATE CONSTRAINT short;",
    "COMMENT ON TABLE app.rows IS 'rows';",
    "CREATE POLICY more ON app.secret USING (true);",
]


WEAK_SCHEMA = """
CREATE SCHEMA app;
CREATE TABLE app.t (id int PRIMARY KEY, name text NOT NULL DEFAULT 'x', body text,
  big bigint GENERATED BY DEFAULT AS IDENTITY, g int GENERATED ALWAYS AS (1) STORED);
CREATE TABLE app.dad (id int);
CREATE TABLE app.kid () INHERITS (app.dad);
CREATE TABLE app.secret (id int, owner text);
ALTER TABLE app.secret ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY mine ON app.secret USING (owner = current_user);
CREATE VIEW app.seen WITH (security_barrier) AS SELECT id, body FROM app.t WHERE id > 0;
CREATE VIEW app.narrow AS SELECT id, body FROM app.t WHERE id > 0;
CREATE FUNCTION app.f(x int) RETURNS int LANGUAGE sql AS 'SELECT x';
CREATE FUNCTION app.d() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = app
  AS 'SELECT 1';
CREATE FUNCTION app.lower() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN NEW.name := lower(NEW.name); RETURN NEW; END';
CREATE FUNCTION app.ok(x text) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$SELECT x <> ''$$;
ALTER TABLE app.t ADD CONSTRAINT body_ok CHECK (app.ok(body));
CREATE TRIGGER tr BEFORE INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.lower();
CREATE RULE r AS ON DELETE TO app.kid DO ALSO SELECT 1;
CREATE SEQUENCE app.s;
CREATE STATISTICS app.st ON id, body FROM app.t;
GRANT SELECT ON app.t TO reader WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO reader;
CREATE DOMAIN app.positive AS int DEFAULT 3 CHECK (value > 0);
CREATE TYPE app.pair AS (a int, b int);
CREATE MATERIALIZED VIEW app.kept AS SELECT 1 AS a;
CREATE TABLE app.published (id int);
CREATE PUBLICATION pub FOR TABLE app.t, app.published;
"""
WEAKENING = [
    ("ALTER TABLE app.kid NO INHERIT app.dad", "removes app.kid as a part of app.dad"),
    ("ALTER TABLE app.t DISABLE TRIGGER USER", "fires from enabled to disabled"),
    ("ALTER TABLE app.t ENABLE REPLICA TRIGGER tr", "fires from disabled to replica"),
    ("ALTER TABLE app.kid DISABLE RULE r", "changes rule r of app.kid"),
    (
        "CREATE OR REPLACE RULE r AS ON DELETE TO app.kid DO INSTEAD NOTHING",
        "changes rule r of app.kid",
    ),
    ("ALTER TABLE app.secret NO FORCE ROW LEVEL SECURITY", "removes forced row level security of"),
    ("ALTER TABLE app.secret DISABLE ROW LEVEL SECURITY", "removes row level security of app.sec"),
    ("ALTER POLICY mine ON app.secret USING (true)", "changes policy mine of app.secret"),
    ("ALTER VIEW app.seen RESET (security_barrier)", "from security_barrier=true to none"),
    (
        "CREATE OR REPLACE VIEW app.narrow AS SELECT id, body FROM app.t WHERE false",
        "changes the rows of view app.narrow",
    ),
    (
        "CREATE OR REPLACE VIEW app.narrow AS SELECT id, lower(body) AS body FROM app.t "
        "WHERE false",
        "changes the columns of view app.narrow",
    ),
    ("ALTER FUNCTION app.f(int) STRICT", "from CALLED ON NULL INPUT to STRICT"),
    ("ALTER FUNCTION app.d() RESET ALL", "search_path=app to CALLED ON NULL INPUT"),
    ("ALTER FUNCTION app.d() SECURITY INVOKER", "from SECURITY DEFINER to SECURITY INVOKER"),
    ("ALTER FUNCTION app.ok(text) VOLATILE", "removes IMMUTABLE of app.ok(x text)"),
    (
        "CREATE OR REPLACE FUNCTION app.lower() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RETURN NULL; END'",
        "changes the body of app.lower(), which trigger tr on table app.t uses",
    ),
    (
        "DO $$BEGIN EXECUTE 'CREATE OR REPLACE FUNCTION app.ok(x text) RETURNS boolean LANGUAGE "
        "sql AS ''SELECT true'''; END$$",
        "changes the body of app.ok(x text), which constraint body_ok on table app.t uses",
    ),
    ("ALTER SEQUENCE app.s CYCLE", "changes the range of app.s"),
    ("ALTER SEQUENCE app.s AS smallint", "changes the range of app.s"),
    ("ALTER SEQUENCE app.s RESTART", "restarts a sequence"),
    ("ALTER TABLE app.t ALTER big SET GENERATED ALWAYS", "app.t.big from BY DEFAULT to ALWAYS"),
    ("ALTER TABLE app.t ALTER g DROP EXPRESSION", "removes the generation of app.t.g"),
    ("ALTER TABLE app.t ALTER name SET DEFAULT 'y'", "app.t.name from 'x'::text to 'y'::text"),
    ("ALTER TABLE app.t ALTER name SET DEFAULT NULL", "removes the default of app.t.name"),
    (
        'ALTER TABLE app.t ALTER name TYPE text COLLATE "POSIX"',
        "changes the type of column app.t.name",
    ),
    ("ALTER TABLE app.t REPLICA IDENTITY NOTHING", "app.t from DEFAULT to NOTHING"),
    ("DROP STATISTICS app.st", "removes statistics object app.st"),
    (
        "REVOKE GRANT OPTION FOR SELECT ON app.t FROM reader",
        "removes SELECT WITH GRANT OPTION on app.t for reader",
    ),
    ("REVOKE INSERT ON app.t FROM tars", "takes INSERT on app.t from its owner"),
    ("REVOKE EXECUTE ON FUNCTION app.f(int) FROM PUBLIC", "removes EXECUTE on app.f(x integer)"),
    (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA app REVOKE SELECT ON TABLES FROM reader",
        "removes default privilege SELECT for reader",
    ),
    ("ALTER DOMAIN app.positive SET DEFAULT 5", "domain app.positive from 3 to 5"),
    ("ALTER DOMAIN app.positive DROP CONSTRAINT positive_check", "removes constraint positive_ch"),
    ("ALTER TYPE app.pair RENAME ATTRIBUTE a TO z", "renames column app.pair.a to z"),
    ("REFRESH MATERIALIZED VIEW app.kept WITH NO DATA", "empties a materialized view"),
    ("ALTER PUBLICATION pub DROP TABLE app.published", "removes app.published from publication"),
    ("ALTER PUBLICATION pub SET (publish = 'insert')", "removes UPDATE from publication pub"),
    ("DROP PUBLICATION pub", "removes publication pub"),
    ("ALTER TABLE app.t RENAME CONSTRAINT body_ok TO ok", "renames constraint body_ok of app.t"),
    ("ALTER TRIGGER tr ON app.t RENAME TO tr2", "renames trigger tr of app.t to tr2"),
]


def breaks(outcome: Outcome) -> list[list[str]]:
    """What plan says that each statement breaks."""
    statements: Any = outcome.details.model_dump(mode="json")["statements"]
    return [
        [one["found"] for one in statement["findings"] if one["rule"] == RULE]
        for statement in statements
    ]


@pytest.fixture
def app(rig: Rig) -> Rig:
    with rig.connect() as connection:
        connection.execute(SCHEMA.encode())
    return rig


def test_whatever_breaks_the_running_version_is_found_wherever_it_hides(
    app: Rig, version: int
) -> None:
    cases = [*BREAKING[:-1], *([MERGE] if version >= 15 else []), BREAKING[-1]]
    outcome = app.plan(app.release({"a.sql": Sql("\n".join(sql for sql, _ in cases))}))
    found = breaks(outcome)
    assert len(found) == len(cases), [
        check.reason for check in outcome.checks if check.status is Status.FAIL
    ][-1]
    for (sql, said), lines in zip(cases, found, strict=True):
        assert any(said in line for line in lines), (sql, lines)
    assert outcome.exit_code is ExitCode.NO


def test_whatever_weakens_what_exists_is_found_in_any_spelling(rig: Rig, version: int) -> None:
    with rig.connect("postgres") as admin:
        admin.execute(f"GRANT CREATE ON DATABASE {rig.name} TO tars")
    with rig.connect() as connection:
        connection.execute(WEAK_SCHEMA.encode())
    sql = "".join(f"{statement};\n" for statement, _ in WEAKENING)
    outcome = rig.plan(rig.release({"a.sql": Sql(sql)}))
    found = breaks(outcome)
    assert len(found) == len(WEAKENING), [
        check.reason for check in outcome.checks if check.status is Status.FAIL
    ][-1]
    for (statement, said), lines in zip(WEAKENING, found, strict=True):
        assert any(said in line for line in lines), (statement, lines)


def test_what_only_adds_is_not_refused(app: Rig, version: int) -> None:
    outcome = app.plan(app.release({"a.sql": Sql("\n".join(HARMLESS))}))
    for sql, lines in zip(HARMLESS, breaks(outcome), strict=True):
        assert lines == [], sql


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DROP OWNED BY CURRENT_USER CASCADE;", "removes schema app"),
        ("DROP OWNED BY reader;", "removes SELECT on app.parent for reader"),
        ("DO $$BEGIN EXECUTE 'DROP OW' || 'NED BY reader'; END$$;", "removes USAGE on schema app"),
    ],
)
def test_drop_owned_is_refused(app: Rig, sql: str, said: str) -> None:
    with app.connect("postgres") as admin:
        admin.execute("GRANT reader TO tars")
    try:
        outcome = app.plan(app.release({"a.sql": Sql(sql)}))
    finally:
        with app.connect("postgres") as admin:
            admin.execute("REVOKE reader FROM tars")
    assert outcome.exit_code is ExitCode.NO
    [lines] = breaks(outcome)
    assert any(said in line for line in lines), lines


def test_it_is_allowed_by_name(app: Rig) -> None:
    sql = f"-- tarsrelease:allow {RULE}: nobody reads it\nALTER TABLE app.gone DROP COLUMN c;"
    outcome = app.plan(app.release({"a.sql": Sql(sql)}))
    assert outcome.exit_code is ExitCode.DONE, outcome.checks
    assert breaks(outcome) == [["removes column app.gone.c"]]


def test_contract_migrations_may_remove(app: Rig) -> None:
    release = app.release({"a.sql": Sql("ALTER TABLE app.gone DROP COLUMN c;", phase="contract")})
    assert app.plan(release, "contract").exit_code is ExitCode.DONE
