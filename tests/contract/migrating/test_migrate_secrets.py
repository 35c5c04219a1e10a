"""No part of a DSN is shown, whatever is wrong with it; no secret is in a process list."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psycopg
import pytest
from migration_rig import VARIABLE, Rig, Sql

from tarsrelease.adapters.postgres import schema_dump
from tarsrelease.adapters.postgres.connect import dsn_of
from tarsrelease.model.database import Database
from tarsrelease.model.errors import ReleaseError, UsageError

SECRET = "s3cr3t"
BAD = [
    f"postgresql://tars:a/{SECRET}@db.example/tars",
    f"postgresql://tars:a@{SECRET}@db.example/tars",
    f"postgresql://tars:{SECRET}/@db.example/tars",
    f"postgresql://tars:{SECRET}@a@db.example/tars",
    f"postgresql://tars:%zz{SECRET}@db.example/tars",
    f"host=db.example user=tars password=my {SECRET}",
    f"host=db.example user=tars password='{SECRET}",
    f"{SECRET}",
    f"host=db.example dbname=postgresql://tars:{SECRET}@db.example/tars",
    f"jdbc:postgresql://tars:{SECRET}@db.example/tars",
    f"postgresql://tars:12/{SECRET}@db.example/tars",
    f"postgresql://tars:a@b:{SECRET}@db.example/tars",
    f"host=db.example {SECRET}=x",
    f"postgresql://tars:x@db.example/tars?{SECRET}=1",
]


@pytest.mark.parametrize("dsn", BAD)
def test_a_dsn_that_cannot_be_read_shows_nothing_of_itself(
    monkeypatch: pytest.MonkeyPatch, dsn: str
) -> None:
    monkeypatch.setenv(VARIABLE, dsn)
    with pytest.raises(UsageError) as caught:
        dsn_of(Database(dsn_env=VARIABLE))
    error = caught.value
    assert SECRET not in str(error) + error.detail.model_dump_json()
    assert error.__cause__ is None
    assert "percent-encode the password" in error.detail.next


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://tars:a%2Fb%40c@db.example:5432/tars?sslmode=require",
        "postgresql://tars@h1:1,h2:2/tars?target_session_attrs=read-write",
        "postgresql:///tars?host=/run/postgresql&user=tars",
        "postgresql://tars:x@[::1]:5432/tars",
        "postgresql://tars:a?b#c[d]@db.example/tars",
        "host=db.example user=tars password='a b@c/d'",
        "postgresql://db.example/tars?user=tars&password=a%40b",
    ],
)
def test_a_good_dsn_is_read(monkeypatch: pytest.MonkeyPatch, dsn: str) -> None:
    monkeypatch.setenv(VARIABLE, dsn)
    assert "tars" in dsn_of(Database(dsn_env=VARIABLE))


def command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def test_no_secret_is_in_a_process_list_and_a_locked_table_is_named(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema_dump, "_LOCK_WAIT", 3.0)
    release = rig.release({"a.sql": Sql("ALTER TABLE missions ADD COLUMN c int;")})
    monkeypatch.setattr(
        rig,
        "dsn",
        lambda: psycopg.conninfo.make_conninfo(
            rig.server.dsn(rig.name, "tars"), password=SECRET, sslpassword=SECRET
        ),
    )
    ended: list[ReleaseError] = []

    def plan() -> None:
        try:
            rig.plan(release)
        except ReleaseError as problem:
            ended.append(problem)

    with psycopg.connect(rig.server.dsn(rig.name, "postgres")) as other:
        other.execute("LOCK TABLE missions IN ACCESS EXCLUSIVE MODE")
        thread = threading.Thread(target=plan)
        thread.start()
        seen: list[str] = []
        while thread.is_alive():
            lines = command_lines()
            seen += [line for line in lines if "pg_dump" in line]
            assert not any(SECRET in line for line in lines)
            time.sleep(0.05)
        thread.join()
    assert seen, "pg_dump was never seen"
    assert "missions" in ended[0].detail.found
    assert "locked exclusively" in ended[0].detail.found
    assert "AccessExclusiveLock" in ended[0].detail.next
