"""A migration's SQL file, split into statements."""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import postgast
from google.protobuf.message import DecodeError
from postgast import pg_query_pb2 as pg

from tarsrelease.model.errors import UsageError

_ALLOW = re.compile(r"--\s*tarsrelease:allow\b(.*)$", re.MULTILINE)
_PART = 2**18
"""Bytes of a file that are parsed at once: a tree needs many times the memory of its text."""
_END = re.compile(rb";[ \t]*\r?\n")
_ALLOWED = re.compile(r"^\s+(?P<rule>[a-z][a-z0-9-]*)\s*:\s*(?P<reason>\S.*?)\s*$")


@lru_cache(maxsize=4)
def _parsed(text: str) -> Any:
    return postgast.parse(text).stmts[0].stmt


@lru_cache(maxsize=1)
def _nodes(text: str) -> tuple[Any, ...]:
    return tuple(node for _, node in postgast.walk(_parsed(text)) if not isinstance(node, _LEAVES))


_LEAVES = (pg.A_Const, pg.String, pg.Integer, pg.Float, pg.Boolean, pg.List)
"""Thousands of rows of values are mostly these."""


class NonTransactional(StrEnum):
    """Statements that PostgreSQL refuses to run in a transaction and that can be resumed."""

    CREATE_INDEX = "create index concurrently"
    DROP_INDEX = "drop index concurrently"
    REINDEX = "reindex concurrently"
    VACUUM = "vacuum"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of `file`; `number` counts from 1, `line` is that of its first word.

    `text` has neither the semicolon nor comments around it; `sha256` is that of its UTF-8.
    `non_transactional` is set if it runs outside a transaction; `names` are then its indexes (for
    VACUUM, its tables), and `table` the table that an index is created on. `allowed` maps rules to
    the reasons given for breaking them.
    """

    file: str
    number: int
    line: int
    text: str
    sha256: str
    non_transactional: NonTransactional | None
    names: tuple[str, ...]
    table: str | None
    allowed: Mapping[str, str]

    @property
    def node(self) -> Any:
        """The parsed statement. Trees are large, so that only the last ones are kept."""
        return _parsed(self.text)

    @property
    def nodes(self) -> tuple[Any, ...]:
        """All of its parse tree, parents first, without constants, names and lists."""
        return _nodes(self.text)

    @property
    def place(self) -> str:
        """``file:line``, for people."""
        return f"{self.file}:{self.line}"

    def place_at(self, position: int) -> str:
        """``file:line`` of a character that PostgreSQL points at (from 1; 0: none)."""
        return f"{self.file}:{self.line + self.text[: max(0, position - 1)].count(chr(10))}"

    @property
    def first_line(self) -> str:
        """The statement on one line, shortened, for people."""
        text = " ".join(self.text.split())
        return text if len(text) <= 100 else text[:97] + "..."


@dataclass(frozen=True, slots=True)
class SqlFile:
    """A file's statements in order; `sha256` is that of all bytes, `content` is without a BOM."""

    file: str
    sha256: str
    content: bytes
    statements: tuple[Statement, ...]


