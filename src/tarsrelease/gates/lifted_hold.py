"""What a lifted hold changes: inconclusive results no longer block.

Neither does a traffic share that disagrees with the weight: in-cluster callers and session affinity
explain it often. Proven failures and other errors still block. What no longer blocks is shown as
not checked, with the name of the person who lifted the hold.
"""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.gates.checks import traffic_share
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.outcome import Check, Status


def lifted(checks: Sequence[Check], lifting: Lifting) -> tuple[Check, ...]:
    """The results after the hold was lifted: what it covers becomes `skipped`."""
    return tuple(
        check.model_copy(
            update={
                "status": Status.SKIPPED,
                "reason": f"{check.reason}; lifted by {lifting.by}: {lifting.reason}",
            }
        )
        if _covered(check)
        else check
        for check in checks
    )


def _covered(check: Check) -> bool:
    """An inconclusive result, or a share that was measured and disagrees with the weight."""
    disagrees = check.id == traffic_share.CHECK_ID and check.observed is not None
    return check.status is Status.INCONCLUSIVE or (check.status is Status.ERROR and disagrees)
