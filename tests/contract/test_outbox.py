"""The outbox: once, in order, without delay, and without loss, whatever the receivers do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tarsrelease.adapters.channels import outbox as outbox_module
from tarsrelease.adapters.channels import posting
from tarsrelease.adapters.channels import slack as slack_adapter
from tarsrelease.adapters.channels import statuspage as statuspage_adapter
from tarsrelease.adapters.channels import webhook as webhook_adapter
from tarsrelease.adapters.channels.outbox import Outbox
from tarsrelease.model.errors import UnreachableError
from tarsrelease.model.notice import Event, Notice, Outgoing
from tarsrelease.model.notifications import Notifications
from tarsrelease.rehearsal.receivers import TROUBLES, Receivers, Trouble, receivers

EVENTS = (Event.STARTED, Event.HOLD, Event.PROMOTED, Event.COMPLETE)
SOON = 120.0
"""Seconds for what needs a fraction of one, on however busy a machine."""
CHANNELS = ("slack", "slack webhook", "pagerduty", "statuspage", "email", "webhook teams")


class Store:
    """The stored outbox of a cluster, without a cluster."""

    def __init__(self) -> None:
        self.state, self.away, self.lock = Outgoing(), False, threading.Lock()

    def change(self, act: Callable[[Outgoing], Outgoing]) -> Outgoing:
        with self.lock:
            if self.away:
                raise UnreachableError(doing="storing", found="-", expected="-", next_step="-")
            self.state = act(self.state)
            return self.state


def wait_for(condition: Callable[[], bool], seconds: float = SOON) -> None:
    ends_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends_at, "it did not come about"
        time.sleep(0.02)


def notice(event: Event, **more: Any) -> Notice:
    facts = {"application": "tars", "release": "1.0.1", "environment": "production", "run": "7-1"}
    return Notice.model_validate(facts | {"event": event} | more)


def scheduled() -> Notice:
    return notice(Event.SCHEDULED, starts_at="2026-12-01T09:00:00Z", ends_at="2026-12-01T13:00:00Z")


@pytest.fixture(autouse=True)
def no_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    for adapter in (slack_adapter, statuspage_adapter, webhook_adapter):
        monkeypatch.setattr(adapter, "_DISTANCE", 0.0)


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receivers]:
    with receivers() as found:
        for name, value in found.secrets.items():
            monkeypatch.setenv(name, value)
        yield found
    assert found.refused == []


def outbox(people: Receivers, store: Store | None) -> Outbox:
    return Outbox(Notifications.model_validate(people.settings()), lambda: store)


def told(people: Receivers, receiver: str) -> list[str]:
    """What a receiver was told, a word for each message, in its order."""
    return [_word(receiver, body) for body in people.of(receiver)]


def _word(receiver: str, body: Mapping[str, Any]) -> str:
    if receiver == "statuspage":
        return str(body["status"])
    if receiver == "pagerduty":
        return str(body.get("event_action") or body["payload"]["summary"])
    if receiver == "email":
        return str(body["subject"])
    return str(body.get("text") or body["headline"])


def test_a_job_that_runs_twice_tells_people_once(people: Receivers) -> None:
    store = Store()
    for run in ("7-1", "7-2"):
        box = outbox(people, store)
        for event in EVENTS:
            if event is not Event.HOLD:
                box.post(notice(event, run=run))
        _, warnings = box.close(SOON)
        assert warnings == ()
    assert len(people.of("slack")) == len(people.of("email")) == 3
    assert len(people.of("slack #tars-deployments")) == 3


def test_a_second_attempt_that_holds_asks_again(people: Receivers) -> None:
    store = Store()
    for run in ("7-1", "7-2"):
        box = outbox(people, store)
        box.post(notice(Event.HOLD, about="canary-10", run=run))
        box.close(SOON)
    assert len(people.of("slack")) == 2


def test_each_slack_channel_has_one_thread_with_its_own_level_of_detail(
    people: Receivers,
) -> None:
    store = Store()
    for event in (Event.STARTED, Event.STAGE, Event.HOLD, Event.COMPLETE):
        box = outbox(people, store)  # each by another job
        link = "https://github.example/runs/7"
        box.post(notice(event, reason="why\nin detail", link=link, approval="production-full"))
        box.close(SOON)
    technical = people.of("slack #tars-deployments")
    support = people.of("slack #tars-support")
    summary = people.of("slack #tars-leadership")
    assert [len(each) for each in (technical, support, summary)] == [4, 2, 2]
    for messages in (technical, support, summary):
        first, *others = messages
        assert "thread_ts" not in first
        assert {each["thread_ts"] for each in others} == {first["ts"]}
    shown = [block["text"]["text"] for block in technical[2]["blocks"]]
    assert "<https://github.example/runs/7|Approve or reject> `production-full`" in shown
    assert "why\nin detail" in shown
    assert "Customers read" in support[0]["text"]
    assert [block["text"]["text"] for block in summary[1]["blocks"]][1] == "why"
    assert technical[2]["reply_broadcast"] is True


def test_the_next_job_delivers_what_waits_and_says_what_it_could_not(people: Receivers) -> None:
    store = Store()
    people.trouble["slack webhook"] = "500"
    box = outbox(people, store)
    box.post(notice(Event.STARTED))
    wait_for(lambda: all(people.of(each) for each in ("email", "pagerduty", "webhook teams")))
    wait_for(lambda: len(store.state.told[0].waiting) == 1)
    _, (warning,) = box.close()
    assert "started to slack: not delivered yet: telling slack: status 500" in warning
    people.trouble.clear()
    box = outbox(people, store)
    box.post(notice(Event.PROMOTED))
    assert box.close(SOON)[1] == ()
    assert told(people, "slack") == [
        "tars 1.0.1 has begun in production",
        "tars 1.0.1 is promoted in production",
    ]


def test_a_store_that_is_away_delays_no_message(people: Receivers) -> None:
    store = Store()
    store.away = True
    box = outbox(people, store)
    box.post(notice(Event.STARTED))
    box.close(SOON)
    assert len(people.of("slack")) == 1
    store.away = False
    box = outbox(people, store)
    box.post(notice(Event.COMPLETE))
    box.close(SOON)
    assert len(people.of("slack")) == 2


def test_a_store_that_takes_its_time_leaves_no_message_behind(
    people: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "STORE_ANSWERS", SOON)
    store = Store()
    change = store.change

    def slowly(act: Callable[[Outgoing], Outgoing]) -> Outgoing:
        time.sleep(outbox_module.PATIENCE + 0.2)  # longer than a channel may take
        return change(act)

    monkeypatch.setattr(store, "change", slowly)
    box = outbox(people, store)
    box.post(notice(Event.STARTED))
    assert box.close()[1] == ()
    assert len(people.of("slack")) == len(people.of("email")) == 1


def test_a_release_and_a_rollback_on_statuspage_and_pagerduty(people: Receivers) -> None:
    store = Store()
    box = outbox(people, store)
    box.post(scheduled())
    for event in (Event.STARTED, Event.PROMOTED, Event.COMPLETE):
        box.post(notice(event))
    box.close(SOON)
    steps = ["scheduled", "in_progress", "verifying", "completed"]
    assert told(people, "statuspage") == steps
    box = outbox(people, store)
    for event in (Event.ROLLBACK_STARTED, Event.ROLLBACK, Event.RESOLVED):
        box.post(notice(event, run="8-1"))
    box.close(SOON)
    assert told(people, "statuspage") == [*steps, "identified", "monitoring", "resolved"]
    alerts = [each for each in people.of("pagerduty") if each.get("event_action")]
    (opened,) = [each for each in alerts if each["event_action"] == "trigger"]
    assert opened["payload"]["severity"] == "critical"
    ended = {each["dedup_key"] for each in alerts if each["event_action"] == "resolve"}
    assert opened["dedup_key"] in ended


def trouble_and_return(
    people: Receivers, channel: str, trouble: Trouble, seconds: float
) -> tuple[float, tuple[str, ...]]:
    """Post events while a channel misbehaves for a while: longest post, and the warnings."""
    people.trouble[channel] = trouble
    box = outbox(people, Store())
    longest = 0.0
    for event in EVENTS:
        begun = time.monotonic()
        box.post(notice(event, reason="because"))
        longest = max(longest, time.monotonic() - begun)
    timer = threading.Timer(seconds, people.trouble.clear)
    timer.start()
    _, warnings = box.close(seconds + SOON)
    timer.join()
    print(f"{channel}, {trouble}: longest post {longest * 1000:.1f} ms")
    return longest, warnings


def each_once_and_in_order(people: Receivers) -> None:
    words = ("begun", "holds", "promoted", "complete")
    for receiver in ("slack", "slack #tars-deployments", "email", "webhook teams"):
        said = told(people, receiver)
        assert len(said) == len(words), (receiver, said)
        assert all(word in each for word, each in zip(words, said, strict=True)), said
    events = told(people, "pagerduty")
    assert events.count("trigger") == 1
    assert events.count("resolve") == 1
    assert [each for each in events if "tars" in each] == [
        f"tars 1.0.1 {what} in production" for what in ("has begun", "is promoted", "is complete")
    ]


QUICK = [("slack", "429"), ("pagerduty", "reset"), ("email", "500")]


@pytest.mark.parametrize(("channel", "trouble"), QUICK)
def test_a_channel_that_returns_gets_everything_once_and_in_order(
    people: Receivers, channel: str, trouble: Trouble
) -> None:
    longest, warnings = trouble_and_return(people, channel, trouble, 1.0)
    assert longest < 1.0
    assert warnings == ()
    each_once_and_in_order(people)


@pytest.mark.full
@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("trouble", TROUBLES)
def test_no_misbehaviour_of_a_channel_delays_loses_or_repeats_a_message(
    people: Receivers, channel: str, trouble: Trouble
) -> None:
    if (channel, trouble) == ("webhook teams", "invalid-json"):
        pytest.skip("a webhook's 2xx is its acceptance, whatever the body")
    seconds = 30.0 if trouble == "500" else 8.0
    longest, warnings = trouble_and_return(people, channel, trouble, seconds)
    assert longest < 1.0
    assert warnings == ()
    each_once_and_in_order(people)


@pytest.mark.parametrize("trouble", ["time-out", "reset"])
def test_channels_that_are_all_dead_cost_a_second_at_the_end(
    people: Receivers, trouble: Trouble
) -> None:
    for channel in CHANNELS:
        people.trouble[channel] = trouble
    store = Store()
    box = outbox(people, store)
    begun = time.monotonic()
    for event in (Event.ROLLBACK_STARTED, Event.ROLLBACK):
        box.post(notice(event))
    posted = time.monotonic() - begun
    _, warnings = box.close()
    assert posted < 0.5
    assert time.monotonic() - begun < outbox_module.PATIENCE + 1.5
    assert len(warnings) == sum(len(each.waiting) for each in store.state.told) > 8
    assert not any(secret in str(warnings) for secret in people.secrets.values())


def test_a_process_without_any_secret_leaves_no_trace(
    people: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in people.secrets:
        monkeypatch.delenv(name)
    store = Store()
    box = outbox(people, store)
    box.post(notice(Event.STARTED))
    assert box.close() == ((), ())
    assert store.state.told == ()


def test_the_store_keeps_no_secret(people: Receivers) -> None:
    store = Store()
    box = outbox(people, store)
    for event in Event:
        more = {"starts_at": "2026-12-01T09:00:00Z", "ends_at": "2026-12-01T13:00:00Z"}
        box.post(notice(event, **(more if event is Event.SCHEDULED else {})))
    assert box.close(SOON)[1] == ()
    kept = store.state.model_dump_json()
    mail = people.secrets["REHEARSAL_MAIL_USER"]
    assert not any(value in kept for value in people.secrets.values() if value != mail)


def test_requests_keep_the_providers_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [0.0], []
    monkeypatch.setattr(posting, "monotonic", lambda: now[0])

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(posting, "sleep", sleep)
    provider = posting.Provider("slack", 5.0, distance=1.0)
    for _ in range(3):
        provider._keep_distance()
    assert slept == [1.0, 1.0]
