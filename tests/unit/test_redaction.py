"""What leaves the process: secrets masked, control characters shown, at every exit."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tarsrelease.cli.redaction import Redaction, redaction
from tarsrelease.cli.session import Session, carry_out
from tarsrelease.cli.settings import Settings
from tarsrelease.model.errors import LockedError
from tarsrelease.model.outcome import Check, ExitCode, Observed, Outcome, Status, Verdict

ROOT = Path(__file__).parents[2]
HOLDER = "eve@host\x1b]0;pwned\x07\x1b[2J\r"


def outcome(text: str) -> Outcome:
    now = datetime.now(UTC)
    return Outcome(
        step="verify",
        release=None,
        environment=None,
        verdict=Verdict.PROCEED,
        exit_code=ExitCode.DONE,
        summary=text,
        checks=(
            Check(
                id="bundle.digest",
                status=Status.PASS,
                observed=Observed(value=text, unit="text"),
                expected=text,
                reason=text,
                source=text,
            ),
        ),
        details={"deep": [{"text": text, "count": 3}]},
        started_at=now,
        finished_at=now,
        next=text,
    )


def test_every_text_of_an_outcome_passes_and_ids_stay() -> None:
    shown = outcome("proceed: hunter22\x1b[2J\tend\n")
    redacted = Redaction(["proceed", "hunter22"]).outcome(shown)
    said = redacted.model_dump_json()
    assert "hunter22" not in said
    assert "\\u001b" not in said
    assert redacted.summary == "***: ***\\x1b[2J\tend\n"
    assert redacted.checks[0].status is Status.PASS
    assert redacted.verdict is Verdict.PROCEED
    deep = redacted.details.model_dump()["deep"]
    assert deep == [{"text": redacted.summary, "count": 3}]


def test_secrets_are_those_that_the_environment_file_and_the_kubeconfig_name(
    tmp_path: Path,
) -> None:
    place = tmp_path / "place.yaml"
    place.write_text("database: {dsn_env: DSN}\nnotifications: {slack: {webhook_env: HOOK}}\n")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("users: [{name: u, user: {token: cluster-token}}]\n")
    shown = redaction(
        str(place),
        {
            "DSN": "postgresql://u:p%40ssw0rd@h/d",
            "HOOK": "https://hooks.example/T0/B0/xyz",
            "KUBECONFIG": str(kubeconfig),
            "TARSRELEASE_REGISTRY_AUTH": "ghcr.io=bot:registry-word",
        },
    )
    for secret in (
        "https://hooks.example/T0/B0/xyz",
        "p@ssw0rd",
        "p%40ssw0rd",
        "cluster-token",
        "registry-word",
    ):
        assert secret not in shown.text(f"found {secret} there")


def settings(folder: Path, **more: bool) -> Settings:
    place = folder / "place.yaml"
    place.write_text("notifications: {slack: {webhook_env: HOOK}}\n")
    return Settings(environment=str(place), evidence=folder / "evidence", format="text", **more)


def test_a_lease_holder_cannot_move_the_readers_cursor(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def act(session: Session) -> Outcome:
        session.progress.say(f"waiting for {HOLDER}")
        raise LockedError(
            doing="taking the lock",
            found=f"{HOLDER} holds it",
            expected="a free lock",
            next_step=f"ask {HOLDER}",
        )

    assert carry_out(settings(tmp_path), "promote", act) == ExitCode.LOCKED
    printed = capfd.readouterr()
    evidence = (tmp_path / "evidence/evidence.jsonl").read_text()
    for text in (printed.out, printed.err):
        assert "eve@host\\x1b]0;pwned" in text
        assert "\x1b" not in text
        assert "\x07" not in text
    assert "\\u001b" not in evidence


@pytest.mark.parametrize("level", ["verbose", "debug"])
def test_a_webhook_is_shown_nowhere_however_much_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    """In a process of its own: the level of logging is the process's."""
    hook = "/services/T000/B000/very-secret"

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}{hook}"
    source = f"""
import logging, os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_redaction import outcome, settings
from tarsrelease.adapters.channels.channels import Channels
from tarsrelease.cli.session import carry_out
from tarsrelease.model.notifications import Notifications, Slack
from tarsrelease.model.notice import Message

def act(session):
    address = os.environ["HOOK"]
    logging.getLogger("anything").info("posting to %s", address)
    session.progress.say(f"posting to {{address}}")
    receivers = Channels(Notifications(slack=Slack(webhook_env="HOOK")))
    receivers.deliver(Message(receiver="slack", path="", body={{}}))
    if {level == "debug"}:
        raise RuntimeError(f"a bug at {{address}}")
    return outcome(f"told {{address}}")

sys.exit(carry_out(settings(Path({str(tmp_path)!r}), {level}=True), "notify send", act))
"""
    done = subprocess.run(
        [sys.executable, "-c", source],
        env={**os.environ, "HOOK": address},
        capture_output=True,
        text=True,
        check=False,
    )
    server.shutdown()
    recorded = (tmp_path / "evidence/evidence.jsonl").read_text()
    everything = done.stdout + done.stderr + recorded
    assert done.returncode == (70 if level == "debug" else 0), everything
    assert "posting to ***" in done.stderr
    assert "very-secret" not in everything


def test_libraries_log_no_addresses(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    carry_out(settings(tmp_path, verbose=True), "verify", lambda _: outcome("x"))
    for name in ("httpx", "httpcore", "urllib3"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)


def test_of_a_fleets_many_secrets_none_is_shown() -> None:
    secrets = [f"token-{number:04d}-of-a-cluster" for number in range(1000)]
    redaction = Redaction(secrets)
    assert redaction.text(f"tokens {secrets[7]}, {secrets[999]}.") == "tokens ***, ***."
    assert redaction.text("toke") == "toke"
    assert redaction.text("") == ""
