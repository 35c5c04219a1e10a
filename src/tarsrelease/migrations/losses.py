"""What a statement would take away for good."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tarsrelease.migrations.statements import NODES, Statement, dropped_names, qualified

_IN_BLOCK = re.compile(
    r"\b(delete\s+from|truncate|drop\s+(?:table|column|schema))\b", re.IGNORECASE
)
_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)


def destroyed_in_block(statement: Statement) -> list[str]:
    """What a DO block may remove: on a copy without rows, a loop over rows does nothing."""
    found = [
        " ".join(match[0].upper().split())
        for item in statement.node.do_stmt.args
        if item.def_elem.defname == "as"
        for match in _IN_BLOCK.finditer(_COMMENT.sub(" ", item.def_elem.arg.string.sval))
    ]
    return list(dict.fromkeys(found))


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
