"""How migrations end: outcomes, and errors with file and line."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.context import Assignment
from tarsrelease.migrations.problems import ConnectionGoneError, SqlError
from tarsrelease.migrations.server import LockOwner, Server
from tarsrelease.migrations.statements import Statement
from tarsrelease.model.database import Database
from tarsrelease.model.details import Details
from tarsrelease.model.errors import (
    LockedError,
    RefusedError,
    ReleaseError,
    StoppedError,
    UnreachableError,
    UsageError,
)
from tarsrelease.model.format import duration
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict, worst
from tarsrelease.operations.migrations.recovery import NotOursError
from tarsrelease.operations.outcome import StepReport

_REMEDIES = {
    "42501": "grant the role what it lacks; ALTER and CREATE INDEX need the table's owner (GRANT "
    "owner TO role)",
    "25006": "point the DSN at the primary",
    "57014": "it took longer than the environment allows (blocking_timeout if its locks may block "
    "others, else statement_timeout or build_deadline): `tarsrelease migrate plan` shows what it "
    "does; change it, or allow it in the file by name and reason (table-rewrite, long-lock)",
    "53100": "free disk space first",
    "53300": "free connections first, or raise max_connections",
    "42P07": "it exists already, and not by this history: drop it, or write IF NOT EXISTS",
    "42701": "it exists already, and not by this history: drop it, or write IF NOT EXISTS",
    "23505": "the data breaks the rule: correct the rows, then run it again",
    "23514": "the data breaks the rule: correct the rows, then run it again",
    "23502": "the data breaks the rule: correct the rows, then run it again",
}


class Step:
    """A step of `migrate` that has started; `name` is that of its command, such as ``up``."""

    def __init__(self, assignment: Assignment, name: str) -> None:
        self._report = StepReport(assignment, f"migrate {name}")

    def ended(
        self,
        summary: str,
        checks: Sequence[Check],
        *,
        details: Details | None = None,
        next_step: str = "",
        verdict: Verdict | None = None,
    ) -> Outcome:
        """The outcome; by default proceed if every check that was made passed, else no-go.

        Skipped checks do not stop it, but no check at all does.
        """
        made = [check.status for check in checks if check.status is not Status.SKIPPED]
        good = worst(made) is Status.PASS
        decided = verdict or (Verdict.PROCEED if good else Verdict.NO_GO)
        return self._report.outcome(
            decided, summary, checks=checks, details=details, next_step=next_step
        )


def left_alone(assignment: Assignment, step: str, why: str) -> Outcome:
    """There is nothing to migrate: reported as NOT CHECKED, and the release proceeds."""
    skipped = Check(
        id="migrate.applied",
        status=Status.SKIPPED,
        expected="the release's migrations, applied",
        reason=f"NOT CHECKED: {why}",
    )
    return StepReport(assignment, step).outcome(
        Verdict.PROCEED, "the database was left alone", checks=(skipped,)
    )


NO_MIGRATIONS = "this release has no migrations"


def locked(owner: LockOwner, waited: float) -> LockedError:
    """Another run migrates."""
    return LockedError(
        doing=f"taking the migrations' lock (waited {duration(waited)})",
        found=f"{owner} holds it",
        expected="one migration of this application at a time",
        next_step="wait with --wait DURATION; `tarsrelease migrate status` shows what it does; "
        "if its process is dead, its session ends by itself, or with "
        f"pg_terminate_backend({owner.pid})",
    )


def not_usable(server: Server) -> UsageError | None:
    """Why this server or this role cannot be migrated; None if it can."""
    doing = f"checking database {server.database} as {server.role}"
    if server.replica:
        return UsageError(
            doing=doing,
            found="it is a read-only replica (pg_is_in_recovery)",
            expected="the primary",
            next_step="point the DSN at the primary (in a DSN with several hosts: "
            "target_session_attrs=read-write)",
        )
    if server.version < 13:
        return UsageError(
            doing=doing,
            found=f"PostgreSQL {server.release}",
            expected="PostgreSQL 13 or newer",
            next_step="upgrade the server first",
        )
    if server.read_only:
        return UsageError(
            doing=doing,
            found="default_transaction_read_only is on for this role or database",
            expected="a role whose transactions may write",
            next_step=f"ALTER ROLE {server.role} RESET default_transaction_read_only (or ALTER "
            "DATABASE), unless somebody has frozen the database on purpose",
        )
    if server.missing:
        return UsageError(
            doing=doing,
            found=f"the role lacks {'; '.join(server.missing)}",
            expected="a role that may keep the history",
            next_step=f"as the owner or a superuser: GRANT it to {server.role}",
        )
    return None


def statement_failed(statement: Statement, problem: SqlError, changed: bool) -> ReleaseError:
    """PostgreSQL refused a statement; `changed`: this run has changed something."""
    found = f"{statement.place_at(problem.position)}: {problem.message}"
    if problem.hint:
        found += f" ({problem.hint})"
    remedy = _REMEDIES.get(
        problem.state, "correct the statement (what is finished must stay as it is)"
    )
    arguments = {
        "doing": f"applying statement {statement.number} of {statement.file}: "
        f"{statement.first_line}",
        "found": f"{found} [SQLSTATE {problem.state}]",
        "expected": "the statement to succeed; nothing of it is left",
        "next_step": f"{remedy}; then run migrate again: it continues at this statement",
    }
    if changed:
        return StoppedError(**arguments)
    return RefusedError(**arguments)


def in_the_way(statement: Statement, problem: NotOursError, changed: bool) -> ReleaseError:
    """An index that no attempt of ours has left is in the way; see `statement_failed`."""
    arguments = {
        "doing": f"preparing statement {statement.number} of {statement.file}: "
        f"{statement.first_line}",
        "found": f"{statement.place}: {problem.found}",
        "expected": "no index of this name, or the one that an interrupted attempt left",
        "next_step": f"{problem.remedy}; then run migrate again: it continues at this statement",
    }
    return StoppedError(**arguments) if changed else RefusedError(**arguments)


def connection_gone(
    statement: Statement | None, problem: ConnectionGoneError, started: bool, database: Database
) -> ReleaseError:
    """The connection broke; `started`: a statement of this run had started."""
    arguments = {
        "doing": f"applying {statement.place}: {statement.first_line}"
        if statement
        else "querying the database",
        "found": str(problem),
        "expected": "a connection that lasts",
        "next_step": f"check the server and {database.dsn_env}; then run the same command again: "
        "it continues after the last finished statement",
    }
    return StoppedError(**arguments) if started else UnreachableError(**arguments)
