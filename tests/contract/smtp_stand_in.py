"""A mail server that takes a message only after STARTTLS and a login (RFC 5321, 3207, 4954)."""

from __future__ import annotations

import base64
import email
import email.policy
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

from tarsrelease.rehearsal.certificates import Authority


class MailServer(socketserver.ThreadingTCPServer):
    """`answers` are given before the usual ones, by command; `silent` never greets."""

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

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Session(socketserver.StreamRequestHandler):
    server: MailServer
    encrypted = False
    known = False

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self) -> None:
        if self.server.silent.is_set():
            self.rfile.readline()
            return
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
                self.say("220 go ahead")
                self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = (
                    self.connection.makefile("rb"),
                    self.connection.makefile("wb", 0),
                )
                self.encrypted = True
            elif command == "AUTH":
                self.known = self.encrypted and line.endswith(self.server.login)
                self.say("235 ok" if self.known else "535 authentication failed")
            elif command == "DATA" and self.known:
                self.take()
            elif command == "QUIT":
                self.say("221 bye")
                return
            elif command in ("MAIL", "RCPT", "NOOP", "RSET") and self.known:
                self.say("250 ok")
            else:
                self.say("530 not without a login")

    def take(self) -> None:
        self.say("354 go on")
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        parsed = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        self.server.got.append(parsed)
        self.say("250 taken")


@contextmanager
def mail_server(folder: Path, login: tuple[str, str]) -> Iterator[MailServer]:
    """A running one."""
    with MailServer(folder, login) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
