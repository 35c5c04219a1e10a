"""plan: locks as they really are, dangers, and the way back proven."""

from __future__ import annotations

from typing import Any

import pytest
from migration_rig import EVERY_VERSION, Rig, Sql

from tarsrelease.model.outcome import Check, ExitCode, Outcome, Status


def facts(outcome: Outcome) -> list[dict[str, Any]]:
    found: Any = outcome.details.model_dump(mode="json")["statements"]
    return list(found)


def checks(outcome: Outcome, name: str) -> list[Check]:
    return [check for check in outcome.checks if check.id == name]


CASES = [
    # statement, a lock that it takes, the rule that it breaks
    ("ALTER TABLE missions ADD COLUMN a text;", "ACCESS EXCLUSIVE", None),
    ("ALTER TABLE missions ADD COLUMN b int NOT NULL DEFAULT 3;", "ACCESS EXCLUSIVE", None),
    ("ALTER TABLE missions ADD c uuid DEFAULT gen_random_uuid();", None, "table-rewrite"),
    ("ALTER TABLE missions ALTER created_at TYPE text;", "ACCESS EXCLUSIVE", "table-rewrite"),
    ("ALTER TABLE traces ADD CHECK (span_id <> '');", "ACCESS EXCLUSIVE", "long-lock"),
    ("ALTER TABLE traces ADD CHECK (span_id <> '') NOT VALID;", "ACCESS EXCLUSIVE", None),
    ("CREATE INDEX i ON missions (name);", "SHARE", "long-lock"),
    ("CREATE INDEX CONCURRENTLY j ON missions (name);", "SHARE UPDATE EXCLUSIVE", None),
    ("DROP INDEX CONCURRENTLY missions_name;", "SHARE UPDATE EXCLUSIVE", None),
    ("CREATE TABLE fresh (id int PRIMARY KEY);", None, None),
    ("CREATE INDEX ON fresh (id);", "SHARE", None),
    ('ALTER TABLE "OddName" ADD COLUMN c int DEFAULT random();', None, "table-rewrite"),
    ("UPDATE missions SET agent = 'a' WHERE id = 1;", "ROW EXCLUSIVE", None),
    ("COMMENT ON TABLE missions IS 'x';", "SHARE UPDATE EXCLUSIVE", None),
]


@pytest.mark.parametrize("version", EVERY_VERSION)
def test_locks_and_dangers_are_measured_on_a_copy(rig: Rig, version: int) -> None:
    with rig.connect() as connection:
        connection.execute("CREATE INDEX missions_name ON missions (name)")
        connection.execute('CREATE TABLE "OddName" (id int)')
    before = rig.schema()
    outcome = rig.plan(rig.release({"a.sql": Sql("\n".join(sql for sql, _, _ in CASES))}))
    assert len(facts(outcome)) == len(CASES), outcome.checks
    for (sql, lock, rule), found in zip(CASES, facts(outcome), strict=True):
        assert lock is None or lock in {one["mode"] for one in found["locks"]}, sql
        stopping = {
            one["rule"]
            for one in found["findings"]
            if one["weight"] != "note" and one["rule"] != "breaks-running-version"
        }
        assert stopping == ({rule} if rule else set()), sql
    assert rig.schema() == before
    assert rig.history() == []


def test_a_danger_is_refused_and_may_be_allowed_with_a_reason(rig: Rig) -> None:
    sql = "CREATE INDEX i ON missions (name);"
    refused = rig.plan(rig.release({"a.sql": Sql(sql)}))
    assert refused.exit_code is ExitCode.NO
    [check] = checks(refused, "migrate.statement")
    assert "CREATE INDEX CONCURRENTLY" in check.reason

    allowed = f"-- tarsrelease:allow long-lock: 3000 rows, 5 ms\n{sql}"
    outcome = rig.plan(rig.release({"a.sql": Sql(allowed, down="DROP INDEX i;")}))
    assert outcome.exit_code is ExitCode.DONE
    [check] = checks(outcome, "migrate.statement")
    assert "allowed: long-lock (3000 rows, 5 ms)" in check.reason


def test_the_linter_and_an_allowance_of_no_use_are_told(rig: Rig) -> None:
    sql = "-- tarsrelease:allow cluster: no\nALTER TABLE missions ADD COLUMN c char(3);"
    outcome = rig.plan(rig.release({"a.sql": Sql(sql)}))
    lines = "\n".join(map(str, outcome.details.model_dump(mode="json")["plan"]))
    assert "unused-allowance: cluster is allowed, but" in lines


