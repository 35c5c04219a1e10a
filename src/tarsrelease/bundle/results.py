"""Build results: one failing result per fault, or one that passes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.model.outcome import Check, Observed, Status

NOT_CHECKED = "NOT CHECKED: "
"""The beginning of the reason of a check that was not made."""


def judged(
    check: str,
    expected: str,
    source: str,
    faults: Sequence[str],
    whole: str,
    *,
    count: int | None = None,
) -> list[Check]:
    """One failing result per fault, or one that passes with the reason `whole`."""
    status = Status.FAIL if faults else Status.PASS
    return [
        Check(
            id=check,
            status=status,
            observed=None if count is None else Observed(value=count, unit="count"),
            expected=expected,
            reason=reason,
            source=source,
        )
        for reason in (faults or [whole])
    ]


def not_checked(
    check: str, expected: str, why: str, *, source: str = "", service: str | None = None
) -> Check:
    """The result of a check that was not made; reports list and count it."""
    return Check(
        id=check,
        status=Status.SKIPPED,
        service=service,
        expected=expected,
        reason=f"{NOT_CHECKED}{why}",
        source=source,
    )
