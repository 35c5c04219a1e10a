"""The example's migrations, up and down, on every version of PostgreSQL that can be had here."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest
from migration_rig import EVERY_VERSION, Rig

from tarsrelease.model.outcome import ExitCode, Outcome, Status


def by_id(outcome: Outcome, check: str) -> list[Status]:
    return [one.status for one in outcome.checks if one.id == check]


@pytest.mark.parametrize("version", EVERY_VERSION)
def test_the_example_goes_up_is_verified_and_comes_down(rig: Rig, version: int) -> None:
    release = rig.example()
    before = rig.schema()

    planned = rig.plan(release)
    assert planned.exit_code is ExitCode.DONE
    assert by_id(planned, "migrate.down") == [Status.PASS]
    assert (
        planned.details.model_dump(mode="json")["database"]
        == f"{rig.name}, PostgreSQL {_release(rig)}, as tars"
    )
    assert rig.schema() == before, "plan changes nothing"

    unapplied = rig.verify(release)
    assert unapplied.exit_code is ExitCode.NO
    assert by_id(unapplied, "migrate.index") == [Status.FAIL] * 3

    applied = rig.up(release)
    assert applied.exit_code is ExitCode.DONE
    assert applied.details.model_dump(mode="json")["statements"] == 4
    with rig.connect("postgres") as connection:
        connection.execute("ANALYZE")
    verified = rig.verify(release, answers_within=1.0)
    assert verified.exit_code is ExitCode.DONE, verified.checks
    assert by_id(verified, "migrate.index") == [Status.PASS] * 3
    assert by_id(verified, "migrate.column") == [Status.PASS] * 2
    assert by_id(verified, "migrate.query") == [Status.PASS]

    history = rig.history()
    assert [row.statement for row in history] == [1, 2, 3, 1]
    assert all(row.finished is not None and row.finished >= row.started for row in history)
    assert {(row.by, row.run, row.release) for row in history} == {
        ("somebody@here", "first", "1.0.1")
    }

    again = rig.up(release, run="second")
    assert again.exit_code is ExitCode.DONE
    assert again.details.model_dump(mode="json")["statements"] == 0
    assert len(rig.history()) == 4

    undone = rig.down(release)
    assert undone.exit_code is ExitCode.DONE
    assert rig.schema() == before
    assert "0 of 2" in rig.status(release).summary

    assert rig.up(release, run="third").details.model_dump(mode="json")["statements"] == 4
    assert "2 of 2" in rig.status(release).summary


def _release(rig: Rig) -> str:
    with rig.connect() as connection:
        return str(connection.info.parameter_status("server_version"))


def test_status_names_an_index_that_is_invalid(rig: Rig) -> None:
    with rig.connect() as connection, suppress(psycopg.errors.UniqueViolation):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY wrong ON missions (status)")
    outcome = rig.status(rig.example())
    assert outcome.exit_code is ExitCode.DONE
    [reason] = [check.reason for check in outcome.checks if check.id == "migrate.indexes"]
    assert "wrong on missions is INVALID" in reason
