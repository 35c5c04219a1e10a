"""Six bugs that the invariants must find, each put into the real code for the length of a block."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from typing import Any
from unittest.mock import patch

from tarsrelease.context import Context
from tarsrelease.gates import verdict
from tarsrelease.gates.measure import queries
from tarsrelease.model.journal import Facts, Phase
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Check, Status
from tarsrelease.operations import locking, traffic, waiting
from tarsrelease.operations.journaling import journal
from tarsrelease.steps import canary_gate, promote, rollback

Bug = Callable[[], AbstractContextManager[Any]]


def _together(*patches: AbstractContextManager[Any]) -> AbstractContextManager[Any]:
    stack = ExitStack()
    for each in patches:
        stack.enter_context(each)
    return stack


def no_intent_written() -> AbstractContextManager[Any]:
    """A shift of traffic is journaled only when it is done."""

    def without(
        context: Context, step: str, action: str, phase: Phase, facts: Facts | None = None
    ) -> None:
        if phase is not Phase.INTENT:
            journal(context, step, action, phase, facts)

    return patch.object(traffic, "journal", without)


def weight_after_helm() -> AbstractContextManager[Any]:
    """A rollback moves the traffic when Helm is done."""

    class Late:
        def __getattr__(self, name: str) -> Any:
            return getattr(traffic, name)

        @staticmethod
        def move_all(
            context: Context, to: Track, reason: str, within: float | None = None
        ) -> datetime:
            return context.clock.now()

        @staticmethod
        def move_all_again(
            context: Context, to: Track, reason: str, within: float | None = None
        ) -> None: ...

    return patch.object(rollback, "traffic", Late())


def lease_not_checked() -> AbstractContextManager[Any]:
    """A process that lost the lock goes on."""

    def unchecked(self: Any, name: str) -> Any:
        return getattr(self.port, name)

    def nothing(context: Context) -> None: ...

    return _together(
        patch.object(locking._Checked, "__getattr__", unchecked),
        patch.object(traffic, "lease_and_lock_keeper", traffic.lease_keeper),
        patch.object(waiting, "lease_and_lock_keeper", traffic.lease_keeper),
        patch.object(canary_gate, "refuse_overtaken", nothing),
        patch.object(promote, "refuse_overtaken", nothing),
    )


def window_not_clipped() -> AbstractContextManager[Any]:
    """Requests are counted from a minute before the shift."""
    opened = queries.open_measurements

    def earlier(asked: Any, labels: Any, versions: Any, since: float, *others: Any) -> Any:
        return opened(asked, labels, versions, since - 60.0, *others)

    return patch.object(queries, "open_measurements", earlier)


def error_counted_as_pass() -> AbstractContextManager[Any]:
    """What could not be measured is not in the way."""
    lenient = frozenset({Status.PASS, Status.SKIPPED, Status.ERROR})
    return patch.object(verdict, "_NOT_IN_THE_WAY", lenient)


def message_before_proof() -> AbstractContextManager[Any]:
    """A rollback says that the old version serves without having measured it."""

    def claimed(
        context: Context, version: str, since: datetime, deadline: float
    ) -> tuple[Check, ...]:
        return (Check(id="rollback.pods", status=Status.PASS, expected="all", reason="all"),)

    return patch.object(rollback, "prove", claimed)


BUGS: dict[str, Bug] = {
    each.__name__: each
    for each in (
        no_intent_written,
        weight_after_helm,
        lease_not_checked,
        window_not_clipped,
        error_counted_as_pass,
        message_before_proof,
    )
}
