"""Each turn of a release is announced where it happens, once and in order."""

from __future__ import annotations

from dataclasses import replace

from day_world import DayWorld, Unattended

from tarsrelease.context import Context
from tarsrelease.model.measurement import Track
from tarsrelease.model.notice import Notice
from tarsrelease.model.outcome import ExitCode
from tarsrelease.ports.people import Person, Progress


class Announced(DayWorld):
    """A day whose notices are kept; each once, as the outbox sends them."""

    def __init__(self) -> None:
        super().__init__()
        self.notices: list[Notice] = []

    def post(self, notice: Notice) -> None:
        """The port `Outbox`."""
        if notice.key not in {each.key for each in self.notices}:
            self.notices.append(notice)

    def context(self, person: Person | None = None, progress: Progress | None = None) -> Context:
        found = super().context(person, progress)
        return replace(found, people=replace(found.people, outbox=self))

    def told(self) -> list[str]:
        """Events with what tells them apart."""
        return [f"{each.event} {each.about}".strip() for each in self.notices]


BEGUN = ["scheduled", "started", "stage canary-10"]


def test_a_good_release() -> None:
    day = Announced()
    assert day.play(Unattended()).exit_code is ExitCode.DONE
    assert day.told() == [*BEGUN, "stage canary-100", "promoted", "complete"]
    scheduled = day.notices[0]
    assert scheduled.starts_at is not None
    assert scheduled.ends_at is not None
    assert scheduled.starts_at < scheduled.ends_at
    assert "canary-10 proceed" in day.notices[-1].reason
    before = day.told()
    day.play(Unattended())
    assert day.told() == before


def test_a_rollback_says_why_and_when_it_is_proven() -> None:
    day = Announced()

    def breaks() -> None:
        for pod in day.world.running(Track.CANARY):
            pod.error_share = 1.0

    day.at_stage("canary-10", breaks)
    assert day.play(Unattended()).exit_code is ExitCode.ROLLBACK
    assert day.told() == [*BEGUN, "rollback-started", "rollback", "resolved rollback"]
    started, finished, proven = day.notices[-3:]
    assert "canary-10" in started.reason
    assert "error" in started.reason
    assert "serves again" in finished.reason
    assert "rolled back in" in proven.reason


def test_a_hold_names_its_stage() -> None:
    day = Announced()

    def nobody_asks() -> None:
        day.world.rate = 0.0

    day.at_stage("canary-10", nobody_asks)
    assert day.play(Unattended()).exit_code is ExitCode.HOLD
    assert day.told() == [*BEGUN, "hold canary-10"]
