"""The release's SQL files, read from the bundle and checked against its manifest."""

from __future__ import annotations

from collections.abc import Iterable

from tarsrelease.bundle.files import BundleFiles
from tarsrelease.migrations.statements import SqlFile, read_statements
from tarsrelease.model.bundle import Migration
from tarsrelease.model.database import Database
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.release import Release


def database_of(environment: Environment) -> Database:
    """The environment's database. Raises UsageError if it names none."""
    if environment.database is None:
        raise UsageError(
            doing="choosing the database",
            found=f"environment {environment.name} has no section database",
            expected="database: {dsn_env: VARIABLE} in the environment's file",
            next_step="add it, and set the variable to the DSN",
        )
    return environment.database


def read_migrations(release: Release, files: BundleFiles) -> dict[str, SqlFile]:
    """Every migration's statements by file name, down files too.

    Raises UsageError if a file is absent, is not the one that the manifest pins, or is no SQL.
    """
    found = {}
    for migration in release.manifest.migrations:
        file = _read(migration.file, files)
        if file.sha256 != migration.sha256:
            raise UsageError(
                doing="reading the migrations",
                found=f"{migration.file} has SHA-256 {file.sha256}",
                expected=f"{migration.sha256}, as the manifest pins it",
                next_step="get the bundle again (`tarsrelease verify` says what else is wrong)",
            )
        found[migration.file] = file
    for down in sorted(set(_downs(release.manifest.migrations))):
        found[down] = _read(down, files)
    return found


def _downs(migrations: Iterable[Migration]) -> Iterable[str]:
    return (migration.down for migration in migrations if migration.down is not None)


def _read(name: str, files: BundleFiles) -> SqlFile:
    content = files.read(name)
    if content is None:
        raise UsageError(
            doing="reading the migrations",
            found=f"{name} is not in the bundle",
            expected="every file that the manifest names",
            next_step="get the bundle again (`tarsrelease verify` says what else is wrong)",
        )
    return read_statements(name, content)
