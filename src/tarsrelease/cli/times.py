"""Durations and moments given on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

import click


def seconds_of(text: str, option: str) -> float:
    """Seconds from text such as ``10m``. Raises click.BadParameter naming the option."""
    from tarsrelease.model.base import parse_seconds

    try:
        return parse_seconds(text)
    except ValueError as problem:
        raise click.BadParameter(str(problem), param_hint=option) from None


def moment_of(text: str, option: str) -> datetime:
    """A moment in ISO 8601, in UTC where it names no zone. Raises click.BadParameter."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as problem:
        raise click.BadParameter(
            f"{problem}; such as 2026-12-01T08:00 (UTC) or 2026-12-01T09:00+01:00",
            param_hint=option,
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