def test_squawk_is_asked(rig: Rig) -> None:
    sql = "ALTER TABLE missions ADD CONSTRAINT u UNIQUE (name);\nALTER DOMAIN d ADD CHECK (true);"
    outcome = rig.plan(rig.release({"a.sql": Sql("CREATE DOMAIN d AS int;\n" + sql)}))
    rules = {one["rule"] for found in facts(outcome) for one in found["findings"]}
    assert (
        "ban-create-domain-with-constraint" in rules
        or "ban-alter-domain-with-add-constraint" in rules
    )


def test_a_statement_that_would_fail_is_told_with_its_line(rig: Rig) -> None:
    sql = "ALTER TABLE missions ADD COLUMN c int;\nALTER TABLE missions\n  ADD COLUMN c text;"
    outcome = rig.plan(rig.release({"a.sql": Sql(sql)}))
    assert outcome.exit_code is ExitCode.NO
    failed = [one.reason for one in outcome.checks if one.status is Status.FAIL]
    assert failed == ['a.sql:2: column "c" of relation "missions" already exists']


def test_a_down_that_does_not_lead_back_is_found(rig: Rig) -> None:
    sql = "ALTER TABLE missions ADD COLUMN c int, ADD COLUMN d int;"
    wrong = Sql(sql, down="ALTER TABLE missions DROP COLUMN c;")
    outcome = rig.plan(rig.release({"a.sql": wrong}))
    [check] = checks(outcome, "migrate.down")
    assert check.status is Status.FAIL
    assert "column" in check.reason


def test_no_down_file_is_said_to_be_unchecked(rig: Rig) -> None:
    outcome = rig.plan(rig.release({"a.sql": Sql("ALTER TABLE missions ADD COLUMN c int;")}))
    [check] = checks(outcome, "migrate.down")
    assert check.status is Status.SKIPPED
    assert outcome.exit_code is ExitCode.DONE


def test_it_says_what_is_done_already_and_who_is_in_the_way(rig: Rig) -> None:
    files = {
        "a.sql": Sql("ALTER TABLE missions ADD COLUMN c int;"),
        "b.sql": Sql("ALTER TABLE missions ADD COLUMN d int;", order=2),
    }
    rig.up(rig.release({"a.sql": files["a.sql"]}))
    with rig.connect() as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM missions")
        outcome = rig.plan(rig.release(files))
        other.rollback()
    assert [one.reason for one in checks(outcome, "migrate.applied")] == [
        "a.sql: all 1 statements are applied already"
    ]
    [found] = facts(outcome)
    assert found["file"] == "b.sql"
    assert "idle in transaction" in found["in_the_way"][0]


def test_a_role_that_does_not_own_the_table_is_told_so(rig: Rig) -> None:
    with rig.connect("postgres") as admin:
        admin.execute("GRANT CREATE ON SCHEMA public TO reader")
        admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        admin.execute("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reader")
    release = rig.release({"a.sql": Sql("ALTER TABLE missions ADD COLUMN c int;")})
    rig.monkeypatch.setattr(rig, "dsn", lambda user="reader": rig.server.dsn(rig.name, user))
    outcome = rig.plan(release)
    assert outcome.exit_code is ExitCode.NO
    [check] = checks(outcome, "migrate.statement")
    assert "missing-rights: this role does not own missions" in check.reason


def test_a_scratch_database_on_the_users_own_server_does_as_well(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCH_DSN", rig.server.dsn())
    release = rig.release(
        {"a.sql": Sql("CREATE INDEX i ON missions (name);", down="DROP INDEX i;")}
    )
    with rig.connect("postgres") as admin:
        before = admin.execute("SELECT datname FROM pg_database ORDER BY 1").fetchall()
        outcome = rig.plan(release, scratch_env="SCRATCH_DSN")
        after = admin.execute("SELECT datname FROM pg_database ORDER BY 1").fetchall()
    assert [one["mode"] for one in facts(outcome)[0]["locks"]] == ["SHARE"]
    assert checks(outcome, "migrate.down")[0].status is Status.PASS
    assert after == before, "nothing is left behind"
