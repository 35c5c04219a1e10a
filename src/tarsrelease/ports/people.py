"""People: who decides, who is notified, who approved, and what they see meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from tarsrelease.model.notice import Message
from tarsrelease.model.outcome import Check
from tarsrelease.model.people import Approval, Rules


class Receivers(Protocol):
    """Those who are notified."""

    def deliver(self, message: Message) -> None:
        """Return when the receiver has taken it; repeated as its provider asks."""


class Reviews(Protocol):
    """Who must approve, and who did, on the platform that runs the pipeline."""

    def private(self) -> bool:
        """Whether the repository is private."""

    def rules(self, environment: str) -> Rules | None:
        """The rules of an environment, None where there is none of that name."""

    def approvals(self, run: str) -> list[Approval]:
        """All reviews of a run, also rejections."""


class Person(Protocol):
    """The person who decides where the release waits for one."""

    @property
    def attended(self) -> bool:
        """True where a person reads the question.

        An assumed yes approves, but it never lifts a hold.
        """

    def approves(self, question: str) -> bool:
        """Ask; True is yes."""


class Progress(Protocol):
    """What a person sees while a step works. It never decides and never fails."""

    def say(self, line: str) -> None:
        """One line about what is being done."""

    def look(
        self,
        stage: str,
        weight: int | None,
        elapsed: float,
        planned: float,
        *,
        checks: Iterable[Check],
    ) -> None:
        """One look of a stage: seconds since the shift, seconds planned, results so far.

        `weight` is None where something else moves the traffic.
        """
