"""The statements of a phase, tried in order on a copy, and compared with the real database."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tarsrelease.migrations.dangers import RelationSize, dangers, expected_seconds
from tarsrelease.migrations.deadlines import Deadline, deadline_of
from tarsrelease.migrations.facts import Facts, broken_promises, removed_comments
from tarsrelease.migrations.findings import Finding, Weight, finding
from tarsrelease.migrations.locks import Footprint, Mode, documented
from tarsrelease.migrations.losses import builds_text, weakened_by
from tarsrelease.migrations.problems import ClusterWideError, SqlError
from tarsrelease.migrations.rules import NOTES, RULES, check_statement, is_cluster_wide, revokes
from tarsrelease.migrations.sequences import follows_rows, sets_of
from tarsrelease.migrations.server import Session
from tarsrelease.migrations.statements import NonTransactional, Statement, text_of_block
from tarsrelease.migrations.trial import Trial
from tarsrelease.model.database import Database
from tarsrelease.model.outcome import Check, Status
from tarsrelease.ports.database import Catalog, ScratchDatabase
from tarsrelease.ports.people import Progress

_BREAKS = "breaks-running-version"
_OWNER = re.compile(r"must be owner of (?:\w+ )*(?P<name>\S+)$")


@dataclass(frozen=True)
class Planned:
    """What is known about one statement that is left to apply."""

    statement: Statement
    footprint: Footprint
    sizes: Mapping[str, RelationSize]
    seconds: float
    findings: tuple[Finding, ...]
    users: tuple[Session, ...]
    deadline: Deadline


class _Real:
    """What plan reads of the real database's relations, once for each."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._sizes: dict[str, RelationSize | None] = {}
        self._owned: dict[str, bool | None] = {}
        self._users: dict[frozenset[str], tuple[Session, ...]] = {}

    def sizes(self, relations: Sequence[str]) -> dict[str, RelationSize]:
        """The size of each relation that exists."""
        new = [name for name in relations if name not in self._sizes]
        if new:
            found = self._catalog.sizes(new)
            self._sizes.update({name: found.get(name) for name in new})
        return {name: size for name in relations if (size := self._sizes[name]) is not None}

    def owned(self, relation: str) -> bool | None:
        """Whether the role may act as its owner; None: it does not exist."""
        if relation not in self._owned:
            self._owned[relation] = self._catalog.owned(relation)
        return self._owned[relation]

    def users(self, relations: frozenset[str]) -> tuple[Session, ...]:
        """Sessions with any lock on these, which keeps ACCESS EXCLUSIVE and builds waiting."""
        if relations not in self._users:
            self._users[relations] = tuple(self._catalog.users_of(relations)) if relations else ()
        return self._users[relations]


