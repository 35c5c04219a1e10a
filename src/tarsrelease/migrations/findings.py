"""What is wrong with a statement, and whether that can be allowed by name and reason."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tarsrelease.migrations.statements import Statement


class Weight(StrEnum):
    """What a finding does: `never` cannot be allowed, `refused` can be, `note` is only reported."""

    NEVER = "never"
    REFUSED = "refused"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that a statement breaks; `allowed` is the reason that the file gives, if any."""

    rule: str
    file: str
    line: int
    statement: int
    found: str
    remedy: str
    weight: Weight
    allowed: str | None = None

    @property
    def refuses(self) -> bool:
        """Whether it keeps the migration from being applied."""
        return self.weight is Weight.NEVER or (
            self.weight is Weight.REFUSED and self.allowed is None
        )

    def __str__(self) -> str:
        end = f" (allowed: {self.allowed})" if self.allowed else ""
        return f"{self.file}:{self.line}: {self.rule}: {self.found}{end}"


def finding(statement: Statement, rule: str, found: str, remedy: str, weight: Weight) -> Finding:
    """A finding about `statement`, with the file's reason for allowing it."""
    return Finding(
        rule=rule,
        file=statement.file,
        line=statement.line,
        statement=statement.number,
        found=found,
        remedy=remedy,
        weight=weight,
        allowed=None if weight is Weight.NEVER else statement.allowed.get(rule),
    )


def unknown_allowances(
    statements: Sequence[Statement], known: Iterable[str], used: Iterable[Finding]
) -> list[Finding]:
    """Allowances of rules that do not exist, and (as a note) those that allow nothing."""
    rules = sorted(known)
    needed = {(item.file, item.statement, item.rule) for item in used}
    findings = []
    for statement in statements:
        for rule in statement.allowed:
            if rule not in rules:
                near = difflib.get_close_matches(rule, rules, n=1)
                advice = f"did you mean {near[0]}?" if near else f"there are: {', '.join(rules)}"
                findings.append(
                    finding(
                        statement,
                        "unknown-allowance",
                        f"there is no rule {rule}",
                        advice,
                        Weight.NEVER,
                    )
                )
            elif (statement.file, statement.number, rule) not in needed:
                findings.append(
                    finding(
                        statement,
                        "unused-allowance",
                        f"{rule} is allowed, but the statement does not break it",
                        "remove the allowance, so that it hides nothing later",
                        Weight.NOTE,
                    )
                )
    return findings
