"""Who may do what? A guest's token reads. What writes needs more, and nothing here gets it."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING

import pytest

from validation.asking import assert_refused

if TYPE_CHECKING:
    import httpx
    from conftest import Target

WRITING = {
    "orchestration-agent": ("/api/v1/agents/ppo-1/restart", {}),
    "insight-engine": ("/api/v1/evaluations", {"mission_id": 1, "score": 2.0}),
    "dashboard-api": ("/api/v1/missions", {"unknown_field": True}),
}
"""Each body is refused or changes nothing, even if access control is broken."""
services = pytest.mark.parametrize("service", WRITING)


@pytest.fixture
def token(target: Target) -> str:
    """A guest's token."""
    answer = target.ask("POST", "/api/v1/tokens")
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


def me(target: Target, credentials: str | None) -> httpx.Response:
    headers = {} if credentials is None else {"authorization": credentials}
    return target.ask("GET", "/api/v1/me", **headers)


def write(target: Target, service: str, credentials: str | None) -> httpx.Response:
    path, body = WRITING[service]
    headers = {} if credentials is None else {"authorization": credentials}
    return target.ask("POST", path, json=body, **headers)


def forged(token: str) -> str:
    """The token with a scope that its signature does not cover."""
    payload, _, signature = token.partition(".")
    grant = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    grant["scope"] = "write"
    text = base64.urlsafe_b64encode(json.dumps(grant).encode()).decode().rstrip("=")
    return f"{text}.{signature}"


@pytest.mark.canary
@pytest.mark.access
class TestTokens:
    def test_a_guest_gets_a_token_that_reads(self, target: Target) -> None:
        answer = target.ask("POST", "/api/v1/tokens")
        body = answer.json()
        assert answer.status_code == 201
        assert set(body) == {"token", "token_type", "scope", "expires"}
        assert (body["token_type"], body["scope"]) == ("Bearer", "read")

    def test_a_token_ends_within_an_hour(self, target: Target) -> None:
        left = target.ask("POST", "/api/v1/tokens").json()["expires"] - time.time()
        assert 60 < left < 3600

    def test_two_tokens_differ(self, target: Target) -> None:
        payloads = {
            target.ask("POST", "/api/v1/tokens").json()["token"].partition(".")[0] for _ in range(2)
        }
        assert len(payloads) == 2
        assert all(len(each) > 60 for each in payloads), "a payload without its id or its end"

    def test_a_token_shows_its_own_grant(self, target: Target, token: str) -> None:
        answer = me(target, f"Bearer {token}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["scope"] == "read"

    def test_the_scheme_is_read_without_case(self, target: Target, token: str) -> None:
        assert me(target, f"bearer {token}").json()["scope"] == "read"

    def test_a_request_without_a_token_is_refused(self, target: Target) -> None:
        assert_refused(me(target, None), 401)

    def test_a_refusal_names_the_scheme(self, target: Target) -> None:
        answer = me(target, None)
        assert answer.headers["www-authenticate"].startswith("Bearer")

    def test_another_scheme_is_refused(self, target: Target, token: str) -> None:
        assert_refused(me(target, f"Basic {token}"), 401)

    def test_an_empty_token_is_refused(self, target: Target) -> None:
        assert_refused(me(target, "Bearer ."), 401)

    def test_a_token_that_is_none_is_refused(self, target: Target) -> None:
        assert_refused(me(target, "Bearer nonsense"), 401)

    def test_a_token_without_its_signature_is_refused(self, target: Target, token: str) -> None:
        assert_refused(me(target, f"Bearer {token.partition('.')[0]}"), 401)

    def test_a_cut_signature_is_refused(self, target: Target, token: str) -> None:
        assert_refused(me(target, f"Bearer {token[:-1]}"), 401)

    def test_a_forged_scope_is_refused(self, target: Target, token: str) -> None:
        assert_refused(me(target, f"Bearer {forged(token)}"), 401)

    def test_a_token_in_the_address_does_not_count(self, target: Target, token: str) -> None:
        assert_refused(target.get(f"/api/v1/me?access_token={token}"), 401)

    def test_a_refusal_does_not_repeat_the_token(self, target: Target) -> None:
        assert "secret-of-mine" not in assert_refused(me(target, "Bearer secret-of-mine"), 401)


@pytest.mark.canary
@pytest.mark.access
class TestWriting:
    @services
    def test_nobody_writes_without_a_token(self, target: Target, service: str) -> None:
        assert_refused(write(target, service, None), 401)

    @services
    def test_nobody_writes_with_nonsense(self, target: Target, service: str) -> None:
        assert_refused(write(target, service, "Bearer a.b"), 401)

    @services
    def test_a_guest_does_not_write(self, target: Target, service: str, token: str) -> None:
        assert "read" in assert_refused(write(target, service, f"Bearer {token}"), 403)

    @services
    def test_a_forged_scope_does_not_write(self, target: Target, service: str, token: str) -> None:
        assert_refused(write(target, service, f"Bearer {forged(token)}"), 401)

    @services
    def test_access_is_decided_before_the_body_is_read(self, target: Target, service: str) -> None:
        answer = target.ask("POST", WRITING[service][0], content=b"{broken")
        assert_refused(answer, 401)
