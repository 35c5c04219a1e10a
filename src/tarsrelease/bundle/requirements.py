"""--require: the checks that must be made. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tarsrelease.bundle.results import NOT_CHECKED
from tarsrelease.model.outcome import Check, Status

GROUPS = {
    "images": ("images.registry",),
    "signatures": ("signatures.attestation",),
    "chart": ("chart.archive", "chart.values", "chart.render", "chart.images"),
    "commit": ("manifest.source", "manifest.commit"),
    "migrations": ("manifest.migrations", "migrations.lint"),
    "previous": ("manifest.previous",),
}
"""What --require accepts, with the checks that each name selects."""


def left_out(check: Check) -> bool:
    """Whether the check was not made, required or not."""
    return check.reason.startswith(NOT_CHECKED)


def required(checks: Sequence[Check], groups: Collection[str]) -> list[Check]:
    """The results; those of `groups` that were not made become failures.

    A check that has nothing to check (a chart without values.schema.json) stays skipped.
    """
    wanted = {check: group for group in groups for check in GROUPS[group]}
    result = [
        check.model_copy(
            update={
                "status": Status.FAIL,
                "reason": f"{check.reason}; --require {wanted[check.id]} requires it",
            }
        )
        if check.status is Status.SKIPPED and left_out(check) and check.id in wanted
        else check
        for check in checks
    ]
    made = {check.id for check in result}
    result += [
        Check(
            id=GROUPS[group][0],
            status=Status.FAIL,
            expected="checked",
            reason=f"{NOT_CHECKED}verify did not get that far; --require {group} requires it",
        )
        for group in sorted(groups)
        if not made & set(GROUPS[group])
    ]
    return result
