"""Errors that can be foreseen. Each says what was done, found and expected, and what to do next."""

from __future__ import annotations

from tarsrelease.model.outcome import ErrorDetail, ExitCode


class ReleaseError(Exception):
    """A foreseen end of a step; `exit_code` is what the process ends with."""

    exit_code = ExitCode.USAGE

    def __init__(self, *, doing: str, found: str, expected: str, next_step: str) -> None:
        super().__init__(f"{doing}: {found}")
        self.detail = ErrorDetail(doing=doing, found=found, expected=expected, next=next_step)


class UsageError(ReleaseError):
    """Usage or configuration is wrong; nothing was touched."""


class ForbiddenError(UsageError):
    """A right is missing; nothing was touched."""


class RefusedError(ReleaseError):
    """The answer is no, and nothing was changed (for example: this release was rolled back)."""

    exit_code = ExitCode.NO


class UnreachableError(ReleaseError):
    """An outside system did not answer within its deadline; nothing was changed."""

    exit_code = ExitCode.UNREACHABLE


class LockedError(ReleaseError):
    """Another run holds the lock."""

    exit_code = ExitCode.LOCKED


class StoppedError(ReleaseError):
    """Stopped after something was changed; `tarsrelease status` says what."""

    exit_code = ExitCode.STOPPED
