"""PromQL by its own grammar (promql-parser, which follows Prometheus v2.45)."""

from __future__ import annotations

from typing import Any

from tarsrelease.imports.expressions import (
    Aggregate,
    Binary,
    Call,
    Expression,
    Matcher,
    Number,
    Other,
    Selector,
)

_LONGEST = 20_000
"""Characters of a query: longer ones could nest too deep for the parser's stack."""


def parse_promql(query: str) -> Expression:
    """The expression. Raises ValueError with what is wrong."""
    import promql_parser

    if len(query) > _LONGEST:
        raise ValueError(f"a query of {len(query)} characters; at most {_LONGEST} are read")
    return _expression(promql_parser.parse(query))


def _expression(found: Any) -> Expression:
    import promql_parser as parser

    match found:
        case parser.ParenExpr():
            return _expression(found.expr)
        case parser.NumberLiteral():
            return Number(found.val)
        case parser.VectorSelector():
            return _selector(found)
        case parser.MatrixSelector():
            return _selector(found.vector_selector)
        case parser.SubqueryExpr():
            return _expression(found.expr)
        case parser.AggregateExpr():
            modifier = found.modifier
            by = tuple(modifier.labels) if modifier is not None else ()
            return Aggregate(str(found.op), _expression(found.expr), by)
        case parser.Call():
            return Call(found.func.name, tuple(map(_expression, found.args)))
        case parser.BinaryExpr():
            return Binary(str(found.op), _expression(found.lhs), _expression(found.rhs))
    return Other(found.prettify())


def _selector(found: Any) -> Selector:
    matchers = found.matchers.matchers
    signs = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
    read = tuple(
        Matcher(each.name, signs[str(each.op).rsplit(".", 1)[-1]], each.value) for each in matchers
    )
    return Selector(found.name or "", read)
