"""What a migration refuses, and how it ends when a statement fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
from migration_rig import Rig, Sql

from tarsrelease.model.errors import RefusedError, StoppedError, UsageError
from tarsrelease.model.outcome import ExitCode, Status

NINE = "\n".join(f"ALTER TABLE traces\n  ADD COLUMN c{n} int;" for n in range(1, 10))


def test_a_syntax_error_in_statement_7_of_9_is_found_before_anything_is_applied(rig: Rig) -> None:
    release = rig.release({"a.sql": Sql(NINE.replace("COLUMN c7", "COLUM N c7"))})
    with pytest.raises(UsageError) as refused:
        rig.up(release)
    assert "a.sql:14: syntax error at or near" in refused.value.detail.found
    assert rig.history() == []
    assert not any("COLUMN c1" in line or " c1 " in line for line in rig.schema())


def test_statement_7_of_9_fails_six_are_applied_and_a_corrected_file_goes_on(rig: Rig) -> None:
    wrong = NINE.replace("c7 int", "c7 nonsense")
    with pytest.raises(StoppedError) as stopped:
        rig.up(rig.release({"a.sql": Sql(wrong)}))
    detail = stopped.value.detail
    assert stopped.value.exit_code is ExitCode.STOPPED
    assert 'a.sql:14: type "nonsense" does not exist' in detail.found
    assert "statement 7 of a.sql" in detail.doing
    assert "continues at this statement" in detail.next
    assert [(row.statement, row.finished is not None) for row in rig.history()] == [
        (number, True) for number in range(1, 7)
    ]
    assert not any("c7" in line for line in rig.schema())

    outcome = rig.up(rig.release({"a.sql": Sql(NINE)}), run="second")
    assert outcome.details.model_dump(mode="json")["statements"] == 3
    assert [row.run for row in rig.history()] == ["first"] * 6 + ["second"] * 3


def test_the_first_statement_fails_so_nothing_was_changed(rig: Rig) -> None:
    release = rig.release({"a.sql": Sql("ALTER TABLE nowhere ADD COLUMN c int;")})
    with pytest.raises(RefusedError) as refused:
        rig.up(release)
    assert refused.value.exit_code is ExitCode.NO
    assert 'a.sql:1: relation "nowhere" does not exist' in refused.value.detail.found


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"a.sql": Sql("ALTER TABLE traces ADD COLUMN other int;")}, "a.sql was changed after"),
        ({"c.sql": Sql("SELECT 1;")}, "its manifest does not name it"),
        (
            {
                "new.sql": Sql("ALTER TABLE traces ADD COLUMN other int;", order=1),
                "a.sql": Sql("ALTER TABLE traces ADD COLUMN c int;", order=2),
            },
            "a.sql (order 2) is applied, but new.sql (order 1) before it is not",
        ),
    ],
    ids=["changed", "missing", "out of order"],
)
def test_files_that_do_not_fit_the_history_are_refused(
    rig: Rig, changed: dict[str, Sql], words: str
) -> None:
    rig.up(rig.release({"a.sql": Sql("ALTER TABLE traces ADD COLUMN c int;")}))
    before = rig.schema()
    with pytest.raises(RefusedError) as refused:
        rig.up(rig.release(changed))
    assert words in refused.value.detail.found
    assert rig.schema() == before
    assert len(rig.history()) == 1


def test_a_later_release_does_not_need_the_files_of_the_former(rig: Rig) -> None:
    rig.up(rig.release({"a.sql": Sql("ALTER TABLE traces ADD COLUMN c int;")}))
    later = rig.release({"d.sql": Sql("ALTER TABLE traces ADD COLUMN d int;")}, version="1.0.2")
    assert rig.up(later).details.model_dump(mode="json")["statements"] == 1


def test_a_file_of_another_release_that_stopped_half_way_is_in_the_way(rig: Rig) -> None:
    half = {"a.sql": Sql("ALTER TABLE traces ADD COLUMN c int; ALTER TABLE nowhere ADD d int;")}
    with pytest.raises(StoppedError):
        rig.up(rig.release(half))
    with pytest.raises(RefusedError) as refused:
        rig.up(rig.release({"b.sql": Sql("SELECT 1;")}, version="1.0.2"))
    assert "a.sql of release 1.0.1 stopped after 1 of 2" in refused.value.detail.found


def test_a_file_that_the_manifest_does_not_pin_is_refused(rig: Rig) -> None:
    release = rig.release({"a.sql": Sql("ALTER TABLE traces ADD COLUMN c int;")})
    (rig.folder / "bundle" / "a.sql").write_text("DROP TABLE traces;")
    with pytest.raises(UsageError) as refused:
        rig.up(release)
    assert "as the manifest pins it" in refused.value.detail.expected


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("BEGIN; SELECT 1; COMMIT;", "transaction-control"),
        ("SET lock_timeout = '5s';", "session-state"),
        ("CREATE TEMP TABLE t (id int);", "session-state"),
        ("CREATE INDEX CONCURRENTLY ON missions (name);", "unnamed-index"),
        ("VACUUM;", "wide-maintenance"),
        ("CREATE DATABASE other;", "not-resumable"),
        ("COPY missions FROM STDIN;", "input-data"),
        ("DROP INDEX CONCURRENTLY a, b;", "several-indexes"),
        ("VACUUM FULL missions;", "vacuum-full"),
        ("CLUSTER missions USING missions_pkey;", "cluster"),
        ("LOCK TABLE missions;", "lock-table"),
        ("UPDATE missions SET agent = 'x';", "unbounded-write"),
        ("WITH gone AS (DELETE FROM traces RETURNING 1) SELECT 1;", "unbounded-write"),
        ("ALTER TABLE missions DROP COLUMN agent;", "breaks-running-version"),
        ("-- tarsrelease:allow vacum-full: typing\nSELECT 1;", "unknown-allowance"),
    ],
)
def test_what_may_not_be_applied_is_refused_before_connecting(
    rig: Rig, sql: str, rule: str
) -> None:
    release = rig.release({"a.sql": Sql(sql)})
    with pytest.raises(RefusedError) as refused:
        rig.up(release, dsn="postgresql://nobody@127.0.0.1:1/nowhere")
    assert f": {rule}: " in refused.value.detail.found
    assert "tarsrelease:allow RULE: REASON" in refused.value.detail.next


@pytest.mark.parametrize("sql", ["VACUUM FULL missions;", "UPDATE missions SET agent = 'x';"])
def test_it_is_applied_where_the_file_allows_it_by_name_and_reason(rig: Rig, sql: str) -> None:
    rule = "vacuum-full" if "VACUUM" in sql else "unbounded-write"
    text = f"-- tarsrelease:allow {rule}: the table has 3000 rows\n{sql}"
    assert rig.up(rig.release({"a.sql": Sql(text)})).exit_code is ExitCode.DONE


def test_an_allowance_needs_a_reason(rig: Rig) -> None:
    release = rig.release(
        {"a.sql": Sql("SELECT 1;\n-- tarsrelease:allow cluster\nCLUSTER missions;")}
    )
    with pytest.raises(UsageError) as refused:
        rig.up(release)
    assert "a.sql:2: an allowance without rule and reason" in refused.value.detail.found


def test_down_says_what_is_lost_and_waits_for_a_yes(rig: Rig) -> None:
    release = rig.release(
        {
            "a.sql": Sql(
                "ALTER TABLE missions ADD COLUMN note text;",
                down="ALTER TABLE missions DROP COLUMN note;",
            )
        }
    )
    rig.up(release)
    with rig.connect() as connection:
        connection.execute("UPDATE missions SET note = 'x' WHERE id <= 12")

    class Asked:
        question = ""

        def approves(self, question: str) -> bool:
            self.question = question
            return False

    asked = Asked()
    with pytest.raises(RefusedError):
        rig.down(release, person=asked)
    assert "12 rows with a value in missions.note (rollback/a.sql:1)" in asked.question
    assert len(rig.history()) == 1
    outcome = rig.down(release)
    assert outcome.exit_code is ExitCode.DONE
    assert [row.direction for row in rig.history()] == ["up", "down"]


def test_a_migration_without_a_down_file_is_not_undone(rig: Rig) -> None:
    release = rig.release({"a.sql": Sql("ALTER TABLE missions ADD COLUMN note text;")})
    rig.up(release)
    with pytest.raises(RefusedError) as refused:
        rig.down(release)
    assert "a.sql: no down file" in refused.value.detail.found


def test_a_down_that_stopped_goes_on_and_up_waits_for_it(rig: Rig) -> None:
    up_and_down = Sql(
        "ALTER TABLE missions ADD COLUMN a int; ALTER TABLE missions ADD COLUMN b int;",
        down="ALTER TABLE missions DROP COLUMN b; ALTER TABLE missions DROP COLUMN a;",
    )
    release = rig.release({"a.sql": up_and_down})
    rig.up(release)
    with rig.connect() as connection:
        connection.execute("CREATE VIEW v AS SELECT a FROM missions")
    with pytest.raises(StoppedError) as stopped:
        rig.down(release)
    assert "rollback/a.sql:1: cannot drop column a" in stopped.value.detail.found
    with pytest.raises(RefusedError) as refused:
        rig.up(release)
    assert "finish `migrate down` first" in refused.value.detail.found
    with rig.connect() as connection:
        connection.execute("DROP VIEW v")
    assert rig.down(release).details.model_dump(mode="json")["statements"] == 1
    assert rig.up(release).details.model_dump(mode="json")["statements"] == 2


def test_contract_needs_every_expand_migration(rig: Rig) -> None:
    release = rig.release(
        {
            "a.sql": Sql("ALTER TABLE missions ADD COLUMN a int;"),
            "z.sql": replace(Sql("ALTER TABLE missions DROP COLUMN agent;"), phase="contract"),
        }
    )
    with pytest.raises(RefusedError) as refused:
        rig.up(release, phase="contract")
    assert "a.sql of phase expand is not applied yet" in refused.value.detail.found
    rig.up(release)
    assert rig.up(release, phase="contract").details.model_dump(mode="json")["statements"] == 1


def test_a_release_without_migrations_needs_no_database(rig: Rig) -> None:
    release = rig.release({})
    nowhere = "postgresql://nobody@database.invalid/none"
    for outcome in (rig.up(release, dsn=nowhere), rig.plan(release), rig.verify(release)):
        assert outcome.exit_code is ExitCode.DONE
        assert [check.status for check in outcome.checks] == [Status.SKIPPED]
        assert "no migrations" in outcome.checks[0].reason
