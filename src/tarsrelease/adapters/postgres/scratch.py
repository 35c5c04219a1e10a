"""Throwaway copies of a schema, for trying statements."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg

from tarsrelease.adapters.postgres.borrowed import borrowed_database
from tarsrelease.adapters.postgres.connect import connect, dsn_of
from tarsrelease.adapters.postgres.errors import own_errors
from tarsrelease.adapters.postgres.facts import TRIAL_SCHEMA, FactReader
from tarsrelease.adapters.postgres.observer import (
    Connection,
    Observed,
    Observer,
    listen_again,
    prepare,
    set_search_path,
)
from tarsrelease.adapters.postgres.original import SUPERUSER, Original, read_original, recreate
from tarsrelease.adapters.postgres.positions import Positions
from tarsrelease.adapters.postgres.programs import find
from tarsrelease.adapters.postgres.routines import Routines
from tarsrelease.adapters.postgres.schema_dump import WITHOUT_OWNERS, dump_schema
from tarsrelease.adapters.postgres.throwaway import ThrowawayServer
from tarsrelease.migrations.dumps import executable
from tarsrelease.migrations.facts import Facts
from tarsrelease.migrations.locks import Footprint
from tarsrelease.migrations.problems import SqlError
from tarsrelease.migrations.statements import Statement
from tarsrelease.migrations.trial import Trial
from tarsrelease.model.database import Database
from tarsrelease.model.errors import UsageError

_TRY = "60s"


class Scratch:
    """See `ports.database.ScratchDatabase`.

    `admin` owns the copy and reads its catalog; `role` runs the statements. On a server of our own
    they are two sessions, and `role` has the real role's rights and no more.
    """

    def __init__(self, admin: str, role: str, database: Database, *, complete: bool = True) -> None:
        self._admin_dsn = admin
        self._role_dsn = role
        self._database = database
        self._admin = _session(admin)
        self.complete = complete
        self.not_copied: tuple[str, ...] = ()
        self.version = str(self._admin.info.parameter_status("server_version"))
        self._runner: Connection | None = None
        self._observer: Observer | None = None
        self._facts: FactReader | None = None
        self._positions: Positions | None = None
        self._routines: Routines | None = None
        self._changed: set[str] | None = set()

    def close(self) -> None:
        """End the sessions."""
        self._admin.close()
        if self._runner is not None:
            self._runner.close()

    def fill(self, dump: str, settings: Mapping[str, str]) -> None:
        """Restore a dump of a schema, and work on it with these session settings.

        Raises UsageError if this server cannot hold it.
        """
        try:
            with own_errors():
                if "\nCREATE SCHEMA public;" in dump:  # else it has what initdb gives it
                    self._admin.execute("DROP SCHEMA public CASCADE")
                self._admin.execute(executable(dump).encode())
                self._admin.execute("RESET ALL")  # the dump changes the search path
                self._admin.execute("SET search_path = ''")
                prepare(self._admin)
        except SqlError as problem:
            raise UsageError(
                doing="copying the schema to a throwaway database",
                found=f"{problem.message} {problem.hint}".strip(),
                expected=f"a schema that PostgreSQL {self.version} can hold",
                next_step="set database.scratch_env to the DSN of a server of the same version "
                "with the same extensions, where databases may be created",
            ) from problem
        with own_errors():
            self._positions = Positions(self._admin)
            self._routines = Routines(self._admin)
            self._facts = FactReader(self._admin)
        self._runner = _session(self._role_dsn)
        set_search_path(self._runner, self._database.schema_name)
        for name, value in settings.items():
            self._runner.execute("SELECT set_config(%s, %s, false)", (name, value))
        self._observer = Observer(self._runner, alone=self._database.scratch_env is None)

    def run(self, statement: Statement, footprint: Footprint | None = None) -> Trial:
        """Run the statement for good and observe it.

        `footprint` is the documented one of a statement that cannot run in a transaction.
        """
        assert self._observer is not None  # noqa: S101 - fill comes first
        with own_errors():
            observed = (
                self._observer.run(statement.text)
                if footprint is None
                else self._observer.run_alone(statement.text, footprint)
            )
        with own_errors():
            if observed.changed is None or "pg_trigger" in observed.changed:
                listen_again(self._admin)
            trial = self._completed(statement, observed)
        if observed.changed is None:
            self._changed = None
        elif self._changed is not None:
            self._changed |= observed.changed
        return trial

    def _completed(self, statement: Statement, observed: Observed) -> Trial:
        """The trial with what is known only after its end, or from the texts of functions."""
        assert self._positions is not None  # noqa: S101 - fill comes first
        assert self._routines is not None  # noqa: S101 - fill comes first
        if observed.changed is None or {"pg_proc", "pg_proc+"} & observed.changed:
            self._routines.read()
        return replace(
            observed.trial,
            moved=self._positions.moved(observed.sequences),
            calls=self._routines.called(statement, observed.executed, reads=observed.trial.reads),
            fires=self._routines.fired(observed.inserted, observed.updated),
        )

    def facts(self) -> Facts:
        """The facts of the copy's catalog now."""
        assert self._facts is not None  # noqa: S101 - fill comes first
        with own_errors():
            found = self._facts.read(self._changed)
        self._changed = set()
        return found

    def dump(self) -> str:
        """The schema as pg_dump prints it, without what is ours."""
        return "\n".join(
            line
            for line in dump_schema(
                self._admin_dsn, self._admin.info.server_version // 10000
            ).splitlines()
            if not line.startswith(f"CREATE TRIGGER {TRIAL_SCHEMA} ")
        )


