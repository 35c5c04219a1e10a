"""PING and INFO of a Redis or Valkey (redis.io/docs/latest/develop/reference/protocol-spec)."""

from __future__ import annotations

import os
import socket
import ssl

from tarsrelease.model.environment import RedisServer
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.ports.surroundings import RedisMemory

_TIMEOUT = 5.0
_LARGEST = 2**20


def redis_memory(server: RedisServer) -> RedisMemory:
    """The memory of a server that answers PING with PONG.

    Raises UnreachableError, and UsageError for a variable that is not set.
    """
    host, _, port = server.address.rpartition(":")
    doing = f"asking Redis at {server.address}"
    password = None
    if server.password_env is not None:
        password = os.environ.get(server.password_env)
        if not password:
            raise UsageError(
                doing=doing,
                found=f"the environment variable {server.password_env} is not set",
                expected="the password of Redis",
                next_step=f"set {server.password_env}",
            )
    try:
        with socket.create_connection((host, int(port)), timeout=_TIMEOUT) as plain:
            connection: socket.socket = plain
            if server.tls:
                connection = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
            with connection, connection.makefile("rb") as answers:
                if password is not None:
                    connection.sendall(_command("AUTH", password))
                    _line(answers.readline(_LARGEST))
                connection.sendall(_command("PING"))
                _line(answers.readline(_LARGEST), "+PONG")
                connection.sendall(_command("INFO", "memory"))
                length = int(_line(answers.readline(_LARGEST)).removeprefix("$"))
                text = answers.read(min(length, _LARGEST)).decode("utf-8", "replace")
    except (OSError, ValueError) as problem:
        raise UnreachableError(
            doing=doing,
            found=f"{type(problem).__name__}: {problem}",
            expected=f"PONG within {_TIMEOUT:.0f} s",
            next_step="check preflight.redis in the environment file, and the server",
        ) from problem
    values = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    try:
        return RedisMemory(int(values["used_memory"]), int(values.get("maxmemory", "0")))
    except (KeyError, ValueError) as problem:
        raise UnreachableError(
            doing=doing,
            found="an INFO without used_memory",
            expected="INFO memory of Redis or Valkey",
            next_step="check preflight.redis in the environment file",
        ) from problem


def _command(*words: str) -> bytes:
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    return f"*{len(words)}\r\n{''.join(parts)}".encode()


def _line(answer: bytes, expected: str = "") -> str:
    text = answer.decode("utf-8", "replace").rstrip("\r\n")
    if not text or text.startswith("-") or not text.startswith(expected):
        raise ValueError(text.removeprefix("-")[:60] or "the connection was closed")
    return text
