"""An API server that does not answer: say so, and go on when it is back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from tarsrelease.context import Context
from tarsrelease.model.errors import LostError, ReleaseError, UnreachableError
from tarsrelease.model.format import duration
from tarsrelease.ports.clock import Task

T = TypeVar("T")

RETRY = 1.0
"""Seconds before the API server is asked again."""
FIRST_ANSWER = 90.0
"""Seconds to wait for the first answer of a run: an API server restarts in less, and a wrong
address never answers."""
_SAY_EVERY = 30.0


@dataclass(slots=True)
class Outage:
    """An outage of the API server, as `name` (a stage, "traffic") reports it."""

    context: Context
    name: str
    began: datetime | None = None
    _said: datetime | None = None

    @property
    def seconds(self) -> float:
        """How long it has lasted; 0 while the API server answers."""
        if self.began is None:
            return 0.0
        return (self.context.clock.now() - self.began).total_seconds()

    def failed(self, error: ReleaseError, then: str) -> None:
        """Note that a request was not answered; report it at once, then every 30 s."""
        now = self.context.clock.now()
        if self.began is None:
            self.began = self._said = now
            self.context.say(f"{self.name}: {error}; {then}")
        elif self._said is None or (now - self._said).total_seconds() >= _SAY_EVERY:
            self._said = now
            away = duration(self.seconds)
            self.context.say(f"{self.name}: the API server has not answered for {away}; {then}")

    def ended(self) -> None:
        """Note that a request was answered."""
        if self.began is not None:
            away = duration(self.seconds)
            self.context.say(f"{self.name}: the API server answers again after {away}")
            self.began = self._said = None


def patiently(
    context: Context, name: str, act: Callable[[], T], *, first_answer: float = FIRST_ANSWER
) -> Task[T]:
    """The result of `act`, called again while the API server does not answer.

    Raises the last error when it has not answered for `limits.deploy`, or for `first_answer`
    seconds if it has not answered in this run at all.
    """
    outage, contact = Outage(context, name), context.cluster.contact
    longest = context.environment.limits.deploy
    then = "trying again"
    if not contact.made:
        longest = min(longest, first_answer)
        then = f"waiting for its first answer, {duration(longest)} at most; is the address right?"
    while True:
        try:
            result = act()
        except (UnreachableError, LostError) as error:
            outage.failed(error, then)
            if outage.seconds >= longest:
                raise
        else:
            outage.ended()
            contact.made = True
            return result
        yield RETRY
