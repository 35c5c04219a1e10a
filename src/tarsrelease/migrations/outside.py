"""Statements that leave the database: files and programs of the server, other servers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

import postgast

from tarsrelease.migrations.statements import NODES, Statement

_FUNCTIONS = re.compile(
    r"^(lo_import|lo_export|pg_read_file|pg_read_binary_file|pg_stat_file|pg_ls_\w+|pg_file_\w+|"
    r"pg_current_logfile|pg_rotate_logfile|pg_reload_conf|pg_promote|pg_switch_wal|pg_cancel_backend|"
    r"pg_terminate_backend|pg_execute_server_program|pg_hba_file_rules|pg_ident_file_mappings|"
    r"pg_show_all_file_settings|pg_export_snapshot|pg_create_restore_point|pg_wal_replay_\w+|"
    r"pg_(copy|create|drop|sync)_\w*replication_slots?|pg_replication_(slot|origin)_\w+|"
    r"pg_logical_slot_\w+|pg_backup_\w+|pg_start_backup|pg_stop_backup|dblink\w*|"
    r"http(_(get|post|put|patch|delete|head))?)$"
)
_OF_EXTENSIONS = re.compile(r"^((aws_s3|aws_lambda|azure_storage)\.|cron\.(un)?schedule)")
"""Functions that lead out only in these schemas."""
_UNTRUSTED = re.compile(r"^(c|internal|pl\w+u|plpython\d|plsh|plrust|pljava|plr|plproxy)$")
_EXTENSIONS = re.compile(
    r"^(dblink|\w+_fdw|adminpack|pl\w+u|plsh|plr|plproxy|pljava|pg_cron|pg_net|http|pg_curl|"
    r"pg_background|multicorn\d?|wrappers|pglogical|aws_\w+|azure_storage|"
    r"\w+_plpython\d?u|\w+_plperlu)$"
)
_RUN_TEXT = re.compile(r"^(query_to_xml\w*|ts_stat|ts_rewrite|crosstab\w*|connectby|xpath_table)$")
"""Functions that run a text as a query."""
_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
_IN_TEXT = re.compile(
    r"\b(?:(?P<schema>[a-z_]\w*)\"?\s*\.\s*\"?)?(?P<function>[a-z_]\w*)\"?\s*\(|"
    r"\bcopy\b[^;]*?\b(?P<program>program)\b|"
    r"\bcopy\b[^;]*?\b(?:from|to)\s+(?:E?'|\$)(?P<file>)|(?P<load>\bload\s+E?')|"
    r"(?P<system>\balter\s+system\b)|(?P<import>\bimport\s+foreign\b)|"
    r"\bcreate\s+extension\s+(?:if\s+not\s+exists\s+)?\"?(?P<extension>\w+)",
    re.IGNORECASE,
)


def outside(statement: Statement) -> Iterator[str]:
    """How the statement leaves the database; also out of DO blocks and function bodies."""
    for found in statement.nodes:
        match found:
            case NODES.CopyStmt() if found.is_program:
                yield "COPY runs a program on the server"
            case NODES.CopyStmt() if found.filename:
                yield f"COPY {'reads' if found.is_from else 'writes'} a file of the server"
            case NODES.CopyStmt() if not found.is_from:
                yield "COPY sends rows to the client"
            case NODES.ImportForeignSchemaStmt():
                yield "IMPORT FOREIGN SCHEMA asks another server"
            case NODES.CreateForeignTableStmt() if any(
                one.def_elem.defname in {"program", "filename"} for one in found.options
            ):
                yield "a foreign table reads a file or a program of the server"
            case NODES.LoadStmt():
                yield "LOAD reads a library of the server"
            case NODES.AlterSystemStmt():
                yield "ALTER SYSTEM changes the server's configuration"
            case NODES.CreateExtensionStmt() if _EXTENSIONS.match(found.extname.lower()):
                yield f"extension {found.extname} leads out of the database"
            case NODES.CreatePLangStmt():
                yield f"language {found.plname} is created by hand"
            case NODES.FuncCall():
                yield from _call(found)
            case NODES.CreateFunctionStmt() | NODES.DoStmt():
                yield from _body(found)


def _call(call: Any) -> Iterator[str]:
    *schema, name = [str(part.string.sval).lower() for part in call.funcname] or [""]
    if _leads_out(name, schema[-1] if schema else ""):
        yield f"{name} leads out of the database"
    if _RUN_TEXT.match(name):
        for _, found in postgast.walk(call):
            if isinstance(found, NODES.A_Const) and found.HasField("sval"):
                yield from _in_text(found.sval.sval)


def _leads_out(function: str, schema: str) -> bool:
    return bool(_FUNCTIONS.match(function) or _OF_EXTENSIONS.match(f"{schema}.{function}"))


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
    """In the text, and in the text without what looks like comments."""
    for match in chain(_IN_TEXT.finditer(text), _IN_TEXT.finditer(_COMMENT.sub(" ", text))):
        function, extension = match["function"], match["extension"]
        if function and _leads_out(function.lower(), (match["schema"] or "").lower()):
            yield f"{function} leads out of the database"
        if extension and _EXTENSIONS.match(extension.lower()):
            yield f"extension {extension} leads out of the database"
        if match["program"]:
            yield "COPY runs a program on the server"
        if match["file"] is not None:
            yield "COPY reads or writes a file of the server"
        if match["load"]:
            yield "LOAD reads a library of the server"
        if match["import"]:
            yield "IMPORT FOREIGN SCHEMA asks another server"
        if match["system"]:
            yield "ALTER SYSTEM changes the server's configuration"