@dataclass(frozen=True)
class Trials:
    """Tries statements on `scratch`, a copy of the database behind `catalog`."""

    catalog: Catalog
    scratch: ScratchDatabase
    database: Database
    phase: str
    linted: Mapping[str, Sequence[Finding]]

    def run(
        self, left: Mapping[str, Sequence[Statement]], progress: Progress
    ) -> tuple[list[Planned], list[Check]]:
        """Try each statement on what the former ones left; stop at the first that fails."""
        planned: list[Planned] = []
        real = _Real(self.catalog)
        base = before = self.scratch.facts()
        for name, statements in left.items():
            linted: defaultdict[int, list[Finding]] = defaultdict(list)
            for item in self.linted[name]:
                linted[item.statement].append(item)
            for statement in statements:
                progress.say(f"trying {statement.place}: {statement.first_line}")
                written = [*check_statement(statement, self.phase), *linted[statement.number]]
                if self.database.scratch_env is not None and is_cluster_wide(statement):
                    written.append(_never(statement, "cluster-wide", statement.first_line))
                if not self.scratch.complete and revokes(statement):
                    written.append(_refused(statement, _BREAKS, "revokes privileges"))
                trial = Trial(Footprint((), measured=False))
                # What may never run must not run on the copy either.
                if not any(item.weight is Weight.NEVER for item in written):
                    try:
                        trial = self.scratch.run(statement, self._documented(statement))
                    except ClusterWideError as problem:
                        written.append(_never(statement, "cluster-wide", problem.message))
                    except SqlError as problem:
                        if "empty-copy" not in statement.allowed:
                            return planned, [_would_fail(statement, problem)]
                        written.append(_refused(statement, "empty-copy", problem.message))
                after = self.scratch.facts()
                findings = [
                    *_without_doubles(written, self._broken(statement, trial, base, before, after)),
                    *self._noted(statement, trial, base, before, after),
                    *(_never(statement, "session-state", f"leaves {one}") for one in trial.session),
                ]
                before = after
                planned.append(_planned(statement, trial.footprint, findings, real, self.database))
        return planned, []

    def _broken(
        self, statement: Statement, trial: Trial, base: Facts, before: Facts, after: Facts
    ) -> list[Finding]:
        """What the running version would lack; only expand migrations run beside it."""
        if self.phase != "expand":
            return []
        lost = [
            *broken_promises(base, before, after),
            *(f"deletes rows of {name}" for name in sorted(trial.deleted) if _existed(name, base)),
            *(
                f"restarts a sequence or sets its position ({name})"
                for name in sorted(trial.moved) or sets_of(statement, base)
                if not follows_rows(statement)
            ),
            *(f"calls {one}, perhaps in a branch or a loop" for one in trial.calls),
            *(
                f"its block has {one}, perhaps in a branch that depends on rows"
                for one in weakened_by(text_of_block(statement))
                if trial.reads
            ),
        ]
        return [_refused(statement, _BREAKS, one) for one in lost]

    def _noted(
        self, statement: Statement, trial: Trial, base: Facts, before: Facts, after: Facts
    ) -> list[Finding]:
        """What a person should know, and what breaks nothing."""
        if self.phase != "expand":
            return []
        notes = [
            *(("comment", one) for one in removed_comments(base, before, after)),
            *(("trigger", f"fires {one}") for one in trial.fires),
            *(
                ("built-text", "its block reads rows and runs a text that it builds")
                for _ in range(trial.reads and builds_text(text_of_block(statement)))
            ),
        ]
        return [finding(statement, *one, NOTES[one[0]], Weight.NOTE) for one in notes]

    def _documented(self, statement: Statement) -> Footprint | None:
        """The footprint of a statement that cannot run in a transaction."""
        match statement.non_transactional:
            case None:
                return None
            case NonTransactional.CREATE_INDEX:
                tables = [statement.table]
            case NonTransactional.VACUUM:
                tables = list(statement.names)
            case _:
                # The migration itself may make an index that REINDEX names.
                tables = [self.catalog.table_of(name) for name in statement.names]
                if statement.non_transactional is NonTransactional.REINDEX and not any(tables):
                    tables = list(statement.names)
        return documented(statement, [table for table in tables if table is not None])


def _existed(table: str, base: Facts) -> bool:
    relations = {fact.value for fact in base["relations"].values()}
    return table in relations or f"public.{table}" in relations or "." not in table


def _refused(statement: Statement, rule: str, found: str) -> Finding:
    return finding(statement, rule, found, RULES[rule], Weight.REFUSED)


def _never(statement: Statement, rule: str, found: str) -> Finding:
    return finding(statement, rule, found, RULES[rule], Weight.NEVER)


def _without_doubles(written: Sequence[Finding], measured: Sequence[Finding]) -> list[Finding]:
    """Measured findings name the objects; they replace what the text alone shows."""
    if not measured:
        return list(written)
    return [*(item for item in written if item.rule != _BREAKS), *measured]


def _planned(
    statement: Statement,
    footprint: Footprint,
    findings: Sequence[Finding],
    real: _Real,
    database: Database,
) -> Planned:
    sizes = real.sizes([lock.relation for lock in footprint.locks])
    tables = [
        lock.relation
        for lock in footprint.locks
        if lock.kind in {"r", "p", "m"} and lock.relation in sizes
    ]
    rights = [
        finding(
            statement,
            "missing-rights",
            f"this role does not own {name}",
            "run it as the owner, or GRANT the owner's role to this one",
            Weight.NEVER,
        )
        for name in tables
        if (footprint.strongest or 0) >= Mode.ShareUpdateExclusive and real.owned(name) is False
    ]
    return Planned(
        statement=statement,
        footprint=footprint,
        sizes=sizes,
        seconds=expected_seconds(statement, footprint, sizes),
        findings=(*findings, *dangers(statement, footprint, sizes), *rights),
        users=real.users(frozenset(sizes)),
        deadline=deadline_of(statement, database),
    )


def _would_fail(statement: Statement, problem: SqlError) -> Check:
    where = statement.place_at(problem.position)
    owner = _OWNER.search(problem.message)
    reason = f"{where}: {problem.message} {problem.hint}".strip()
    if owner is not None:
        reason = (
            f"{where}: missing-rights: this role does not own {owner['name']}; remedy: run it as "
            "the owner, or GRANT the owner's role to this one"
        )
    return Check(
        id="migrate.statement",
        status=Status.FAIL,
        expected="the statement succeeds on a copy of the schema",
        reason=reason,
        source=where,
    )