def _session(dsn: str) -> Connection:
    connection = psycopg.connect(dsn, autocommit=True, client_encoding="utf8")
    connection.execute("SET client_min_messages = warning")
    connection.execute(f"SET statement_timeout = '{_TRY}'")
    return connection


@contextmanager
def scratch_copy(dsn: str, database: Database, version: int) -> Iterator[Scratch]:
    """A throwaway copy of the schema behind `dsn`, whose server is of this major version."""
    with own_errors(), connect(dsn, database, "tarsrelease migrate (copying the schema)") as real:
        original = read_original(real)
    with ExitStack() as stack:
        if database.scratch_env is None:
            dump = _dump(dsn, version, original)
            admin, role = stack.enter_context(_embedded(find("postgres", best=version), original))
            scratch = Scratch(admin, role, database)
        else:
            there = dsn_of(database, database.scratch_env)
            borrowed = stack.enter_context(borrowed_database(there, database, original))
            owners = () if borrowed.complete else WITHOUT_OWNERS
            dump = borrowed.adapted(_dump(dsn, version, original, owners))
            scratch = Scratch(borrowed.admin, borrowed.role, database, complete=borrowed.complete)
        stack.callback(scratch.close)
        scratch.not_copied = tuple(
            f"{schema}.{table}" if table else f"schema {schema}"
            for schema, table in original.hidden
        )
        scratch.fill(dump, original.settings)
        yield scratch


def _dump(dsn: str, version: int, original: Original, options: Sequence[str] = ()) -> str:
    """The schema, as far as the role may read it: a managed server has more."""
    hidden = [
        f'--exclude-table="{schema}"."{table}"' if table else f'--exclude-schema="{schema}"'
        for schema, table in original.hidden
    ]
    dump = dump_schema(dsn, version, [*options, *hidden])
    schemas = "|".join(re.escape(schema) for schema, table in original.hidden if table is None)
    return re.sub(rf"(?m)^CREATE EVENT TRIGGER [^;]* FUNCTION ({schemas})\.[^;]*;$", "", dump)


@contextmanager
def _embedded(program: Path, original: Original) -> Iterator[tuple[str, str]]:
    """DSNs of a server of our own: of its superuser, and of a role with the real role's rights."""
    with ThrowawayServer(program, superuser=SUPERUSER) as server:
        with psycopg.connect(server.dsn(user=SUPERUSER), autocommit=True) as admin, own_errors():
            recreate(original, admin)
        yield (
            server.dsn(original.database, SUPERUSER),
            server.dsn(original.database, original.role),
        )
