"""migrate plan: what each statement would do, tried on a copy of the schema; nothing is changed.

(1) Read and lint the files. (2) Compare them with the history. (3) Try each statement that is
left on a throwaway copy, and (4) compare it with the real tables' sizes and users. (5) Prove that
up and down lead to the same schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tarsrelease.context import Assignment
from tarsrelease.migrations.dangers import (
    RelationSize,
    dangers,
    duration_class,
    expected_seconds,
)
from tarsrelease.migrations.findings import Finding, Weight, finding, unknown_allowances
from tarsrelease.migrations.history import State, fold, objections, pending
from tarsrelease.migrations.linting import NOT_ASKED
from tarsrelease.migrations.locks import Footprint, Mode, documented
from tarsrelease.migrations.problems import SqlError
from tarsrelease.migrations.refusals import phase_files
from tarsrelease.migrations.rules import RULES, check_statement
from tarsrelease.migrations.server import Session
from tarsrelease.migrations.statements import NonTransactional, SqlFile, Statement
from tarsrelease.model.errors import UsageError
from tarsrelease.model.format import count
from tarsrelease.model.outcome import Check, Observed, Outcome, Status
from tarsrelease.model.step_details import (
    FoundDanger,
    LockTaken,
    MigratePlanDetails,
    PlannedStatement,
)
from tarsrelease.operations.migrations.files import database_of, read_migrations
from tarsrelease.operations.migrations.outcome import NO_MIGRATIONS, Step, left_alone, not_usable
from tarsrelease.operations.migrations.prove_down import prove_down
from tarsrelease.operations.migrations.session import errors_as_outcomes
from tarsrelease.ports.database import Catalog, DatabaseAccess, ScratchDatabase
from tarsrelease.ports.people import Progress


@dataclass(frozen=True)
class Planned:
    """What is known about one statement that is left to apply."""

    statement: Statement
    footprint: Footprint
    sizes: Mapping[str, RelationSize]
    seconds: float
    findings: tuple[Finding, ...]
    users: tuple[Session, ...]


def plan(assignment: Assignment, access: DatabaseAccess, phase: str = "expand") -> Outcome:
    """Try everything that `up` and `down` would do; no-go if `up` would refuse or fail.

    Raises ReleaseError if the files, the database or the copy cannot be used.
    """
    release = assignment.release
    migrations = release.manifest.migrations
    if not migrations:
        return left_alone(assignment, "migrate plan", NO_MIGRATIONS)
    step = Step(assignment, "plan")
    read = read_migrations(release, access.files)  # (1)
    chosen = [file for _, file in phase_files(release, read, phase)]
    with errors_as_outcomes(database_of(assignment.environment)):
        catalog = access.catalog()
        server = catalog.server()
        state = fold(catalog.history())  # (2)
        lint = access.linter(server.version)
        linted = {file.file: tuple(lint(file)) for file in chosen}
        problem = not_usable(server)
        against = objections(migrations, read, state, release=release.version, phase=phase)
        left = {one.file.file: one.statements for one in pending(migrations, read, state, phase)}
        assignment.people.progress.say(
            f"copying the schema of {server.database} (PostgreSQL {server.release})"
        )
        untouched = not any(one.file in state.files for one in migrations)
        with access.copies(server.version) as scratch:
            before = scratch.dump() if untouched else None
            trial = _Trial(assignment.people.progress, catalog, scratch, phase, linted)
            planned, failed = trial.run(left)  # (3), (4)
            proof = (
                _not_proven("the statements cannot all be applied")
                if failed or against
                else prove_down(assignment, read, state, phase, scratch, before)  # (5)
            )
            where = scratch.version
    unknown = _allowances(chosen, planned, linted, left)
    checks = [
        *_server_checks(problem),
        *_history_checks(against),
        *(_applied(file, state) for file in chosen if file.file not in left),
        *(_statement_check(one) for one in planned),
        *failed,
        *(_finding_check(item) for item in unknown if item.refuses),
        *proof,
    ]
    if not chosen:
        checks.append(_nothing(phase))
    stopping = sum(check.status not in {Status.PASS, Status.SKIPPED} for check in checks)
    return step.ended(
        f"{phase}: {count(len(planned), 'statement')} to apply"
        + (f", {stopping} checks against it" if stopping else ""),
        checks,
        details=MigratePlanDetails(
            plan=(
                *(line for one in planned for line in describe(one)),
                *(str(item) for item in unknown),
            ),
            tried_on=f"PostgreSQL {where}",
            database=f"{server.database}, PostgreSQL {server.release}, as {server.role}",
            statements=tuple(_published(one) for one in planned),
        ),
        next_step="tarsrelease migrate up" if planned and not stopping else "",
    )


@dataclass(frozen=True)
class _Trial:
    """The statements of a phase, tried in order on a copy."""

    progress: Progress
    catalog: Catalog
    scratch: ScratchDatabase
    phase: str
    linted: Mapping[str, Sequence[Finding]]

    def run(self, left: Mapping[str, Sequence[Statement]]) -> tuple[list[Planned], list[Check]]:
        """Try each statement on what the former ones left; stop at the first that fails."""
        planned: list[Planned] = []
        for statements in left.values():
            for statement in statements:
                self.progress.say(f"trying {statement.place}: {statement.first_line}")
                written = check_statement(statement, self.phase)
                try:
                    footprint = _footprint(statement, self.catalog, self.scratch)
                    if not any(item.weight is Weight.NEVER for item in written):
                        self.scratch.apply(statement)
                except SqlError as problem:
                    return planned, [_would_fail(statement, problem)]
                noted = [
                    item
                    for item in self.linted[statement.file]
                    if item.statement == statement.number
                ]
                findings = [*written, *noted]
                planned.append(_planned(statement, footprint, findings, self.catalog))
        return planned, []


def _footprint(statement: Statement, catalog: Catalog, scratch: ScratchDatabase) -> Footprint:
    if statement.non_transactional is None:
        return scratch.footprint(statement)
    match statement.non_transactional:
        case NonTransactional.CREATE_INDEX:
            tables = [statement.table]
        case NonTransactional.VACUUM:
            tables = list(statement.names)
        case _:
            # REINDEX names an index or a table.
            tables = [catalog.table_of(name) for name in statement.names]
            if statement.non_transactional is NonTransactional.REINDEX and not any(tables):
                tables = list(statement.names)
    return documented(statement, [table for table in tables if table is not None])


def _planned(
    statement: Statement, footprint: Footprint, findings: Sequence[Finding], catalog: Catalog
) -> Planned:
    relations = [lock.relation for lock in footprint.locks]
    sizes = catalog.sizes(relations)
    tables = [lock.relation for lock in footprint.locks if lock.kind in {"r", "p", "m"}]
    rights = [
        finding(
            statement,
            "missing-rights",
            f"this role does not own {name}",
            "run it as the owner, or GRANT the owner's role to this one",
            Weight.NEVER,
        )
        for name in tables
        if (footprint.strongest or 0) >= Mode.ShareUpdateExclusive and catalog.owned(name) is False
    ]
    # Any lock on a table blocks ACCESS EXCLUSIVE, and a build waits for every older transaction.
    users = catalog.users_of(relations) if relations else []
    return Planned(
        statement=statement,
        footprint=footprint,
        sizes=sizes,
        seconds=expected_seconds(statement, footprint, sizes),
        findings=(*findings, *dangers(statement, footprint, sizes), *rights),
        users=tuple(users),
    )


def describe(one: Planned) -> list[str]:
    """A statement and what is known about it, as text."""
    how = "measured on a copy" if one.footprint.measured else "as documented"
    locks = ", ".join(map(str, one.footprint.locks)) or "no lock on what is there"
    strongest = one.footprint.strongest
    blocks = f"; blocks {strongest.blocks}" if strongest is not None else ""
    sizes = ", ".join(
        f"{name} {size.bytes / 1e6:.1f} MB, about {size.rows} rows"
        for name, size in one.sizes.items()
    )
    lines = [
        f"{one.statement.place}: {one.statement.first_line}\n"
        f"       locks: {locks} ({how}{blocks})\n"
        f"       takes: {duration_class(one.seconds)}" + (f" ({sizes})" if sizes else "")
    ]
    lines[0] += "".join(f"\n       found: {item.rule}: {item.found}" for item in one.findings)
    lines[0] += "".join(f"\n       in the way now: {user}" for user in one.users[:5])
    return lines


def _published(one: Planned) -> PlannedStatement:
    return PlannedStatement(
        file=one.statement.file,
        statement=one.statement.number,
        line=one.statement.line,
        sql=one.statement.text,
        sha256=one.statement.sha256,
        locks=tuple(
            LockTaken(relation=lock.relation, mode=lock.mode.words) for lock in one.footprint.locks
        ),
        measured=one.footprint.measured,
        rewrites=tuple(sorted(one.footprint.rewritten)),
        scans=tuple(sorted(one.footprint.scanned)),
        bytes={name: size.bytes for name, size in one.sizes.items()},
        seconds=round(one.seconds, 3),
        duration=str(duration_class(one.seconds)),
        findings=tuple(
            FoundDanger(
                rule=item.rule, found=item.found, weight=str(item.weight), allowed=item.allowed
            )
            for item in one.findings
        ),
        in_the_way=tuple(str(user) for user in one.users),
    )


def _statement_check(one: Planned) -> Check:
    strongest = one.footprint.strongest
    stopping = [item for item in one.findings if item.refuses]
    reason = "\n".join(f"{item}; remedy: {item.remedy}" for item in stopping)
    locks = ", ".join(map(str, one.footprint.locks)) or "no lock"
    return Check(
        id="migrate.statement",
        status=Status.FAIL if stopping else Status.PASS,
        observed=Observed(value=strongest.words if strongest else "none", unit="lock"),
        expected="it blocks nobody for long, and can be resumed",
        reason=reason
        or f"{one.statement.place}: {locks}; {duration_class(one.seconds)}"
        + "".join(
            f"; allowed: {item.rule} ({item.allowed})" for item in one.findings if item.allowed
        ),
        source=one.statement.place,
    )


def _finding_check(item: Finding) -> Check:
    return Check(
        id="migrate.statement",
        status=Status.FAIL,
        expected="rules that exist",
        reason=f"{item}; {item.remedy}",
        source=f"{item.file}:{item.line}",
    )


def _would_fail(statement: Statement, problem: SqlError) -> Check:
    where = statement.place_at(problem.position)
    return Check(
        id="migrate.statement",
        status=Status.FAIL,
        expected="the statement succeeds on a copy of the schema",
        reason=f"{where}: {problem.message} {problem.hint}".strip(),
        source=where,
    )


def _allowances(
    chosen: Sequence[SqlFile],
    planned: Sequence[Planned],
    linted: Mapping[str, Sequence[Finding]],
    left: Mapping[str, Sequence[Statement]],
) -> list[Finding]:
    known = {
        *RULES,
        *NOT_ASKED,
        *(item.rule for found in linted.values() for item in found),
    }
    tried = {(one.statement.file, one.statement.number) for one in planned}
    statements = [
        one
        for file in chosen
        for one in file.statements
        if file.file in left and (one.file, one.number) in tried
    ]
    return unknown_allowances(statements, known, [item for one in planned for item in one.findings])


def _server_checks(problem: UsageError | None) -> list[Check]:
    return [
        Check(
            id="migrate.database",
            status=Status.PASS if problem is None else Status.FAIL,
            expected="a primary, and a role that may keep the history",
            reason="can be migrated"
            if problem is None
            else f"{problem.detail.found}; {problem.detail.next}",
        )
    ]


def _history_checks(against: Sequence[str]) -> list[Check]:
    return [
        Check(
            id="migrate.history",
            status=Status.FAIL if against else Status.PASS,
            expected="files as they were applied, all there, in order",
            reason="\n".join(against) or "files and history agree",
        )
    ]


def _applied(file: SqlFile, state: State) -> Check:
    count = len(file.statements)
    done = state.applied(file.file)
    return Check(
        id="migrate.applied",
        status=Status.PASS if done else Status.FAIL,
        observed=Observed(value=count, unit="statements"),
        expected="applied before, or to be applied",
        reason=f"{file.file}: all {count} statements are applied already",
        source=file.file,
    )


def _nothing(phase: str) -> Check:
    return Check(
        id="migrate.statement",
        status=Status.SKIPPED,
        expected="statements",
        reason=f"NOT CHECKED: this release has no {phase} migration",
    )


def _not_proven(why: str) -> list[Check]:
    return [
        Check(
            id="migrate.down",
            status=Status.SKIPPED,
            expected="up, then down, leaves the same schema",
            reason=f"NOT CHECKED: {why}",
        )
    ]
