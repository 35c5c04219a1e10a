"""What Slack and PagerDuty are told, by receivers that hold it to the published forms."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from tarsrelease.adapters.channels import slack as slack_adapter
from tarsrelease.adapters.channels import statuspage as statuspage_adapter
from tarsrelease.adapters.channels import webhook as webhook_adapter
from tarsrelease.adapters.channels.channels import Channels
from tarsrelease.adapters.channels.outbox import Outbox
from tarsrelease.adapters.clock import SystemClock
from tarsrelease.adapters.files.configuration import load_environment
from tarsrelease.model.environment import Environment
from tarsrelease.model.notice import Event, Notice
from tarsrelease.model.notifications import Notifications
from tarsrelease.model.outcome import ExitCode, Outcome
from tarsrelease.rehearsal.provider_forms import FORMS, SLACK
from tarsrelease.report.notices.pagerduty import dedup_key
from tarsrelease.report.text import outcome_text
from tarsrelease.steps.notify import preview, send, told_before

T = datetime(2026, 11, 23, 12, tzinfo=UTC)
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
HOOK = "/services/T0/B0/secret-part"
ENVIRONMENT = load_environment("rehearsal")
FORMS_HERE = {HOOK: SLACK, **FORMS}


class Provider(ThreadingHTTPServer):
    """Takes what has the published form, else 400; `script` gives answers to come by path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.tries: list[str] = []
        self.script: dict[str, list[tuple[int, dict[str, str]]]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [body for at, body in self.got if at == path]


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.tries.append(self.path)
        planned = self.server.script.get(self.path)
        if planned:
            return self._answer(*planned.pop(0))
        if not self.headers["Content-Type"].startswith("application/json"):
            return self._answer(400, {})
        try:
            jsonschema.validate(body, FORMS_HERE[self.path])
        except (KeyError, jsonschema.ValidationError) as problem:
            return self._answer(400, {}, str(problem))
        self.server.got.append((self.path, body))
        if self.path == HOOK:
            return self._answer(200, {})
        return self._answer(202, {}, json.dumps({"status": "success"}))

    def _answer(self, status: int, headers: dict[str, str], said: str = "ok") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        content = said.encode()
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def no_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The receivers here have none."""
    for adapter in (slack_adapter, statuspage_adapter, webhook_adapter):
        monkeypatch.setattr(adapter, "_DISTANCE", 0.0)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    with Provider() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HOOK", server.url + HOOK)
        monkeypatch.setenv("KEY", ROUTING_KEY)
        yield server
        server.shutdown()


def settings(provider: Provider) -> Notifications:
    return Notifications.model_validate(
        {
            "slack": {"webhook_env": "HOOK"},
            "pagerduty": {"routing_key_env": "KEY", "url": provider.url},
        }
    )


def notice(event: Event, **more: str) -> Notice:
    facts = {"application": "tars", "release": "1.0.1", "environment": "production", "run": "7-1"}
    return Notice.model_validate(facts | {"event": event} | more)


def tell(
    told: Notice, provider: Provider, before: list[Outcome], *, pagerduty: bool = True
) -> Outcome:
    place: Environment = ENVIRONMENT.model_copy(update={"notifications": settings(provider)})
    without = () if pagerduty else ("pagerduty",)
    known = told_before(before, told, T)
    outbox = Outbox(place.notifications, lambda: None, known=known, without=without)
    outcome = send(told, outbox, wait=5, clock=SystemClock())
    before.append(outcome)
    return outcome


@pytest.mark.parametrize("event", list(Event))
def test_every_event_has_the_published_form(event: Event, provider: Provider) -> None:
    outcome = tell(notice(event, reason="because", link="https://ci.example/1"), provider, [])
    assert outcome.details.model_dump(mode="json")["warnings"] == []
    assert len(provider.bodies(HOOK)) == 1
    alerts, changes = provider.bodies("/v2/enqueue"), provider.bodies("/v2/change/enqueue")
    actions = [alert["event_action"] for alert in alerts]
    alerting = (Event.HOLD, Event.PROTECTED, Event.ROLLBACK, Event.ROLLBACK_FAILED, Event.INCIDENT)
    if event in alerting:
        assert (actions, changes) == (["trigger"], [])
    else:
        assert len(changes) == 1
        ends = {Event.COMPLETE: 1, Event.RESOLVED: 3}.get(event, 0)
        assert actions == ["resolve"] * ends


@pytest.mark.parametrize("event", list(Event))
def test_long_and_hostile_texts_stay_in_form(event: Event, provider: Provider) -> None:
    bad = "<!channel> <https://evil.example|click> & \n" + "x" * 9000
    told = notice(event, reason=bad, about=bad, link="javascript:alert(1)")
    assert tell(told, provider, []).details.model_dump(mode="json")["warnings"] == []
    (body,) = provider.bodies(HOOK)
    header, *sections = body["blocks"]
    assert header["text"]["type"] == "plain_text"  # which mentions nobody, whatever it says
    assert "<!channel>" not in json.dumps([body["text"], sections])
    assert "javascript:" not in json.dumps(provider.got)


def test_each_receiver_is_told_once_in_a_run(provider: Provider) -> None:
    before: list[Outcome] = []
    tell(notice(Event.HOLD, about="canary-10"), provider, before)
    again = tell(notice(Event.HOLD, about="canary-10"), provider, before)
    assert again.details.model_dump(mode="json")["delivered"] == []
    assert len(provider.got) == 2
    tell(notice(Event.HOLD, about="canary-25"), provider, before)
    tell(notice(Event.HOLD, about="canary-10", run="8-1"), provider, before)
    assert len(provider.got) == 6


def test_holds_of_a_run_are_one_alert_that_the_end_resolves(provider: Provider) -> None:
    before: list[Outcome] = []
    for about in ("canary-1", "canary-10"):
        tell(notice(Event.HOLD, about=about), provider, before)
    tell(notice(Event.COMPLETE), provider, before)
    keys = [alert["dedup_key"] for alert in provider.bodies("/v2/enqueue")]
    assert len(keys) == 3
    assert set(keys) == {dedup_key(notice(Event.COMPLETE), Event.HOLD)}
    rollback = dedup_key(notice(Event.ROLLBACK), Event.ROLLBACK)
    assert rollback not in keys


def test_a_dedup_key_is_never_too_long() -> None:
    key = dedup_key(notice(Event.HOLD, run="r" * 400), Event.HOLD)
    assert len(key) <= 255
    assert key == dedup_key(notice(Event.HOLD, run="r" * 400), Event.HOLD)
    assert key != dedup_key(notice(Event.HOLD, run="r" * 401), Event.HOLD)


def test_what_may_pass_is_repeated_and_what_is_refused_is_not(provider: Provider) -> None:
    provider.script = {
        HOOK: [(429, {"Retry-After": "0"}), (503, {})],
        "/v2/enqueue": [(400, {})],
    }
    outcome = tell(notice(Event.ROLLBACK), provider, [])
    assert provider.tries.count(HOOK) == 3
    assert provider.tries.count("/v2/enqueue") == 1
    assert outcome.details.model_dump(mode="json")["delivered"] == ["slack"]
    (warning,) = outcome.details.model_dump(mode="json")["warnings"]
    assert "status 400" in warning
    assert outcome.exit_code is ExitCode.DONE


def test_a_provider_that_asks_for_an_hour_is_not_waited_for(provider: Provider) -> None:
    provider.script = {HOOK: [(429, {"Retry-After": "3600"})]}
    outcome = tell(notice(Event.STARTED), provider, [], pagerduty=False)
    assert provider.tries == [HOOK]
    assert "429" in str(outcome.details.model_dump(mode="json")["warnings"])


def test_what_failed_is_tried_again_by_the_next_call(provider: Provider) -> None:
    before: list[Outcome] = []
    provider.script = {"/v2/enqueue": [(400, {})]}
    tell(notice(Event.ROLLBACK), provider, before)
    outcome = tell(notice(Event.ROLLBACK), provider, before)
    assert outcome.details.model_dump(mode="json")["delivered"] == ["pagerduty/v2/enqueue"]
    assert outcome.details.model_dump(mode="json")["known_already"] == ["slack"]


def test_a_dead_receiver_is_a_warning_without_its_address(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:1{HOOK}")
    outcome = tell(notice(Event.HOLD), provider, [])
    assert outcome.exit_code is ExitCode.DONE
    assert "NOT SENT" in outcome.summary
    assert "secret-part" not in outcome.model_dump_json()
    assert ROUTING_KEY not in outcome.model_dump_json()
    assert outcome.details.model_dump(mode="json")["delivered"] == ["pagerduty/v2/enqueue"]


def test_a_key_that_is_not_set_is_a_warning(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEY")
    monkeypatch.delenv("HOOK")
    outcome = tell(notice(Event.HOLD), provider, [])
    assert outcome.exit_code is ExitCode.DONE
    assert "KEY is not set" in str(outcome.details.model_dump(mode="json")["warnings"])
    assert "HOOK is not set" in str(outcome.details.model_dump(mode="json")["warnings"])


def test_a_preview_sends_nothing_and_needs_no_key(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEY")
    told = notice(Event.ROLLBACK, reason="errors")
    messages, _ = Channels(settings(provider)).messages(told, T, keys=False)
    outcome = preview(told, messages, clock=SystemClock())
    assert provider.tries == []
    said = json.dumps(outcome.details.model_dump(mode="json"))
    assert "(hidden)" in said
    assert "errors" in said
    shown = outcome_text(outcome)
    assert "pagerduty/v2/enqueue\n" in shown
    assert '"severity": "critical"' in shown
    assert "errors" in shown


def test_a_secret_cannot_stand_in_the_environment_file() -> None:
    with pytest.raises(ValidationError):
        Notifications.model_validate({"slack": {"webhook_env": "https://hooks.slack.com/x"}})
