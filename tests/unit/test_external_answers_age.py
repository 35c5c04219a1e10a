"""An external number that is not renewed is no answer, however good it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tarsrelease.adapters import background
from tarsrelease.adapters.background import Background
from tarsrelease.model.checks import ExternalCheck
from tarsrelease.model.errors import UnreachableError
from tarsrelease.model.measurement import ExternalAnswer, Number, Track, Unmeasured

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
RULE = ExternalCheck.model_validate(
    {
        "kind": "external",
        "id": "a.number",
        "source": {"url": "http://a.example/n"},
        "at_most": 1,
        "every": "30s",
    }
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(background, "monotonic", found)
    return found


@pytest.fixture
def never() -> Iterator[threading.Event]:
    found = threading.Event()
    yield found
    found.set()


def answered(asked: Background, rule: ExternalCheck = RULE) -> ExternalAnswer:
    """The answer when the query that runs now has ended."""
    while (found := asked.answer(rule, Track.CANARY, SINCE)) is None:
        pass
    return found


def test_a_number_whose_source_went_silent_is_no_answer(
    clock: Clock, never: threading.Event
) -> None:
    numbers = iter([0.5])

    def read(_: ExternalCheck) -> float:
        found = next(numbers, None)
        if found is None:
            never.wait(30)
        return found or 0.5

    asked = Background(read)
    assert isinstance(answered(asked), Number)
    clock.now += 69
    assert isinstance(answered(asked), Number), "within two intervals and ten seconds"
    clock.now += 2
    found = answered(asked)
    assert isinstance(found, Unmeasured)
    assert "no new answer for 1m11s" in found.reason


def test_the_age_counts_from_the_answer_and_not_from_the_next_look(
    clock: Clock, never: threading.Event
) -> None:
    began, numbers = threading.Event(), iter([0.5])

    def read(_: ExternalCheck) -> float:
        found = next(numbers, None)
        began.wait(10)
        if found is None:
            never.wait(30)
        return found or 0.5

    rule = RULE.model_copy(update={"id": "its.age"})
    asked = Background(read)
    assert asked.answer(rule, Track.CANARY, SINCE) is None
    (thread,) = [each for each in threading.enumerate() if each.name == f"asking {rule.id}"]
    began.set()
    thread.join(10)
    clock.now += 600  # nobody looked for ten minutes
    found = asked.answer(rule, Track.CANARY, SINCE)
    assert isinstance(found, Unmeasured), "what was true ten minutes ago"


def test_an_error_replaces_the_number_before(clock: Clock) -> None:
    numbers = iter([0.5])

    def read(_: ExternalCheck) -> float:
        found = next(numbers, None)
        if found is None:
            raise UnreachableError(doing="a", found="away", expected="b", next_step="c")
        return found

    asked = Background(read)
    assert isinstance(answered(asked), Number)
    clock.now += 31
    while isinstance(answered(asked), Number):
        pass
    assert isinstance(answered(asked), Unmeasured)
