"""The ports to people: decisions, notifications, approvals, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from tarsrelease.model.notice import Message, Notice, Outgoing, Told
from tarsrelease.model.outcome import Check
from tarsrelease.model.people import ActiveIncident, Approval, BranchRules, OnCall, Rules


class Receivers(Protocol):
    """Receivers of notifications."""

    def deliver(self, message: Message) -> None:
        """Return when the receiver has accepted it."""


class Outbox(Protocol):
    """The outbox of notices to people."""

    def post(self, notice: Notice) -> None:
        """Deliver it to all channels, once, in the background. It returns at once, never fails."""


class ClosingOutbox(Outbox, Protocol):
    """An outbox whose deliveries can be waited for."""

    def unset(self, notice: Notice) -> list[str]:
        """A warning for each channel that does not get it because a secret is not set."""

    def known(self, key: str) -> tuple[str, ...]:
        """The messages of the notice with this key that were delivered before."""

    def close(self, seconds: float | None = None) -> tuple[tuple[Told, ...], tuple[str, ...]]:
        """Wait for deliveries; the notices posted, and a warning for each undelivered message."""

    def threads(self) -> dict[str, str]:
        """The conversations that are open, by name."""


class OutgoingStore(Protocol):
    """Where the outbox is stored between the processes of a release."""

    def change(self, act: Callable[[Outgoing], Outgoing]) -> Outgoing:
        """Read, change and write it; the new state. `act` may be called several times."""


class NoOutbox:
    """An outbox without channels."""

    def post(self, notice: Notice) -> None:
        """Deliver nothing."""


class Reviews(Protocol):
    """Required reviewers and approvals on the platform that runs the pipeline."""

    def private(self) -> bool:
        """Whether the repository is private."""

    def rules(self, environment: str) -> Rules | None:
        """The rules of an environment, None if it does not exist."""

    def branch_rules(self, branch: str) -> BranchRules:
        """The rules of a branch of this name, which need not exist."""

    def approvals(self, run: str) -> list[Approval]:
        """All reviews of a run, also rejections."""


class Incidents(Protocol):
    """A system that records incidents. Raises UnreachableError or UsageError."""

    def active(self) -> Sequence[ActiveIncident]:
        """The incidents and maintenances that have not ended, without the release's own."""


class Schedules(Protocol):
    """A system that knows who is on call. Raises UnreachableError or UsageError."""

    def on_call(self, at: datetime) -> Sequence[OnCall]:
        """Who is on call at that time, the first level first."""


class Person(Protocol):
    """The person who decides when the release waits."""

    @property
    def attended(self) -> bool:
        """True if a person reads the question.

        ``--yes`` approves, but never lifts a hold.
        """

    def approves(self, question: str) -> bool:
        """Ask; True is yes."""


class Progress(Protocol):
    """What a person sees while a step works. It never decides and never fails."""

    def say(self, line: str) -> None:
        """Show one line of progress."""

    def evaluated(
        self,
        stage: str,
        weight: int | None,
        elapsed: float,
        planned: float,
        *,
        checks: Iterable[Check],
    ) -> None:
        """Show an evaluation: seconds since the shift, seconds planned, results so far.

        `weight` is None if another tool moves the traffic.
        """
