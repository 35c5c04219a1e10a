"""A simulated release whose messages go through the real outbox to the receivers of a rehearsal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from day_world import DayWorld, Unattended
from test_gate_protect import ONLY_LIMITS, brief
from world import context, environment, release

from tarsrelease.adapters.channels import slack, statuspage, webhook
from tarsrelease.adapters.channels.outbox import PATIENCE, Outbox
from tarsrelease.context import Context
from tarsrelease.model.measurement import Track
from tarsrelease.model.notifications import Notifications
from tarsrelease.model.outcome import ExitCode, Verdict
from tarsrelease.rehearsal.receivers import CHANNELS, NAMES, Receivers, Trouble, receivers
from tarsrelease.steps.canary_gate import gate

SOON = 120.0
"""Seconds for what needs a fraction of one, on however busy a machine."""
SLACK = [f"slack {name}" for name, _ in CHANNELS]


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receivers]:
    for adapter in (slack, statuspage, webhook):
        monkeypatch.setattr(adapter, "_DISTANCE", 0.0)
    with receivers() as found:
        for name, value in found.secrets.items():
            monkeypatch.setenv(name, value)
        yield found
    assert found.refused == []


def outbox(people: Receivers) -> Outbox:
    return Outbox(Notifications.model_validate(people.settings()), lambda: None)


def with_outbox(made: Context, box: Outbox) -> Context:
    return replace(made, people=replace(made.people, outbox=box))


class Told(DayWorld):
    """A day whose people are told by a real outbox."""

    def __init__(self, box: Outbox) -> None:
        super().__init__()
        self.box = box
        self.at_stage("canary-10", self._breaks)

    def _breaks(self) -> None:
        for pod in self.world.running(Track.CANARY):
            pod.error_share = 1.0

    def context(self, *arguments: Any, **more: Any) -> Context:
        return with_outbox(super().context(*arguments, **more), self.box)


def rolled_back(people: Receivers, trouble: Trouble | None) -> tuple[float, float, int]:
    """Wall seconds of a release that is rolled back and of the end of its outbox; the warnings.

    The release's own clock is simulated, so only the messages could take time.
    """
    people.trouble = dict.fromkeys(NAMES, trouble) if trouble else {}
    box = outbox(people)
    day = Told(box)
    begun = time.monotonic()
    assert day.play(Unattended()).exit_code is ExitCode.ROLLBACK
    played = time.monotonic() - begun
    _, warnings = box.close()
    return played, time.monotonic() - begun - played, len(warnings)


@pytest.mark.full
@pytest.mark.parametrize("trouble", ["time-out", "reset", "drip", "500"])
def test_a_rollback_takes_no_longer_while_all_channels_are_dead(
    people: Receivers, trouble: Trouble
) -> None:
    rolled_back(people, None)  # imports
    alive = min(rolled_back(people, None)[0] for _ in range(3))
    dead = [rolled_back(people, trouble) for _ in range(3)]
    played = min(each[0] for each in dead)
    print(f"{trouble}: {alive:.2f} s alive, {played:.2f} s dead; at the end {dead[0][1]:.2f} s")
    assert played < alive + 1.0, "each request alone would wait for five seconds"
    assert max(each[1] for each in dead) < PATIENCE + 1.5
    assert all(each[2] > 10 for each in dead)


def test_a_protection_reaches_every_channel_in_order(people: Receivers) -> None:
    box = outbox(people)
    made = with_outbox(context(brief(), release(ONLY_LIMITS), environment()), box)
    assert gate(made, 10).verdict is Verdict.PROCEED
    assert box.close(SOON)[1] == ()
    technical, *others = SLACK
    for receiver, field in (("slack", "text"), ("email", "subject"), (technical, "text")):
        said = [str(body[field]) for body in people.of(receiver)]
        assert ["next stage" in said[0], "lost its traffic to protect users" in said[1]] == [
            True,
            True,
        ]
    (first, second, *_) = people.of(technical)
    assert second["thread_ts"] == first["ts"]
    assert second["reply_broadcast"] is True
    assert not any(people.of(other) for other in others), "customers notice nothing"
    assert people.of("statuspage") == []
    (alert,) = [body for body in people.of("pagerduty") if body.get("event_action")]
    assert (alert["event_action"], alert["payload"]["severity"]) == ("trigger", "warning")
    assert [body["event"] for body in people.of("webhook teams")][:2] == ["stage", "protected"]
