"""What Helm prints, what a mail server answers, a team's templates and bundle.yaml: never a bug."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fuzzing import EXAMPLES, MINUTES, bodies, damaged, long, short
from hypothesis import strategies as st
from test_fuzz_files import as_yaml, files

from tarsrelease.adapters.channels import email as email_channel
from tarsrelease.adapters.channels.email import EmailChannel
from tarsrelease.adapters.channels.templates import worded
from tarsrelease.adapters.files.bundle_build import build_bundle
from tarsrelease.adapters.helm.releases import Helm
from tarsrelease.model.errors import UsageError
from tarsrelease.model.notice import Event, Notice
from tarsrelease.model.notifications import Email

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "release" / "v1_0_1"
_SLOW = 4
"""Examples of what starts a process or waits for a socket."""
REVISIONS = [
    {"revision": 1, "status": "deployed", "chart": "tars-1.0.0", "app_version": "1.0.0"},
    {"revision": 2, "status": "failed", "chart": "tars-1.0.1", "app_version": "1.0.1"},
]
OBJECT = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}
NOTICE = Notice(
    event=Event.HOLD, application="a", release="1", environment="e", run="r", reason="too few"
)
SESSION = (
    b"220 mail\r\n250-mail\r\n250 AUTH CRAM-MD5\r\n334 PDE+\r\n235 ok\r\n250 ok\r\n221 bye\r\n"
)
TEMPLATE = b"{{ release }} waits\n{% if reason %}{{ reason|upper }}{% endif %}\n{{ 'a' * 20 }}"


class Programs:
    """A Helm that prints what a file holds, a mail server that says what it is told, a folder."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.said = folder, b""
        self.printed = folder / "printed"
        program = folder / "helm"
        program.write_text(
            f"#!/bin/sh\ncase $1 in version) echo v4.2.3;; *) exec cat '{self.printed}';; esac\n"
        )
        program.chmod(0o755)
        patch.setenv("TARSRELEASE_HELM", str(program))
        patch.setenv("MAIL", "x")
        patch.setattr(email_channel, "_PAUSE", 0.0)
        self.helm = Helm(None, "tars")
        self.listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._mail, daemon=True).start()
        # Without encryption, so that the answers reach the code that reads them.
        settings = Email.model_construct(
            host="127.0.0.1",
            port=self.listening.getsockname()[1],
            security="none",
            sender="a@example.com",
            to=("b@example.com",),
            username_env="MAIL",
            password_env="MAIL",
            ca_file=None,
        )
        self.mail = EmailChannel(settings, deadline=1.0)
        self.bundle = shutil.copytree(BUNDLE, folder / "bundle")

    def _mail(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.sendall(self.said)
                connection.shutdown(socket.SHUT_WR)

    def helm_prints(self, ask: Callable[[Helm], object], content: bytes) -> None:
        self.printed.write_bytes(content)
        ask(self.helm)

    def mail_says(self, content: bytes) -> None:
        self.said = content
        self.mail.greet()

    def template(self, content: bytes) -> None:
        (self.folder / "hold.txt.j2").write_bytes(content)
        worded(NOTICE, str(self.folder))

    def described(self, content: bytes) -> None:
        (self.bundle / "bundle.yaml").write_bytes(content)
        build_bundle(ROOT / "examples" / "tars", "1.0.1", self.bundle)


def _upgrade(helm: Helm) -> object:
    return helm.planned("tars", "chart", [], values_from="tars")


Case = tuple[Callable[[Programs, bytes], None], st.SearchStrategy[bytes], int]
RENDERED = damaged(as_yaml(OBJECT) + b"---\n" + as_yaml(OBJECT))
CASES: dict[str, Case] = {
    "helm history": (
        lambda p, content: p.helm_prints(lambda helm: helm.history("tars"), content),
        bodies(REVISIONS),
        _SLOW,
    ),
    "helm values": (
        lambda p, content: p.helm_prints(lambda helm: helm.values("tars"), content),
        bodies({"a": {"b": 1}}),
        _SLOW,
    ),
    "helm upgrade": (
        lambda p, content: p.helm_prints(_upgrade, content),
        bodies({"manifest": as_yaml(OBJECT).decode(), "hooks": [{"manifest": ""}]}),
        _SLOW,
    ),
    "helm template": (
        lambda p, content: p.helm_prints(lambda helm: helm.crds("chart"), content),
        RENDERED,
        _SLOW,
    ),
    "mail server": (Programs.mail_says, damaged(SESSION) | st.binary(max_size=200), EXAMPLES),
    "template": (Programs.template, damaged(TEMPLATE), _SLOW),
    "bundle.yaml": (Programs.described, files((BUNDLE / "bundle.yaml").read_bytes()), _SLOW),
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    with pytest.MonkeyPatch.context() as patch:
        found = Programs(tmp_path_factory.mktemp("fuzz"), patch)
        yield found
        found.listening.close()


@pytest.mark.parametrize("name", CASES)
def test_anything_is_a_result_or_an_error(programs: Programs, name: str) -> None:
    act, values, few = CASES[name]
    short(lambda content: act(programs, content), values, few)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", CASES)
def test_new_ones_for_minutes(programs: Programs, name: str) -> None:
    act, values, _ = CASES[name]
    share = MINUTES * 60 * 0.1 / len(CASES)
    assert long(lambda content: act(programs, content), values, share) > 0


@pytest.mark.parametrize(
    "text",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'a' * 10**10 }}",
        "{{ 'a'.encode('no such encoding') }}",
        "{{ release }}\r\x0bBcc: b@example.com",
    ],
)
def test_a_template_that_never_ends_or_injects_is_bounded(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    from tarsrelease.adapters.channels import templates

    monkeypatch.setattr(templates, "_SECONDS", 4.0)
    (programs.folder / "hold.txt.j2").write_text(text, newline="")
    with contextlib.suppress(UsageError):
        told = worded(NOTICE, str(programs.folder))
        assert len(told.headline.splitlines()) == 1
