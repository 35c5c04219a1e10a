"""Deleted accounts, malformed webhooks, huge expressions, stale numbers: answers, never bugs."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from test_verify_obeys_nothing import built, verified
from unruly_servers import Server
from verify_tampering import listed_again

from tarsrelease.adapters import background
from tarsrelease.adapters.background import Background
from tarsrelease.adapters.channels.channels import Channels
from tarsrelease.adapters.github.api import GitHubReviews
from tarsrelease.adapters.sql_parser import ParsableSql, refusal
from tarsrelease.migrations.statements import read_statements
from tarsrelease.model.checks import ExternalCheck, NumberSource
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.github import GitHub, GitHubEnvironment
from tarsrelease.model.measurement import Number, Track, Unmeasured
from tarsrelease.model.notice import Message
from tarsrelease.model.notifications import Notifications, Slack
from tarsrelease.model.outcome import Status
from tarsrelease.readiness.approvals import two_people

__all__ = ["built"]

DEEP = {
    "operators": "SELECT " + "1+" * 100_000 + "1;",
    "casts": "SELECT 1" + "::int" * 40_000 + ";",
    "parentheses": "SELECT " + "(" * 100_000 + "1" + ")" * 100_000 + ";",
    "a hundred cases": "SELECT " + "CASE WHEN true THEN " * 300 + "1" + " END" * 300 + ";",
}


@pytest.mark.parametrize("sql", DEEP.values(), ids=DEEP)
def test_an_expression_nested_too_deep_is_refused_by_verify(
    sql: str, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(built / "release/v1_2_0", tmp_path / "v1_2_0")
    (folder / "migrations/1.sql").write_text(sql)
    path = folder / "manifest.production.json"
    manifest = json.loads(path.read_text())
    manifest["migrations"][0]["sha256"] = hashlib.sha256(sql.encode()).hexdigest()
    path.write_text(json.dumps(manifest))
    listed_again(folder)
    code, failed = verified(capsys, folder)
    assert code == 1
    assert "migrations/1.sql:1" in failed["migrations.lint"]


@pytest.mark.parametrize("sql", DEEP.values(), ids=DEEP)
def test_an_expression_nested_too_deep_is_refused_by_migrate(sql: str) -> None:
    class Files:
        def read(self, path: str) -> bytes:
            return sql.encode()

    with pytest.raises(UsageError, match=r"1\.sql:1"):
        read_statements("1.sql", ParsableSql(Files()).read("1.sql") or b"")  # type: ignore[arg-type]


def test_a_long_file_of_ordinary_statements_is_taken() -> None:
    sql = "INSERT INTO t (a, b) VALUES (1, -2);\n" * 6_000
    assert refusal("1.sql", sql.encode()) is None


def answering(body: str, status: str = "200 OK") -> Server:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return Server(lambda connection, _: connection.sendall((head + body).encode()))


def github(server: Server) -> GitHub:
    places = (GitHubEnvironment(name="a"), GitHubEnvironment(name="b"))
    return GitHub(repository="o/r", api=server.url, environments=places, two_people=("a", "b"))


def test_an_approval_by_a_deleted_account_counts_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "t")
    reviews = (
        '[{"user": null, "state": "approved", "environments": [{"name": "a"}]},'
        ' {"user": {"login": "bob"}, "state": "approved", "environments": [{"name": "b"}]}]'
    )
    server = answering(reviews)
    settings = github(server)
    result = two_people(settings, GitHubReviews(settings).approvals("7"), "7")
    assert result.status is Status.FAIL
    assert "nobody approved a" in result.reason
    assert "a deleted account approved" in result.reason
    server.close()


@pytest.mark.parametrize("body", ["7", "[7]", '[{"state": "approved"}]', "<html>", "null"])
def test_an_answer_of_another_shape_is_no_answer(
    body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "t")
    server = answering(body)
    reviews = GitHubReviews(github(server))
    with pytest.raises(UnreachableError):
        reviews.approvals("7")
    with pytest.raises(UnreachableError):
        reviews.rules("a")
    server.close()


@pytest.mark.parametrize(
    "address",
    [
        "hooks.slack.com/secret",
        "https://[secret",
        "https://",
        "secret",
        "https://x:secret/y",
        "ftp://secret/x",
    ],
)
def test_a_malformed_webhook_is_wrong_configuration_and_is_not_shown(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", address)
    receivers = Channels(Notifications(slack=Slack(webhook_env="HOOK")))
    with pytest.raises(UsageError) as caught:
        receivers.deliver(Message(receiver="slack", path="", body={}))
    assert "secret" not in str(caught.value).replace("may be a secret", "")
    assert "https://HOST/PATH" in caught.value.detail.expected


def test_a_number_that_is_not_renewed_becomes_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_PATIENCE", 0.2)
    asked = 0

    def read(_: ExternalCheck) -> float:
        nonlocal asked
        asked += 1
        if asked > 1:
            time.sleep(30)
        return 1.0

    rule = ExternalCheck(
        kind="external",
        id="a.number",
        source=NumberSource(command=("x",)),
        at_most=2.0,
        every=0.1,
    )
    elsewhere = Background(read)
    since = datetime(2026, 11, 23, tzinfo=UTC)
    ask = elsewhere.answer
    ends = time.monotonic() + 10
    seen: list[type] = []
    while Unmeasured not in seen and time.monotonic() < ends:
        seen.append(type(ask(rule, Track.CANARY, since)))
        time.sleep(0.02)
    assert Number in seen
    assert seen[-1] is Unmeasured
