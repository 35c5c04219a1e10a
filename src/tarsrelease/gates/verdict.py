"""From the checks of one look to what happens next."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.model.outcome import Check, Status, Verdict, deciding
from tarsrelease.model.rollout import Stage

_NOT_IN_THE_WAY = frozenset({Status.PASS, Status.SKIPPED})


def decide(
    checks: Sequence[Check],
    stage: Stage,
    elapsed: float,
    *,
    without_metrics: float = 0.0,
    without_api: float = 0.0,
    outage_limit: float,
) -> Verdict | None:
    """The verdict, or None to keep looking. Times in seconds; `elapsed` is since the shift.

    - A failed check: ROLLBACK, at once.
    - No metrics for `outage_limit`: HOLD; what cannot be seen cannot be let on.
    - The API server has not answered for `without_api`: None until `outage_limit`, because neither
      PROCEED nor HOLD can be recorded.
    - At the end of the stage's duration: PROCEED when every check passes. `skipped` is not in
      the way, but something must have passed.
    - Advisory results decide nothing.
    - Anything inconclusive or unmeasured then extends the stage, up to its limit: then HOLD.
    """
    statuses = {check.status for check in deciding(checks)}
    if Status.FAIL in statuses:
        return Verdict.ROLLBACK
    if without_metrics >= outage_limit:
        return Verdict.HOLD
    if elapsed < stage.duration or 0 < without_api < outage_limit:
        return None
    if Status.PASS in statuses and statuses <= _NOT_IN_THE_WAY:
        return Verdict.PROCEED
    return None if elapsed < stage.duration + stage.max_extension else Verdict.HOLD


def failed_by_either(checks: Sequence[Check], sooner: Sequence[Check]) -> tuple[Check, ...]:
    """The results of the first source, with the proven failures of a second, faster one.

    Only failures count: to pass, a check needs the first source. Each source has half of the
    release's chance of a false rollback.
    """
    failed = {(each.id, each.service): each for each in sooner if each.status is Status.FAIL}
    return tuple(failed.get((each.id, each.service), each) for each in checks)
