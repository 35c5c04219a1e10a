"""Expected errors. Each names what was done, found and expected, and the next command."""

from __future__ import annotations

from tarsrelease.model.outcome import ErrorDetail, ExitCode


class ReleaseError(Exception):
    """An expected error of a step; `exit_code` is that of the process."""

    exit_code = ExitCode.USAGE

    def __init__(self, *, doing: str, found: str, expected: str, next_step: str) -> None:
        super().__init__(f"{doing}: {found}")
        self.detail = ErrorDetail(doing=doing, found=found, expected=expected, next=next_step)


class UsageError(ReleaseError):
    """Usage or configuration is wrong; nothing was changed."""


class ForbiddenError(UsageError):
    """A right is missing; nothing was changed."""


class RefusedError(ReleaseError):
    """The step is refused, and nothing was changed (example: the release was rolled back)."""

    exit_code = ExitCode.NO


class UnreachableError(ReleaseError):
    """An outside system did not answer within its deadline; nothing was changed."""

    exit_code = ExitCode.UNREACHABLE


class BusyError(UnreachableError):
    """It asks to come back later; `after` is in seconds, None if it does not say."""

    after: float | None = None


class NotLetInError(UsageError):
    """It refuses the login; a new password or token changes that, another message does not."""


class LockedError(ReleaseError):
    """Another run holds the lock."""

    exit_code = ExitCode.LOCKED


class StoppedError(ReleaseError):
    """Stopped after something was changed; `tarsrelease status` says what."""

    exit_code = ExitCode.STOPPED


class LostError(StoppedError):
    """Stopped after something was changed, as an outside system went away; it may come back."""
