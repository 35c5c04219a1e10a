"""Statuspage, e-mail, webhooks, the team's own words, and the trial of each channel."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models import blocks
from statuspage_stand_in import Statuspage, statuspage_server
from unruly_servers import Server, silence

from tarsrelease.adapters.channels import slack as slack_adapter
from tarsrelease.adapters.channels import statuspage as statuspage_adapter
from tarsrelease.adapters.channels import webhook as webhook_adapter
from tarsrelease.adapters.channels.channels import Channels
from tarsrelease.adapters.channels.templates import worded
from tarsrelease.adapters.channels.trial import trials
from tarsrelease.adapters.clock import SystemClock
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.notice import Event, Notice
from tarsrelease.model.notifications import Notifications, SlackChannel
from tarsrelease.model.outcome import Verdict
from tarsrelease.rehearsal.mail_server import MailServer, mail_server
from tarsrelease.rehearsal.provider_forms import FORMS as PROVIDER_FORMS
from tarsrelease.rehearsal.provider_forms import POST_MESSAGE
from tarsrelease.rehearsal.provider_forms import statuspage as statuspage_form
from tarsrelease.report.notices.email import email
from tarsrelease.report.notices.pagerduty import pagerduty
from tarsrelease.report.notices.slack import slack, slack_channel
from tarsrelease.report.notices.statuspage import statuspage
from tarsrelease.report.notices.webhook import FORMS, webhook
from tarsrelease.steps.notify_test import notify_test

T = datetime(2026, 12, 1, 9, tzinfo=UTC)
WINDOW = {"starts_at": T, "ends_at": T.replace(hour=13)}


def notice(event: Event, **more: object) -> Notice:
    facts = {"application": "shop", "release": "1.4.0", "environment": "production", "run": "7-1"}
    return Notice.model_validate(facts | {"event": event} | more)


def tell(settings: Notifications, told: Notice, deadline: float = 5.0) -> None:
    channels = Channels(settings, deadline=deadline)
    messages, warnings = channels.messages(told, T)
    assert warnings == []
    for message in messages:
        channels.deliver(message)


@pytest.fixture(autouse=True)
def no_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The receivers here have none."""
    for adapter in (slack_adapter, statuspage_adapter, webhook_adapter):
        monkeypatch.setattr(adapter, "_DISTANCE", 0.0)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Statuspage]:
    monkeypatch.setenv("PAGE_TOKEN", "page-token")
    with statuspage_server("abc123", "page-token") as server:
        yield server


def on_page(server: Statuspage) -> Notifications:
    page = {"page": "abc123", "token_env": "PAGE_TOKEN", "url": server.url, "components": ["c1"]}
    return Notifications.model_validate({"statuspage": page})


def test_a_release_is_one_maintenance_from_its_window_to_its_end(page: Statuspage) -> None:
    for event in (Event.SCHEDULED, Event.STARTED, Event.HOLD, Event.PROMOTED, Event.COMPLETE):
        more = WINDOW if event is Event.SCHEDULED else {}
        tell(on_page(page), notice(event, reason="internal.host refused", run=event.value, **more))
    name = "Release of shop 1.4.0"
    steps = ("scheduled", "in_progress", "verifying", "completed")
    assert page.history == [(name, status) for status in steps]
    assert page.incidents[0]["scheduled_until"] == "2026-12-01T13:00:00+00:00"
    assert "internal.host" not in json.dumps(page.incidents)


def test_a_rollback_is_one_incident_and_ends_the_maintenance(page: Statuspage) -> None:
    for event in (
        *(Event.SCHEDULED, Event.STARTED, Event.ROLLBACK_STARTED),
        *(Event.ROLLBACK_FAILED, Event.ROLLBACK, Event.RESOLVED, Event.RESOLVED),
    ):
        tell(on_page(page), notice(event, **(WINDOW if event is Event.SCHEDULED else {})))
    incident = [status for name, status in page.history if name.startswith("Problem")]
    assert incident == ["identified", "identified", "monitoring", "resolved"]
    assert page.history.count(("Release of shop 1.4.0", "completed")) == 1
    assert len(page.incidents) == 2


def test_an_update_of_nothing_publishes_nothing(page: Statuspage) -> None:
    for event in (Event.STARTED, Event.PROMOTED, Event.COMPLETE, Event.RESOLVED):
        tell(on_page(page), notice(event))
    assert page.incidents == []


@pytest.mark.parametrize("status", [420, 429, 503])
def test_a_page_that_is_busy_is_asked_again(page: Statuspage, status: int) -> None:
    page.busy = [status]
    tell(on_page(page), notice(Event.INCIDENT))
    assert [status for _, status in page.history] == ["investigating"]


