"""notify test: try each channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.format import count
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict, exit_code_of
from tarsrelease.ports.clock import Clock

STEP = "notify test"


def notify_test(
    trials: Mapping[str, Callable[[], str]], environment: str, *, clock: Clock
) -> Outcome:
    """Proceed if every channel answered, else no-go. No channel at all is a no-go, too."""
    started_at = clock.now()
    checks = [_tried(name, trial) for name, trial in trials.items()]
    failed = [check for check in checks if check.status is not Status.PASS]
    verdict = Verdict.PROCEED if checks and not failed else Verdict.NO_GO
    said = f"{len(checks) - len(failed)} of {count(len(checks), 'channel')} answered"
    return Outcome(
        step=STEP,
        release=None,
        environment=environment,
        verdict=verdict,
        exit_code=exit_code_of(verdict),
        summary=said if checks else "the environment file names no channel",
        checks=tuple(checks),
        started_at=started_at,
        finished_at=clock.now(),
        next="" if checks else "add `notifications` to the environment file",
    )


def _tried(name: str, trial: Callable[[], str]) -> Check:
    try:
        status, reason = Status.PASS, trial()
    except ReleaseError as error:
        status, reason = Status.FAIL, f"{error}; {error.detail.next}"
    return Check(
        id="notify.channel",
        status=status,
        service=name,
        expected="it accepts a request",
        reason=reason,
        source=name,
    )