def read_statements(file: str, content: bytes) -> SqlFile:
    """Split a file with PostgreSQL's own parser.

    Raises UsageError with file and line if it is not UTF-8, its syntax is wrong, it holds no
    statement, or an allowance has no rule or no reason.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        content.decode()
    except UnicodeDecodeError as problem:
        line = content[: problem.start].count(b"\n") + 1
        raise _wrong(file, line, f"not UTF-8 at byte {problem.start}", "save it as UTF-8") from None
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise _wrong(file, line, "a NUL byte, which PostgreSQL cannot store", "remove it")
    try:
        statements = tuple(_statements(file, content))
    except postgast.PgQueryError as problem:
        line = content[: max(0, problem.cursorpos - 1)].count(b"\n") + 1
        raise _wrong(
            file, line, str(problem.message), "correct the statement; nothing was applied"
        ) from None
    except DecodeError:
        found = "an expression that is nested too deep to be read"
        raise _wrong(file, 1, found, "split it; nothing was applied") from None
    if not statements:
        found = "no statement, only comments" if content.strip() else "no statement: it is empty"
        raise _wrong(file, 1, found, "remove the file from the manifest, or fill it")
    return SqlFile(file, sha256, content, statements)


def _wrong(file: str, line: int, found: str, next_step: str) -> UsageError:
    return UsageError(
        doing="reading the migrations",
        found=f"{file}:{line}: {found}",
        expected="SQL as PostgreSQL reads it (no psql commands such as \\i or \\copy)",
        next_step=next_step,
    )


def _raw(content: bytes) -> Iterator[tuple[int, int, Any]]:
    """Start, end and tree of each statement, parsed in parts. Raises PgQueryError.

    A part that ends behind a semicolon and can be parsed ends where a statement ends: a string, a
    block or a body that were cut in two could not be parsed.
    """
    start, size = 0, _PART
    while start < len(content):
        found = _END.search(content, start + size)
        end = found.end() if found else len(content)
        try:
            trees = postgast.parse(content[start:end].decode()).stmts
        except postgast.PgQueryError:
            if start == 0 and end == len(content):
                raise
            if end == len(content):
                postgast.parse(content.decode())  # its error has the position in the whole file
            size = 2 * (end - start)
            continue
        for raw in trees:
            first = start + raw.stmt_location
            # The last statement has no length if no semicolon follows it.
            yield first, first + raw.stmt_len if raw.stmt_len else end, raw.stmt
        start, size = end, _PART


def _statements(file: str, content: bytes) -> Iterator[Statement]:
    ended = lines = 0
    for number, (start, end, node) in enumerate(_raw(content), 1):
        text = content[start:end].decode().strip()
        line = lines + content.count(b"\n", ended, start) + 1
        non_transactional, names, table = _non_transactional(node)
        yield Statement(
            file=file,
            number=number,
            line=line,
            text=text,
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            non_transactional=non_transactional,
            names=names,
            table=table,
            allowed=_allowances(file, content[ended:end].decode(), lines),
        )
        lines += content.count(b"\n", ended, end)
        ended = end


def _allowances(file: str, text: str, line_before: int) -> dict[str, str]:
    found = {}
    behind = text.partition("\n")[0] if text.startswith(";") else ""
    for comment in _ALLOW.finditer(text):
        if comment.start() < len(behind):
            raise _wrong(
                file,
                line_before + 1,
                "an allowance behind its statement, which would allow the next one",
                "write it above the statement",
            )
        match = _ALLOWED.match(comment[1])
        if match is None:
            line = line_before + text[: comment.start()].count("\n") + 1
            raise _wrong(
                file,
                line,
                f"an allowance without rule and reason: {comment[0].strip()!r}",
                "write -- tarsrelease:allow RULE: REASON",
            )
        found[match["rule"]] = match["reason"]
    return found


def qualified(relation: Any) -> str:
    """``table`` or ``schema.table`` as written, out of a RangeVar."""
    return f"{relation.schemaname}.{relation.relname}" if relation.schemaname else relation.relname


def index_on(statement: Statement, table: str, index: str) -> str:
    """The CREATE INDEX statement for this table and name in pg_temp, not concurrent."""
    parsed = postgast.parse(statement.text)
    node = parsed.stmts[0].stmt.index_stmt
    node.concurrent = node.if_not_exists = False
    node.relation.schemaname, node.relation.relname = "pg_temp", table
    node.idxname = index
    return str(postgast.deparse(parsed))


def text_of_block(statement: Statement) -> str:
    """The text of a DO block; "" for every other statement."""
    return "".join(
        item.def_elem.arg.string.sval
        for item in statement.node.do_stmt.args
        if item.def_elem.defname == "as"
    )


def acts_on_one_object(statement: Statement) -> bool:
    """Whether all of it is undone if its object is absent; a block or a list may do a part."""
    node = statement.node
    match node.WhichOneof("node"):
        case "drop_stmt":
            return len(node.drop_stmt.objects) == 1
        case "alter_table_stmt":
            return len(node.alter_table_stmt.cmds) == 1
        case "grant_stmt":
            return len(node.grant_stmt.objects) == 1 and len(node.grant_stmt.grantees) == 1
        case "delete_stmt" | "update_stmt" | "insert_stmt" | "truncate_stmt":
            return sum(isinstance(one, pg.RangeVar) for one in statement.nodes) == 1
        case kind:
            return kind in {"rename_stmt", "comment_stmt", "reindex_stmt", "index_stmt"}


def _non_transactional(node: Any) -> tuple[NonTransactional | None, tuple[str, ...], str | None]:
    match node.WhichOneof("node"):
        case "index_stmt" if node.index_stmt.concurrent:
            index = node.index_stmt
            schema = f"{index.relation.schemaname}." if index.relation.schemaname else ""
            names = (schema + index.idxname,) if index.idxname else ()
            return NonTransactional.CREATE_INDEX, names, qualified(index.relation)
        case "drop_stmt" if node.drop_stmt.concurrent:
            return NonTransactional.DROP_INDEX, tuple(dropped_names(node.drop_stmt)), None
        case "reindex_stmt" if "concurrently" in options(node.reindex_stmt.params):
            relation = node.reindex_stmt.relation
            names = (qualified(relation),) if relation.relname else ()
            return NonTransactional.REINDEX, names, None
        case "vacuum_stmt" if node.vacuum_stmt.is_vacuumcmd:
            relations = [rel.vacuum_relation.relation for rel in node.vacuum_stmt.rels]
            return NonTransactional.VACUUM, tuple(map(qualified, relations)), None
    return None, (), None


def dropped_names(drop: Any) -> Iterator[str]:
    """The names in a DROP statement, as written."""
    for item in drop.objects:
        if item.WhichOneof("node") == "list":
            yield ".".join(part.string.sval for part in item.list.items)


def options(params: Any) -> dict[str, str]:
    """Names of a statement's parenthesised options, with their argument as text."""
    found = {}
    for item in params:
        element = item.def_elem
        argument = element.arg
        kind = argument.WhichOneof("node")
        value = argument.string.sval if kind == "string" else ""
        if kind == "boolean":
            value = "true" if argument.boolean.boolval else "false"
        if value.lower() not in {"false", "off", "0"}:
            found[element.defname.lower()] = value
    return found


NODES = pg
"""libpg_query's node types, for reading `Statement.node`."""
