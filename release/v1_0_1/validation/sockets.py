"""Do WebSocket sessions open, talk, and close as clients expect?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from validation.frames import ACCEPT, CLOSE, PING, PONG, opened, status_of

if TYPE_CHECKING:
    from conftest import Target


@pytest.mark.canary
@pytest.mark.sockets
class TestSockets:
    def test_a_session_opens(self, target: Target) -> None:
        with opened(target) as socket:
            assert socket.hello["type"] == "session"

    def test_the_handshake_answers_the_key(self, target: Target) -> None:
        with opened(target) as socket:
            assert socket.answer.headers["sec-websocket-accept"] == ACCEPT

    def test_a_session_has_an_id(self, target: Target) -> None:
        with opened(target) as socket:
            assert re.fullmatch(r"[0-9a-f]{32}", socket.hello["session_id"])

    def test_two_sessions_have_two_ids(self, target: Target) -> None:
        with opened(target) as one, opened(target) as other:
            assert one.hello["session_id"] != other.hello["session_id"]

    def test_a_new_session_is_not_resumed(self, target: Target) -> None:
        with opened(target) as socket:
            assert not socket.hello.get("resumed")

    def test_a_text_comes_back(self, target: Target) -> None:
        with opened(target) as socket:
            socket.say("hello")
            assert socket.message("echo")["text"] == "hello"

    def test_a_text_of_any_script_comes_back(self, target: Target) -> None:
        with opened(target) as socket:
            socket.say("Grüße 🚀 任务")
            assert socket.message("echo")["text"] == "Grüße 🚀 任务"

    def test_texts_come_back_in_order(self, target: Target) -> None:
        with opened(target) as socket:
            for number in range(5):
                socket.say(str(number))
            assert [socket.message("echo")["text"] for _ in range(5)] == list("01234")

    def test_texts_go_to_their_own_session(self, target: Target) -> None:
        with opened(target) as one, opened(target) as other:
            one.say("one")
            other.say("other")
            assert one.message("echo")["text"] == "one"
            assert other.message("echo")["text"] == "other"

    def test_a_ping_is_answered_with_its_payload(self, target: Target) -> None:
        with opened(target) as socket:
            socket.send(PING, b"are you there")
            found = socket.frame()
            while found[0] not in (PONG, CLOSE):
                found = socket.frame()
            assert found == (PONG, b"are you there")

    def test_heartbeats_come_and_are_numbered(self, target: Target) -> None:
        with opened(target) as socket:
            first = socket.message("heartbeat", within=12)["seq"]
            assert socket.message("heartbeat", within=12)["seq"] == first + 1

    def test_a_farewell_is_answered(self, target: Target) -> None:
        with opened(target) as socket:
            socket.send(CLOSE, (1000).to_bytes(2, "big"))
            kind, payload = socket.frame()
            while kind != CLOSE:
                kind, payload = socket.frame()
            assert int.from_bytes(payload[:2], "big") == 1000

    def test_a_session_id_that_is_none_is_refused(self, target: Target) -> None:
        assert status_of(target, "nonsense") == 400

    def test_a_handshake_of_another_version_is_refused(self, target: Target) -> None:
        assert status_of(target, sec_websocket_version="8") in (400, 426)

    def test_a_handshake_without_a_key_is_refused(self, target: Target) -> None:
        assert status_of(target, sec_websocket_key=None) == 400

    def test_a_plain_request_is_asked_to_upgrade(self, target: Target) -> None:
        assert target.get("/ws").status_code == 426
