"""migrate on several targets: two share a database, which is migrated once; one has its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import DEFAULT, Servers, new_rig
from migration_rig import ROOT, Rig, Sql, write_release

from tarsrelease.adapters.files.evidence_file import outcomes_in
from tarsrelease.cli import main
from tarsrelease.model.outcome import ExitCode

INDEX = "CREATE INDEX CONCURRENTLY shared_index ON missions (status);\n"
UNDO = "DROP INDEX CONCURRENTLY IF EXISTS shared_index;\n"
MIGRATIONS = {"index.sql": Sql(INDEX, down=UNDO)}
SHARED, OWN = "SHARED_DSN", "OWN_DSN"

Migrate = Callable[..., tuple[int, dict[str, Any]]]


@contextmanager
def a_rig(servers: Servers, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    yield from new_rig(servers.version(DEFAULT), folder, monkeypatch)


@pytest.fixture
def databases(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Rig]]:
    """The two databases, by the variable with the DSN."""
    with a_rig(servers, tmp_path, monkeypatch) as one, a_rig(servers, tmp_path, monkeypatch) as two:
        found = {SHARED: one, OWN: two}
        for variable, rig in found.items():
            monkeypatch.setenv(variable, rig.dsn())
        yield found


@pytest.fixture
def migrate(
    databases: dict[str, Rig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Migrate:
    """`tarsrelease migrate` on the targets: its exit code and its Outcome.

    No cluster answers: the journals cannot be written, and a release may run there.
    """
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    write_release(bundle, MIGRATIONS)
    place = yaml.safe_load((ROOT / "environments" / "rehearsal.yaml").read_text())
    place["database"] = {"dsn_env": SHARED}
    names = ["one", "two", "three"]
    place["targets"] = [
        {"name": name, "kubernetes": {"context": name, "namespace": "tars"}} for name in names
    ]
    place["targets"][2]["database"] = {"dsn_env": OWN}
    place["waves"] = [{"targets": ["one"]}, {"targets": ["two", "three"]}]
    environment = tmp_path / "rehearsal.yaml"
    environment.write_text(yaml.safe_dump(place))
    kubeconfig = {
        "clusters": [{"name": "away", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "nobody", "user": {"token": "none"}}],
        "contexts": [
            {"name": name, "context": {"cluster": "away", "user": "nobody"}} for name in names
        ],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        where = ["--release", str(bundle), "--environment", str(environment)]
        with pytest.raises(SystemExit) as ended:
            main(["migrate", *arguments, *where, "--quiet", "--format", "json"])
        return int(ended.value.code or 0), json.loads(capsys.readouterr().out)

    return run


def reached(outcome: dict[str, Any]) -> dict[str, int]:
    """The exit code at each target that the command worked on."""
    return {row["target"]: row["exit_code"] for row in outcome["details"]["targets"]}


def statements(rig: Rig) -> list[tuple[str, str]]:
    """What the database's history has: run and file of each statement that was applied."""
    with rig.connect() as connection:
        return list(
            connection.execute(
                "SELECT run, file FROM tarsrelease_migrations ORDER BY id"
            ).fetchall()
        )


def indexes(rig: Rig) -> int:
    with rig.connect() as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_indexes WHERE indexname = 'shared_index'"
        ).fetchone()
    assert found is not None
    return int(found[0])


def test_up_migrates_each_database_once(databases: dict[str, Rig], migrate: Migrate) -> None:
    code, outcome = migrate("up")
    assert code == ExitCode.DONE, outcome
    assert reached(outcome) == {"one": ExitCode.DONE, "three": ExitCode.DONE}
    assert [indexes(rig) for rig in databases.values()] == [1, 1]
    applied = {variable: statements(rig) for variable, rig in databases.items()}
    assert [len(rows) for rows in applied.values()] == [1, 1]

    code, outcome = migrate("up", "--target", "two")
    assert (code, outcome["environment"]) == (ExitCode.DONE, "rehearsal/two")
    assert {variable: statements(rig) for variable, rig in databases.items()} == applied


def test_a_wave_migrates_only_its_own_databases(
    databases: dict[str, Rig], migrate: Migrate
) -> None:
    code, outcome = migrate("up", "--wave", "1")
    assert (code, reached(outcome)) == (ExitCode.DONE, {"one": ExitCode.DONE})
    assert [indexes(rig) for rig in databases.values()] == [1, 0]
    code, outcome = migrate("up", "--wave", "2")
    assert (code, reached(outcome)) == (
        ExitCode.DONE,
        {"two": ExitCode.DONE, "three": ExitCode.DONE},
    )
    assert [indexes(rig) for rig in databases.values()] == [1, 1]
    assert len(statements(databases[SHARED])) == 1


@pytest.mark.parametrize(
    "command", [pytest.param("plan", marks=pytest.mark.full), "verify", "status"]
)
def test_each_database_is_read_once(command: str, migrate: Migrate) -> None:
    assert migrate("up")[0] == ExitCode.DONE
    code, outcome = migrate(command)
    assert code == ExitCode.DONE, outcome
    assert list(reached(outcome)) == ["one", "three"]
    code, outcome = migrate(command, "--wave", "2")
    assert list(reached(outcome)) == ["two", "three"]


def test_down_leaves_a_shared_database_while_a_target_that_uses_it_does_not_answer(
    databases: dict[str, Rig], migrate: Migrate, tmp_path: Path
) -> None:
    assert migrate("up")[0] == ExitCode.DONE
    code, outcome = migrate("down", "--yes")
    assert code == ExitCode.STOPPED, outcome
    assert reached(outcome) == {"one": ExitCode.UNREACHABLE, "three": ExitCode.DONE}
    assert [indexes(rig) for rig in databases.values()] == [1, 0]
    recorded = [
        (each.step, each.environment)
        for each in outcomes_in(tmp_path / "evidence")
        if each.step == "migrate down"
    ]
    assert set(recorded) == {
        ("migrate down", f"rehearsal{target}") for target in ("", "/one", "/three")
    }


def test_contract_is_refused_while_a_target_that_uses_the_database_does_not_answer(
    migrate: Migrate,
) -> None:
    assert migrate("up")[0] == ExitCode.DONE
    code, outcome = migrate("up", "--phase", "contract")
    assert code == ExitCode.UNREACHABLE
    assert set(reached(outcome).values()) == {ExitCode.UNREACHABLE}
    assert "(one)" in outcome["error"]["doing"]
