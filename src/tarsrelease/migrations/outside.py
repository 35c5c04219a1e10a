"""Statements that leave the database: files and programs of the server, other servers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import postgast

from tarsrelease.migrations.statements import NODES

_FUNCTIONS = re.compile(
    r"^(lo_import|lo_export|pg_read_file|pg_read_binary_file|pg_stat_file|pg_ls_\w+|pg_file_\w+|"
    r"pg_current_logfile|pg_rotate_logfile|pg_reload_conf|pg_promote|pg_switch_wal|pg_cancel_backend|"
    r"pg_terminate_backend|pg_execute_server_program|dblink\w*|pg_create_\w+_replication_slot|"
    r"pg_backup_start|pg_start_backup)$"
)
_UNTRUSTED = re.compile(
    r"^(c|internal|plpython\d?u|plperlu|pltclu|plsh|plrust|pljavau?|plr|plv8u)$"
)
_EXTENSIONS = re.compile(
    r"^(dblink|file_fdw|adminpack|plpython\d?u|plperlu|pltclu|plsh|pg_cron|\w+_plpython\d?u|\w+_plperlu)$"
)
_IN_TEXT = re.compile(
    r"\b(?P<function>[a-z_]\w*)\s*\(|\bcopy\b[^;]*?\b(?P<program>program)\b|"
    r"\bcopy\b[^;]*?\b(?:from|to)\s+(?:E?'|\$)(?P<file>)|(?P<load>\bload\s+E?')|"
    r"(?P<system>\balter\s+system\b)|\bcreate\s+extension\s+(?:if\s+not\s+exists\s+)?\"?"
    r"(?P<extension>\w+)",
    re.IGNORECASE,
)


def outside(node: Any) -> Iterator[str]:
    """How the statement leaves the database; also out of DO blocks and function bodies."""
    for _, found in postgast.walk(node):
        match found:
            case NODES.CopyStmt() if found.is_program:
                yield "COPY runs a program on the server"
            case NODES.CopyStmt() if found.filename:
                yield f"COPY {'reads' if found.is_from else 'writes'} a file of the server"
            case NODES.LoadStmt():
                yield "LOAD reads a library of the server"
            case NODES.AlterSystemStmt():
                yield "ALTER SYSTEM changes the server's configuration"
            case NODES.CreateExtensionStmt() if _EXTENSIONS.match(found.extname.lower()):
                yield f"extension {found.extname} leads out of the database"
            case NODES.CreatePLangStmt():
                yield f"language {found.plname} is created by hand"
            case NODES.FuncCall() if _FUNCTIONS.match(_last(found.funcname)):
                yield f"{_last(found.funcname)} leads out of the database"
            case NODES.CreateFunctionStmt() | NODES.DoStmt():
                yield from _body(found)


def _last(names: Any) -> str:
    return str(names[-1].string.sval).lower() if names else ""


def _body(statement: Any) -> Iterator[str]:
    options = (
        statement.options if isinstance(statement, NODES.CreateFunctionStmt) else statement.args
    )
    for option in options:
        element = option.def_elem
        if element.defname == "language" and _UNTRUSTED.match(element.arg.string.sval.lower()):
            yield f"language {element.arg.string.sval} is not trusted"
        if element.defname == "as":
            texts = (
                [item.string.sval for item in element.arg.list.items]
                if element.arg.WhichOneof("node") == "list"
                else [element.arg.string.sval]
            )
            for text in texts:
                yield from _in_text(text)


def _in_text(text: str) -> Iterator[str]:
    for match in _IN_TEXT.finditer(text):
        function, extension = match["function"], match["extension"]
        if function and _FUNCTIONS.match(function.lower()):
            yield f"{function} leads out of the database"
        if extension and _EXTENSIONS.match(extension.lower()):
            yield f"extension {extension} leads out of the database"
        if match["program"]:
            yield "COPY runs a program on the server"
        if match["file"] is not None:
            yield "COPY reads or writes a file of the server"
        if match["load"]:
            yield "LOAD reads a library of the server"
        if match["system"]:
            yield "ALTER SYSTEM changes the server's configuration"