def test_a_wrong_token_is_refused_and_not_shown(
    page: Statuspage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGE_TOKEN", "wrong-token")
    with pytest.raises(UsageError, match="401") as caught:
        tell(on_page(page), notice(Event.INCIDENT))
    assert "wrong-token" not in str(caught.value)


def test_a_component_that_the_page_lacks_is_found_by_the_trial(page: Statuspage) -> None:
    chosen = on_page(page).model_dump()["statuspage"] | {"components": ["c1", "x9"]}
    channels = Channels(Notifications.model_validate({"statuspage": chosen}), deadline=1.0)
    outcome = notify_test(trials(channels, "run", "production"), "production", clock=SystemClock())
    (check,) = outcome.checks
    assert (check.service, check.status.value) == ("statuspage", "fail")
    assert "the page has no component x9" in check.reason
    assert page.incidents == []


def test_a_maintenance_needs_its_times(page: Statuspage) -> None:
    _, warnings = Channels(on_page(page)).messages(notice(Event.SCHEDULED), T)
    assert "add --starts TIME --ends TIME" in warnings[0]


LOGIN = ("release@shop.example", "mail-pass word")


@pytest.fixture
def mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    monkeypatch.setenv("MAIL_USER", LOGIN[0])
    monkeypatch.setenv("MAIL_PASSWORD", LOGIN[1])
    with mail_server(tmp_path, LOGIN) as server:
        yield server


def by_mail(server: MailServer, **more: object) -> Notifications:
    settings = {
        "host": "127.0.0.1",
        "port": server.port,
        "sender": "release@shop.example",
        "to": ["team@shop.example", "boss@shop.example"],
        "username_env": "MAIL_USER",
        "password_env": "MAIL_PASSWORD",
        "ca_file": str(server.authority),
    }
    return Notifications.model_validate({"email": settings | more})


def test_an_e_mail_has_both_parts_and_is_sent_encrypted(mail: MailServer) -> None:
    told = notice(Event.ROLLBACK, reason="errors <5 %> & Grüße", link="https://ci.example/7")
    tell(by_mail(mail), told)
    (got,) = mail.got
    assert got["Subject"] == "shop 1.4.0 is rolled back in production"
    assert got["To"] == "team@shop.example, boss@shop.example"
    plain, html = got.get_body(("plain",)), got.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert "errors <5 %> & Grüße" in plain.get_content()
    assert "errors &lt;5 %&gt; &amp; Grüße" in html.get_content()
    assert "<a href='https://ci.example/7'>" in html.get_content()
    assert mail.commands.index("STARTTLS") < mail.commands.index("AUTH")


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\u2028", "\x85", "\x0b"])
def test_no_name_and_no_reason_adds_a_header_to_an_e_mail(mail: MailServer, end: str) -> None:
    evil = f"1.4.0{end}Bcc: evil@x.example{end}{end}<script>"
    names = dict.fromkeys(("application", "release", "environment", "about", "run"), evil)
    tell(by_mail(mail), notice(Event.HOLD, reason=evil, **names))
    tell(by_mail(mail), notice(Event.HOLD))
    attacked, usual = mail.got
    assert attacked.keys() == usual.keys()
    assert attacked["To"] == usual["To"]
    html = attacked.get_body(("html",))
    assert html is not None
    assert "<script>" not in html.get_content()


def test_a_mail_server_that_is_busy_is_asked_again_and_a_refusal_is_not(mail: MailServer) -> None:
    mail.answers = {"MAIL": ["451 try later"]}
    tell(by_mail(mail), notice(Event.PROMOTED))
    assert len(mail.got) == 1
    mail.answers = {"MAIL": ["550 no such sender", "550 no such sender"]}
    with pytest.raises(UsageError, match="550"):
        tell(by_mail(mail), notice(Event.PROMOTED))
    assert mail.answers["MAIL"] == ["550 no such sender"]


def test_a_certificate_of_somebody_else_ends_it_before_the_login(mail: MailServer) -> None:
    with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
        tell(by_mail(mail, ca_file=None), notice(Event.PROMOTED))
    assert "AUTH" not in mail.commands


def test_a_silent_mail_server_is_left_at_the_deadline(mail: MailServer) -> None:
    mail.silent.set()
    began = monotonic()
    with pytest.raises(UnreachableError):
        tell(by_mail(mail), notice(Event.PROMOTED), deadline=0.5)
    assert monotonic() - began < 3


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_webhook_is_signed_over_the_bytes_that_arrive(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as receiver:
        monkeypatch.setenv("HOOK_URL", receiver.url)
        monkeypatch.setenv("HOOK_SECRET", "signing-key")
        hook = {"name": "chat", "url_env": "HOOK_URL", "secret_env": "HOOK_SECRET", "form": form}
        settings = Notifications.model_validate({"webhooks": [hook | {"events": ["hold"]}]})
        tell(settings, notice(Event.STARTED))
        tell(settings, notice(Event.HOLD, reason="zu wenig Verkehr: 20 of 35"))
    ((headers, content),) = receiver.got
    expected = hmac.new(b"signing-key", content, hashlib.sha256).hexdigest()
    assert headers["X-Tarsrelease-Signature-256"] == f"sha256={expected}"
    assert "zu wenig Verkehr" in content.decode()


class Receiver:
    """A server that keeps what it got."""

    def __enter__(self) -> Receiver:
        import threading
        from http.server import BaseHTTPRequestHandler, HTTPServer

        got: list[tuple[dict[str, str], bytes]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                got.append((dict(self.headers.items()), content))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self.got = got
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._server.shutdown()
        self._server.server_close()


CHANNELS = (
    SlackChannel(name="#deployments", detail="technical"),
    SlackChannel(name="#support", detail="support"),
    SlackChannel(name="#leadership", detail="summary"),
)
TEXTS = st.text(max_size=60) | st.sampled_from(
    [
        "<!channel>",
        "@here",
        "@everyone",
        "[a](https://x)",
        "`*_~",
        "\u202eabc",
        "🚀" * 40,
        "x" * 9000,
        "🚀" * 9000,
        "&" * 9000,
        "\\" * 9000,
        "@channel <!here> <!subteam^S1> <#C1> <@U1> <http://evil.example|click>",
        "<users/all> <at>everyone</at> <@&1> ||spoiler||",
        "# heading\n- list\r\nBcc: evil@x.example",
        "\n",
        "\u2028why",
        "\u200b\ufeff",
        "\x9b31m\x85red",
        "https://ci.example/a_b*c/7",
        "https://ci.example/ 7|<!channel>",
        "https://ci.example/" + "7" * 3000,
    ]
)


def size(body: object) -> int:
    """Bytes of a request."""
    return len(json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def units(text: object) -> int:
    """Characters as providers count them that are written in JavaScript or Java."""
    return len(str(text).encode("utf-16-le", "surrogatepass")) // 2


@settings(deadline=None)  # the machine may be busy
@given(st.sampled_from(list(Event)), TEXTS, TEXTS, TEXTS)
def test_every_message_keeps_the_providers_limits_and_its_link(
    event: Event, reason: str, about: str, link: str
) -> None:
    told = notice(event, reason=reason, about=about, link=link, release=about or "1", **WINDOW)
    shown = link if link.startswith("https://ci.example/a") else ""
    for channel in CHANNELS:
        for message in slack_channel(told, channel):
            blocks: Any = message.body["blocks"]
            header, *texts = [each["text"]["text"] for each in blocks]
            assert units(header) <= 150
            assert units(message.body["text"]) <= 3000
            for text in texts:
                assert text.strip()
                assert units(text) <= 3000
                assert text.count("<") == text.count(">") <= 1
            assert channel.detail != "technical" or (f"<{shown}|" in texts[-1] if shown else True)
    for message in pagerduty(told, T, "k" * 32):
        assert size(message.body) <= 512_000
        payload: Any = message.body.get("payload", {"summary": ""})
        assert units(payload["summary"]) <= 1024
    discord, google = FORMS["discord"](told)["content"], FORMS["google-chat"](told)["text"]
    assert units(discord) <= 2000
    assert units(google) <= 4096
    assert str(discord).endswith(shown)
    assert str(google).endswith(shown)
    assert size(FORMS["teams"](told)) <= 28 * 1024
    for message in statuspage(told):
        incident: Any = message.body["incident"]
        assert units(incident["name"]) <= 255


@settings(deadline=None)  # the machine may be busy
@given(st.sampled_from(list(Event)), TEXTS, TEXTS, TEXTS)
def test_no_text_breaks_a_message_or_mentions_a_channel(
    event: Event, reason: str, about: str, link: str
) -> None:
    told = notice(event, reason=reason, about=about, link=link, **WINDOW)
    for message in (
        slack(told),
        *(each for channel in CHANNELS for each in slack_channel(told, channel)),
        email(told),
        *statuspage(told),
        *(webhook("chat", form, told) for form in FORMS),
    ):
        json.dumps(message.body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    for channel in CHANNELS:
        for message in slack_channel(told, channel):
            jsonschema.validate({**message.body, "thread_ts": "1.000000"}, POST_MESSAGE)
            shown: Any = message.body["blocks"]
            texts = [str(message.body["text"]), *(each["text"]["text"] for each in shown[1:])]
            assert not any("<!" in text or "<@" in text for text in texts)
            assert all(each["text"].get("verbatim") for each in shown[1:])
    for message in pagerduty(told, datetime.now(UTC), "k" * 32):
        jsonschema.validate(message.body, PROVIDER_FORMS[message.path])
    for message in statuspage(told):
        jsonschema.validate(message.body, statuspage_form(("name",)))
    body: Any = slack(told).body
    sections = [each["text"]["text"] for each in body["blocks"] if each["type"] == "section"]
    assert not any("<!" in text for text in (body["text"], *sections))
    discord = FORMS["discord"](told)
    assert len(str(discord["content"])) <= 2000
    assert discord["allowed_mentions"] == {"parse": []}
    assert "@e" not in str(discord["content"])
    assert len(str(FORMS["google-chat"](told)["text"])) <= 4096
    assert "<" not in str(FORMS["google-chat"](told)["text"])
    subject = str(email(told).body["subject"])
    assert len(subject.splitlines()) <= 1
    assert not any(
        part.startswith("javascript:") for part in str(email(told).body["html"]).split("'")
    )


def test_a_team_has_words_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "hold.txt.j2").write_text("{{ release }} waits\n{{ reason|upper }}\nCall us.")
    told = worded(notice(Event.HOLD, reason="too few"), str(tmp_path))
    assert (told.headline, told.reason) == ("1.4.0 waits", "TOO FEW\nCall us.")
    assert slack(told).body["text"] == "1.4.0 waits: TOO FEW\nCall us."
    assert worded(notice(Event.PROMOTED), str(tmp_path)) == notice(Event.PROMOTED)


def test_a_teams_template_mentions_nobody_and_changes_no_direction(tmp_path: Path) -> None:
    mentions = "@everyone @channel <!channel> <users/all> <@&1> <at>all</at>"
    (tmp_path / "hold.txt.j2").write_text(f"{mentions} \u202e{{{{ release }}}}\n\n{mentions}")
    told = worded(notice(Event.HOLD), str(tmp_path))
    assert "\u202e" not in told.headline
    slack_body: Any = slack(told).body
    header, *sections = [each["text"]["text"] for each in slack_body["blocks"]]
    assert "<!channel>" in header, "plain text, which mentions nobody"
    assert not any("<!" in text for text in (slack_body["text"], *sections))
    google, discord = FORMS["google-chat"](told)["text"], FORMS["discord"](told)
    assert "<" not in str(google)
    assert discord["allowed_mentions"] == {"parse": []}
    assert "@everyone" not in str(discord["content"])
    teams: Any = FORMS["teams"](told)
    card = teams["attachments"][0]["content"]
    assert "msteams" not in card, "which would name the mentioned"
    assert not any("@everyone" in each["text"] for each in card["body"])


@pytest.mark.parametrize(
    "text",
    [
        "{{ secret }}",
        "{% for",
        "",
        "{{ ''.__class__.__mro__ }}",
        "{{ 1/0 }}",
        "{{ release.__init__.__globals__ }}",
    ],
)
def test_a_template_that_is_wrong_or_reaches_out_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "hold.txt.j2").write_text(text)
    with pytest.raises(UsageError, match="rendering"):
        worded(notice(Event.HOLD), str(tmp_path))


def test_each_channel_is_tried_and_nothing_is_published(
    page: Statuspage, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = Server(silence)
    with Receiver() as receiver:
        monkeypatch.setenv("HOOK_URL", receiver.url)
        monkeypatch.setenv("SLACK_URL", f"{dead.url}/secret")
        settings = Notifications.model_validate(
            {
                "slack": {"webhook_env": "SLACK_URL"},
                "statuspage": on_page(page).model_dump()["statuspage"],
                "email": by_mail(mail).model_dump()["email"],
                "webhooks": [{"name": "chat", "url_env": "HOOK_URL"}],
            }
        )
        channels = Channels(settings, deadline=1.0)
        outcome = notify_test(
            trials(channels, "run", "production"), "production", clock=SystemClock()
        )
    assert outcome.verdict is Verdict.NO_GO
    found = {check.service: (check.status.value, check.reason) for check in outcome.checks}
    assert found["statuspage"] == ("pass", "the page 'Shop status' was read; nothing was published")
    assert found["email"][0] == found["webhook chat"][0] == "pass"
    assert found["slack"][0] == "fail"
    assert "secret" not in found["slack"][1]
    assert page.incidents == []
    assert mail.got == []
    assert "please ignore" in receiver.got[0][1].decode()

    dead.close()


@pytest.mark.parametrize("event", list(Event))
def test_slacks_own_models_accept_the_blocks(event: Event) -> None:
    told = notice(event, reason="*why* <!channel>", link="https://ci.example/7", **WINDOW)
    messages = [slack(told), *(m for each in CHANNELS for m in slack_channel(told, each))]
    for message in messages:
        shown: Any = message.body["blocks"]
        for written, block in zip(shown, blocks.Block.parse_all(shown), strict=True):
            block.validate_json()
            assert block.to_dict() == written
