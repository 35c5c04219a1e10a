"""What a lifted hold changes in the checks: a proven failure wins over the person who lifted it.

So does what could not be measured (`error`). What was merely too little to tell does not: it is
shown as not checked, with the name of whoever decided to go on without it.
"""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.model.lifting import Lifting
from tarsrelease.model.outcome import Check, Status


def lifted(checks: Sequence[Check], lifting: Lifting) -> tuple[Check, ...]:
    """The checks as the person sees them: `inconclusive` becomes `skipped`, nothing else."""
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
