"""migrate plan: what each statement would do, tried on a copy of the schema; nothing is changed.

(1) Read and lint the files. (2) Compare them with the history. (3) Try each statement that is
left on a throwaway copy, and (4) compare it with the real tables' sizes and users. (5) Prove that
up and down lead to the same schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from tarsrelease.context import Assignment
from tarsrelease.migrations.dangers import (
    duration_class,
)
from tarsrelease.migrations.findings import Finding, unknown_allowances
from tarsrelease.migrations.history import State, fold, objections, pending
from tarsrelease.migrations.linting import NOT_ASKED
from tarsrelease.migrations.locks import Mode, TableLock
from tarsrelease.migrations.refusals import phase_files, written_findings
from tarsrelease.migrations.rules import RULES
from tarsrelease.migrations.statements import SqlFile, Statement
from tarsrelease.model.bundle import Migration
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
from tarsrelease.operations.migrations.recovery import objections_of
from tarsrelease.operations.migrations.session import errors_as_outcomes
from tarsrelease.operations.migrations.trials import Planned, Trials
from tarsrelease.ports.database import DatabaseAccess

_SHOWN = 200
"""Characters of a statement in the outcome: megabytes of SQL are not recorded a second time."""
_NO_PRIVILEGES = Check(
    id="migrate.privileges",
    status=Status.SKIPPED,
    expected="owners and privileges, compared before and after each statement",
    reason="NOT CHECKED: the role of database.scratch_env is no superuser, so that the copy has "
    "neither; REVOKE and OWNER TO are refused unless allowed, but not inside of blocks",
)


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
    database = database_of(assignment.environment)
    with errors_as_outcomes(database):
        catalog = access.catalog()
        server = catalog.server()
        state = fold(catalog.history())  # (2)
        lint = access.linter(server.version)
        linted = {file.file: tuple(lint(file)) for file in chosen}
        problem = not_usable(server)
        against = objections(migrations, read, state, release=release.version, phase=phase)
        work = pending(migrations, read, state, phase)
        left = {one.file.file: one.statements for one in work}
        in_the_way = [
            _refused(statement.place, reason) for statement, reason in objections_of(work, catalog)
        ]
        assignment.people.progress.say(
            f"copying the schema of {server.database} (PostgreSQL {server.release})"
        )
        untouched = not any(one.file in state.files for one in migrations)
        with access.copies(server.version) as scratch:
            if scratch.not_copied:
                left_out = ", ".join(scratch.not_copied)
                assignment.people.progress.say(
                    f"not copied, as this role cannot read it: {left_out}"
                )
            before = scratch.dump() if untouched else None
            trials = Trials(catalog, scratch, database, phase, linted)
            planned, failed = trials.run(left, assignment.people.progress)  # (3), (4)
            proof = (
                _not_proven("the statements cannot all be applied")
                if failed or against
                else prove_down(assignment, read, state, phase, scratch, before)  # (5)
            )
            where, complete = scratch.version, scratch.complete
            not_copied = scratch.not_copied
    unknown = _allowances(chosen, planned, linted, left)
    checks = [
        *_server_checks(problem),
        *([] if complete else [_NO_PRIVILEGES]),
        *_history_checks(against),
        *(_applied(file, state) for file in chosen if file.file not in left),
        *(_statement_check(one) for one in planned),
        *failed,
        *in_the_way,
        *(
            _refused(f"{item.file}:{item.line}", f"{item}; {item.remedy}")
            for item in unknown
            if item.refuses
        ),
        *_down_rules(assignment.release.manifest.migrations, read, phase),
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
            session=server.replaced,
            not_copied=not_copied,
            database=f"{server.database}, PostgreSQL {server.release}, as {server.role}",
            statements=tuple(_published(one) for one in planned),
        ),
        next_step="tarsrelease migrate up" if planned and not stopping else "",
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
    lines[0] += f"\n       deadline: {one.deadline}"
    lines[0] += "".join(f"\n       found: {item.rule}: {item.found}" for item in one.findings)
    lines[0] += "".join(f"\n       in the way now: {user}" for user in one.users[:5])
    return lines


def _published(one: Planned) -> PlannedStatement:
    return PlannedStatement(
        file=one.statement.file,
        statement=one.statement.number,
        line=one.statement.line,
        sql=one.statement.text[:_SHOWN],
        sha256=one.statement.sha256,
        locks=_locks(one.footprint.locks),
        measured=one.footprint.measured,
        rewrites=tuple(sorted(one.footprint.rewritten)),
        scans=tuple(sorted(one.footprint.scanned)),
        bytes={name: size.bytes for name, size in one.sizes.items()},
        seconds=round(one.seconds, 3),
        deadline=str(one.deadline),
        duration=str(duration_class(one.seconds)),
        findings=tuple(
            FoundDanger(
                rule=item.rule, found=item.found, weight=str(item.weight), allowed=item.allowed
            )
            for item in one.findings
        ),
        in_the_way=tuple(str(user) for user in one.users),
    )


@lru_cache(maxsize=64)
def _locks(locks: tuple[TableLock, ...]) -> tuple[LockTaken, ...]:
    """Remembered, because thousands of statements may take the same locks."""
    return tuple(LockTaken(relation=one.relation, mode=one.mode.words) for one in locks)


@lru_cache(maxsize=16)
def _strongest(mode: Mode | None) -> Observed:
    return Observed(value=mode.words if mode else "none", unit="lock")


def _statement_check(one: Planned) -> Check:
    stopping = [item for item in one.findings if item.refuses]
    reason = "\n".join(f"{item}; remedy: {item.remedy}" for item in stopping)
    locks = ", ".join(map(str, one.footprint.locks)) or "no lock"
    return Check(
        id="migrate.statement",
        status=Status.FAIL if stopping else Status.PASS,
        observed=_strongest(one.footprint.strongest),
        expected="it blocks nobody for long, and can be resumed",
        reason=reason
        or f"{one.statement.place}: {locks}; {duration_class(one.seconds)}"
        + "".join(
            f"; allowed: {item.rule} ({item.allowed})" for item in one.findings if item.allowed
        ),
        source=one.statement.place,
    )


def _refused(source: str, reason: str) -> Check:
    return Check(
        id="migrate.statement",
        status=Status.FAIL,
        expected="a statement that `migrate up` applies",
        reason=reason,
        source=source,
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


def _down_rules(
    migrations: Sequence[Migration], read: Mapping[str, SqlFile], phase: str
) -> list[Check]:
    """What `down` would refuse of the phase's down files."""
    names = dict.fromkeys(one.down for one in migrations if one.down and one.phase == phase)
    return [
        Check(
            id="migrate.down",
            status=Status.FAIL,
            expected="statements that `migrate down` does not refuse",
            reason=f"{item}; remedy: {item.remedy}",
            source=f"{item.file}:{item.line}",
        )
        for name in names
        for item in written_findings(read[name].statements, "down")
        if item.refuses
    ]


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
