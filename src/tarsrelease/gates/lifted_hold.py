"""What a lifted hold changes: inconclusive results no longer block.

Proven failures and errors still do. An inconclusive result is shown as not checked, with the name
of the person who lifted the hold.
"""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.model.lifting import Lifting
from tarsrelease.model.outcome import Check, Status


def lifted(checks: Sequence[Check], lifting: Lifting) -> tuple[Check, ...]:
    """The results after the hold was lifted: `inconclusive` becomes `skipped`."""
    return tuple(
        check.model_copy(
            update={
                "status": Status.SKIPPED,
                "reason": f"{check.reason}; lifted by {lifting.by}: {lifting.reason}",
            }
        )
        if check.status is Status.INCONCLUSIVE
        else check
        for check in checks
    )
