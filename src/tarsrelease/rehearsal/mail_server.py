"""A mail server that takes a message only after STARTTLS and a login (RFC 5321, 3207, 4954)."""

from __future__ import annotations

import base64
import email
import email.policy
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from time import sleep

from tarsrelease.rehearsal.certificates import Authority

_SILENCE = 20.0


class MailServer(socketserver.ThreadingTCPServer):
    """`answers` are given before the usual ones, by command; `silent` never greets.

    `trouble` names how to misbehave; None behaves. `taken` gets each message's parts.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, folder: Path, login: tuple[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), Session)
        authority = Authority("mail-test")
        pair = authority.issue("mail", hosts=("127.0.0.1",))
        self.authority, own, key = (folder / name for name in ("ca.pem", "own.pem", "key.pem"))
        self.authority.write_bytes(authority.certificate)
        own.write_bytes(pair.certificate)
        key.write_bytes(pair.key)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(own, key)
        self.login = base64.b64encode("\0{}\0{}".format(*login).encode()).decode()
        self.got: list[EmailMessage] = []
        self.commands: list[str] = []
        self.answers: dict[str, list[str]] = {}
        self.silent = threading.Event()
        self.trouble: Callable[[], str | None] = lambda: None
        self.taken: Callable[[Mapping[str, str]], None] = lambda _: None

    def handle_error(self, *_: object) -> None:
        """A client that went away is no error."""

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])


class Session(socketserver.StreamRequestHandler):
    """One connection."""

    server: MailServer
    encrypted = False
    known = False

    def say(self, line: str) -> None:
        """Send a line."""
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self) -> None:
        """Answer commands until QUIT."""
        trouble = self.server.trouble()
        if trouble in ("429", "420", "500", "invalid-json"):
            return self.say("421 try later" if trouble != "invalid-json" else "<html>")
        if trouble == "reset":
            return None
        if trouble == "drip":
            for byte in b"220 mail.example ESMTP\r\n":
                self.wfile.write(bytes([byte]))
                sleep(1.0)
            return None
        if trouble == "time-out" or self.server.silent.is_set():
            self.connection.settimeout(_SILENCE)
            self.rfile.readline()
            return None
        return self._session(refuses_login=trouble == "401")

    def _session(self, *, refuses_login: bool) -> None:
        self.say("220 mail.example ESMTP")
        while line := self.rfile.readline().decode().strip():
            command = line.split(" ")[0].upper()
            self.server.commands.append(command)
            planned = self.server.answers.get(command)
            if planned:
                self.say(planned.pop(0))
            elif command == "EHLO":
                self.say(
                    f"250-mail.example\r\n250 {'AUTH PLAIN' if self.encrypted else 'STARTTLS'}"
                )
            elif command == "STARTTLS":
                self._encrypt()
            elif command == "AUTH":
                right = line.endswith(self.server.login) and not refuses_login
                self.known = self.encrypted and right
                self.say("235 ok" if self.known else "535 authentication failed")
            elif command == "DATA" and self.known:
                self._take()
            elif command == "QUIT":
                self.say("221 bye")
                return
            elif command in ("MAIL", "RCPT", "NOOP", "RSET") and self.known:
                self.say("250 ok")
            else:
                self.say("530 not without a login")

    def _encrypt(self) -> None:
        self.say("220 go ahead")
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", 0)
        self.encrypted = True

    def _take(self) -> None:
        self.say("354 go on")
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        parsed = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)  # noqa: S101
        self.server.got.append(parsed)
        self.server.taken(_parts(parsed))
        self.say("250 taken")


def _parts(message: EmailMessage) -> Mapping[str, str]:
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    return {
        "to": str(message["To"]),
        "subject": str(message["Subject"]),
        "message_id": str(message["Message-ID"]),
        "text": plain.get_content() if plain is not None else "",
        "html": html.get_content() if html is not None else "",
    }


@contextmanager
def mail_server(folder: Path, login: tuple[str, str]) -> Iterator[MailServer]:
    """A running one."""
    with MailServer(folder, login) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
