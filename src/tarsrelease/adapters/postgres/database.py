"""The application's PostgreSQL; each connection is made on demand."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from functools import cached_property

from tarsrelease.adapters.postgres.catalog import PostgresCatalog
from tarsrelease.adapters.postgres.connect import dsn_of, refuse_transaction_pooler
from tarsrelease.adapters.postgres.errors import own_errors
from tarsrelease.adapters.postgres.port_forward import forwarded
from tarsrelease.adapters.postgres.scratch import Scratch, scratch_copy
from tarsrelease.adapters.postgres.worker import PostgresWorker
from tarsrelease.model.database import Database
from tarsrelease.model.environment import Environment
from tarsrelease.model.release import Run


class Postgres:
    """One application's database in one environment; as a context manager it closes everything."""

    def __init__(
        self, environment: Environment, database: Database, application: str, run: Run
    ) -> None:
        self._environment = environment
        self._database = database
        self._application = application
        self._run = run
        self._stack = ExitStack()

    def __enter__(self) -> Postgres:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def _dsn(self) -> str:
        return self._stack.enter_context(forwarded(dsn_of(self._database), self._environment))

    def catalog(self) -> PostgresCatalog:
        """A read-only session."""
        with own_errors():
            catalog = PostgresCatalog(self._dsn, self._database, self._application)
        self._stack.callback(catalog.close)
        return catalog

    def worker(self) -> PostgresWorker:
        """The session that changes the database; UsageError behind a transaction pooler."""
        with own_errors():
            refuse_transaction_pooler(self._dsn, self._database)
            worker = PostgresWorker(self._dsn, self._database, self._application, self._run)
        self._stack.callback(worker.close)
        return worker

    def copy(self, version: int) -> AbstractContextManager[Scratch]:
        """A throwaway copy of the schema; UsageError behind a transaction pooler."""
        refuse_transaction_pooler(self._dsn, self._database)
        return scratch_copy(self._dsn, self._database, version)
