"""The database of an environment, and what protects it during a migration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from tarsrelease.model import promql
from tarsrelease.model.base import Bytes, Label, ObjectName, Seconds, Share, Value
from tarsrelease.model.connections import VariableName


def _plain_selector(text: str) -> str:
    promql.check_expressions(promql.parse(promql.with_matchers(text, "")).matchers)
    return text


PlainSelector = Annotated[str, AfterValidator(_plain_selector)]


class PortForward(Value):
    """A Service in the environment's namespace, reached with `kubectl port-forward`."""

    service: Label
    port: int = Field(default=5432, ge=1, le=65535)


class DatabaseUsage(Value):
    """Limits on the resource usage of the database's pod, read from Prometheus.

    `cpu` and `memory` are PromQL selectors of a counter of CPU seconds and a gauge of bytes; the
    values of several series are summed. `cpu_below` is in cores.
    """

    cpu: PlainSelector
    cpu_below: float = Field(gt=0)
    memory: PlainSelector
    memory_below: Bytes


class DatabaseGuards(Value):
    """Guards: a migration waits while one is violated, for at most `patience`; then it holds.

    `volume` is the size of the database's disk, which SQL cannot tell; without it, the disk is not
    checked. `disk_below` is the share of the disk that may be used after a statement.
    """

    replication_lag: Seconds = 10.0
    oldest_transaction: Seconds = 300.0
    free_connections: int = Field(default=5, ge=1)
    volume: Bytes | None = None
    disk_below: Share = 0.85
    usage: DatabaseUsage | None = None
    patience: Seconds = 600.0


class MigrationJob(Value):
    """The Job that `--as-job` creates: an image with tarsrelease, and the Secret with the DSN.

    `secret_key` is the key of the DSN in `secret`. Set `service_account` if the database requires
    one; the pod needs no rights in the cluster and gets no token for it.
    """

    image: str
    secret: ObjectName
    secret_key: str = "dsn"  # noqa: S105 - the name of a key
    deadline: Seconds = 7200.0
    service_account: ObjectName | None = None


class Database(Value):
    """The application's PostgreSQL. `dsn_env` names the variable with the DSN.

    `tls` is libpq's sslmode and replaces the DSN's. `schema_name` is the schema of the history and
    of unqualified names. `lock_timeout`: how long a statement waits for a lock while other sessions
    queue behind it; it then gives way and retries, for `lock_patience` in total.
    `statement_timeout`: the limit of a statement in a transaction. `blocking_timeout`: the limit of
    a statement whose locks may block others and that its file does not allow with a reason.
    `build_deadline`: the limit of a statement that runs beside the traffic, such as CREATE INDEX
    CONCURRENTLY; `build_workers`: the parallel workers it may use. `scratch_env` names the variable
    with the DSN of a server for throwaway copies; without it, one is started on this machine.
    `answers_within`: the limit of `migrate verify` for a trivial query. `contract_after`: the time
    after the promotion during which a rollback is still possible.
    """

    dsn_env: VariableName
    tls: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] | None = None
    schema_name: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]*$")] = "public"
    port_forward: PortForward | None = None
    connect_timeout: Seconds = 5.0
    lock_timeout: Seconds = 1.0
    lock_patience: Seconds = 300.0
    statement_timeout: Seconds = 300.0
    blocking_timeout: Seconds = 5.0
    build_deadline: Seconds = 3600.0
    build_workers: int = Field(default=0, ge=0, le=64)
    answers_within: Seconds = 0.1
    contract_after: Seconds = 86400.0
    scratch_env: VariableName | None = None
    guards: DatabaseGuards = DatabaseGuards()
    job: MigrationJob | None = None
