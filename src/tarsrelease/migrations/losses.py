"""What a statement would take away for good."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tarsrelease.migrations.statements import (
    NODES,
    Statement,
    dropped_names,
    qualified,
    text_of_block,
)

_DESTROYS = re.compile(
    r"\b(?:delete\s+from|truncate|drop\s+(?:table|column|schema)|restart\s+(?:with|identity)"
    r"|lo_unlink)\b|\bsetval\b(?=\s*\()|\brefresh\s+materialized\s+view\b[^;]*\bno\s+data\b",
    re.IGNORECASE,
)
_WEAKENS = re.compile(
    r"\b(?:drop\s+(?!table|column|schema|index)[a-z]+|rename\s+(?:to|column|value|constraint|"
    r"attribute)|revoke|set\s+(?:schema|not\s+null|unlogged)|owner\s+to|detach\s+partition|"
    r"disable\s+(?:trigger|rule|row)|enable\s+row|no\s+inherit|alter\s+column\s+\S+\s+"
    r"(?:set\s+data\s+)?type)\b",
    re.IGNORECASE,
)
_SETS = {"SETVAL"}
"""Of a block it is known which sequences it sets; see sequences.py."""
_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)


def destroyed_by(body: str) -> list[str]:
    """What the text of a block or a function may remove, or which sequence's position it may set.

    On a copy without rows, a loop over rows does nothing.
    """
    return _words(_DESTROYS, body)


def weakened_by(body: str) -> list[str]:
    """What else the text of a block or a function may take from the running version."""
    return _words(_WEAKENS, body)


def taken_by(body: str) -> list[str]:
    """All that it may remove, set or take."""
    return [*destroyed_by(body), *weakened_by(body)]


def _words(pattern: re.Pattern[str], body: str) -> list[str]:
    found = [
        " ".join(match[0].upper().split()) for match in pattern.finditer(without_comments(body))
    ]
    return list(dict.fromkeys(found))


def builds_text(body: str) -> bool:
    """Whether the text of a block runs statements that it builds."""
    return re.search(r"\bexecute\b", without_comments(body), re.IGNORECASE) is not None


def without_comments(body: str) -> str:
    """The text without what looks like comments."""
    return _COMMENT.sub(" ", body)


def destroyed_in_block(statement: Statement) -> list[str]:
    """What a DO block may remove."""
    return [one for one in destroyed_by(text_of_block(statement)) if one not in _SETS]


@dataclass(frozen=True, slots=True)
class Loss:
    """Data that goes with a statement: a column of a table, or (`column` None) the whole table."""

    table: str
    column: str | None
    place: str

    @property
    def what(self) -> str:
        """For people."""
        return f"{self.table}.{self.column}" if self.column else self.table


def losses(statement: Statement) -> Iterator[Loss]:
    """Columns and tables whose content the statement drops, empties or deletes."""
    node = statement.node
    match node.WhichOneof("node"):
        case "alter_table_stmt":
            table = qualified(node.alter_table_stmt.relation)
            for item in node.alter_table_stmt.cmds:
                command = item.alter_table_cmd
                if command.subtype == NODES.AlterTableType.AT_DropColumn:
                    yield Loss(table, command.name, statement.place)
        case "drop_stmt" if node.drop_stmt.remove_type in {
            NODES.ObjectType.OBJECT_TABLE,
            NODES.ObjectType.OBJECT_MATVIEW,
        }:
            for name in dropped_names(node.drop_stmt):
                yield Loss(name, None, statement.place)
        case "truncate_stmt":
            for relation in node.truncate_stmt.relations:
                yield Loss(qualified(relation.range_var), None, statement.place)
        case "delete_stmt":
            yield Loss(qualified(node.delete_stmt.relation), None, statement.place)
