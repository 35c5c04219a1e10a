"""The page of a release in progress: what it shows, that it follows, that it changes nothing."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from day_world import DayWorld
from world import Unattended

from tarsrelease.adapters.http.page_server import PageServer
from tarsrelease.model.errors import UsageError
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.people import Answer
from tarsrelease.model.step_details import NotifyDetails
from tarsrelease.model.window import FixedWindow
from tarsrelease.report.dashboard import content, page, traffic
from tarsrelease.steps.dashboard import dashboard
from tarsrelease.steps.go_no_go_votes import cast, postpone
from tarsrelease.steps.hold import hold

T = datetime(2026, 12, 1, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def played() -> DayWorld:
    """A release that was promoted, with what each step recorded."""
    day = DayWorld()
    outcome = day.play(Unattended())
    assert outcome.exit_code == 0, outcome.summary
    return day


def test_it_shows_traffic_steps_checks_and_the_position(played: DayWorld) -> None:
    found = dashboard(played.context(), played.evidence.outcomes)
    weights = [point.weight for point in traffic(found.journal, found.release)]
    assert weights[:3] == [0, 10, 100]
    assert weights[-1] == 0
    text = content(found)
    assert "<strong>promoted</strong>: 1.0.1 is stable" in text
    assert "canary.error_rate" in text
    assert '<path d="M0 160.0 H' in text
    assert ">promote</td>" in text


def test_a_persons_words_are_text_and_never_markup() -> None:
    day = DayWorld()
    evil = Lifting(by="<script>alert(1)</script>", reason='"><img src=x onerror=alert(1)>')
    day.at_stage("canary-10", lambda: void(hold(day.context(), evil)))
    day.play(Unattended())
    found = dashboard(day.context(), day.evidence.outcomes)
    tags = Tags()
    tags.feed(page(found, T))
    assert "script" not in tags.seen
    assert "img" not in tags.seen
    assert "&lt;script&gt;" in content(found)


def test_votes_are_shown_until_they_begin_anew() -> None:
    day = DayWorld()
    context = day.context()
    cast(context, "qa", Answer.GO, "Ada", "")
    text = content(dashboard(context, ()))
    assert "<h2>Votes</h2>" in text
    assert "<td>qa, GO, Ada</td>" in text, "the journal says what was voted"
    starts = context.clock.now() + timedelta(days=1)
    later = FixedWindow(starts=starts, ends=starts + timedelta(hours=4))
    postpone(context, later, Lifting(by="Lin", reason="a node is down"), lambda _: ())
    assert "<h2>Votes</h2>" not in content(dashboard(context, ()))


def test_a_message_is_shown_with_its_event(played: DayWorld) -> None:
    key = "tars/simulated/1.0.1/7-1/hold/canary-10"
    details = NotifyDetails(key=key, delivered=("slack",), known_already=(), warnings=())
    sent = played.evidence.outcomes[0].model_copy(update={"details": details})
    assert " hold canary-10: slack</li>" in content(dashboard(played.context(), (sent,)))


def void(_: object) -> None:
    """For a callback."""


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.addresses: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action")]


@pytest.mark.parametrize("nonce", [None, "abc"])
def test_the_page_needs_nothing_else_and_changes_nothing(
    played: DayWorld, nonce: str | None
) -> None:
    found = dashboard(played.context(), played.evidence.outcomes)
    tags = Tags()
    tags.feed(page(found, T, nonce=nonce))
    assert not {"form", "button", "input", "link", "iframe", "a"} & set(tags.seen)
    assert tags.addresses == []
    assert ("script" in tags.seen) is (nonce is not None)
    assert tags.seen.count("h1") == 1


def test_a_cluster_that_is_away_leaves_the_last_state_and_says_so(played: DayWorld) -> None:
    before = dashboard(played.context(), ())
    played.world.kubernetes_up = False
    try:
        found = dashboard(played.context(), (), before)
    finally:
        played.world.kubernetes_up = True
    assert found.status == before.status
    assert "The cluster cannot be read" in content(found)
    assert "<strong>promoted</strong>" in content(found)
    assert "Nothing is known" in content(found.model_copy(update={"status": None}))


@pytest.fixture
def server() -> Iterator[PageServer]:
    with PageServer("127.0.0.1", 0, lambda nonce: f"<script nonce={nonce}></script>") as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def ask(
    server: PageServer, path: str, method: str = "GET", host: str | None = None
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    connection.request(method, path, headers={"Host": host or "localhost:1"})
    return connection.getresponse()


def test_readers_get_what_changes_at_once(server: PageServer) -> None:
    server.publish("one")
    answer = ask(server, "/events")
    assert event(answer)["content"] == "one"
    server.publish("one")
    server.publish("two")
    assert event(answer)["content"] == "two"


def event(answer: http.client.HTTPResponse) -> dict[str, str]:
    line = answer.readline().decode()
    assert answer.readline() == b"\n"
    found: dict[str, str] = json.loads(line.removeprefix("data: "))
    return found


def test_the_page_has_a_script_of_its_own_only(server: PageServer) -> None:
    first, second = ask(server, "/"), ask(server, "/")
    policies = [each.headers["Content-Security-Policy"] for each in (first, second)]
    nonces = [re.findall("'nonce-([^']+)'", policy)[0] for policy in policies]
    assert nonces[0] != nonces[1]
    assert nonces[0] in first.read().decode()
    assert "default-src 'none'" in policies[0]


@pytest.mark.parametrize(
    ("path", "method", "host", "status"),
    [
        ("/", "POST", None, 501),
        ("/", "DELETE", None, 501),
        ("/../etc/passwd", "GET", None, 404),
        ("/", "GET", "evil.example", 403),
        ("/events", "GET", "evil.example:8400", 403),
        ("/", "GET", "[::1]:8400", 200),
        ("/", "GET", "192.0.2.1", 200),
    ],
)
def test_nothing_else_is_answered(
    server: PageServer, path: str, method: str, host: str | None, status: int
) -> None:
    assert ask(server, path, method, host).status == status


def test_an_address_that_is_taken_is_a_usage_error(server: PageServer) -> None:
    with pytest.raises(UsageError, match="serving the page"):
        PageServer("127.0.0.1", int(server.server_address[1]), str)
