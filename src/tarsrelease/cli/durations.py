"""Durations given on the command line."""

from __future__ import annotations

import click


def seconds_of(text: str, option: str) -> float:
    """Seconds from text such as ``10m``. Raises click.BadParameter naming the option."""
    from tarsrelease.model.base import parse_seconds

    try:
        return parse_seconds(text)
    except ValueError as problem:
        raise click.BadParameter(str(problem), param_hint=option) from None
