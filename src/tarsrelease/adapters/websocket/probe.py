"""Real WebSocket connections that are cut and taken up again, each in a thread of its own.

The protocol is that of the release's WebSocket service: the server greets with JSON
(``type: session``, ``session_id``, ``resumed``), echoes each text (``type: echo``, ``text``) and
takes a session up again with the parameter ``session``.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import websocket

from tarsrelease.model.errors import UsageError
from tarsrelease.model.sockets import Ending, Reconnects, SocketPlan, SocketReport

_TIMEOUT = 5.0
_SENDING = 0.2
"""Seconds between two messages of one connection."""
_FIRST_PAUSE = 0.1
_LINGER_0 = struct.pack("ii", 1, 0)
"""SO_LINGER with 0 s: closing sends a reset instead of a farewell (socket(7))."""

_GONE = (websocket.WebSocketException, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Place:
    """The service: ws:// or wss:// with its path, the Host header, further headers, and TLS."""

    url: str
    host: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    server_name: str | None = None

    @property
    def origin(self) -> str:
        """What a page of the service itself would send; a server may refuse any other."""
        parts = urlsplit(self.url)
        scheme = "https" if parts.scheme == "wss" else "http"
        return f"{scheme}://{self.host or parts.netloc}"


def place_of(
    address: str,
    path: str,
    *,
    host: str | None = None,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
) -> Place:
    """The WebSocket service at an address of http, https, ws or wss. Raises UsageError."""
    parts = urlsplit(address)
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
    if parts.scheme not in schemes or not parts.netloc:
        raise UsageError(
            doing="choosing the WebSocket service",
            found=f"the address {address!r}",
            expected="an address such as wss://tars.ai",
            next_step="correct --url, or gateway.address in the environment file",
        )
    url = f"{schemes[parts.scheme]}://{parts.netloc}{path}"
    return Place(url, host, headers or {}, tls, server_name)


class SocketProbe:
    """The port `Sockets`."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def measure(self, plan: SocketPlan) -> SocketReport:
        """Open all connections at once and cut them until the time is over; never raises."""
        ends = monotonic() + plan.seconds
        clients = [_Client(self._place, plan, ends, number) for number in range(plan.connections)]
        threads = [threading.Thread(target=each.run, daemon=True) for each in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, ends - monotonic()) + (plan.retries + 2) * 2 * _TIMEOUT)
        return _together(clients, plan)


class _Client:
    """One connection after the other, and what happened to them."""

    def __init__(self, place: Place, plan: SocketPlan, ends: float, number: int) -> None:
        self._place, self._plan, self._ends, self._number = place, plan, ends, number
        self.opened = self.refused = self.sent = self.again = self.lost = self.survived = 0
        self.up = self.down = 0.0
        self.reconnects: dict[Ending, list[int]] = {}
        self.times: list[float] = []
        self.errors: Counter[str] = Counter()
        self._session: str | None = None
        self._waiting: dict[str, None] = {}
        self._connection: websocket.WebSocket | None = None

    def run(self) -> None:
        """Open, talk, be cut, and come back."""
        turn = self._number  # connections begin with different cuts
        while monotonic() < self._ends:
            if self._connection is None and not self._open_new():
                continue
            kind = self._plan.cuts[turn % len(self._plan.cuts)]
            turn += 1
            ending = self._talk(kind)
            if ending is not None and monotonic() < self._ends:
                self._come_back(ending)
        if self._connection is not None:
            self._listen(min(_TIMEOUT, 1.0), until_answered=True)
            self._hang_up()
        self.lost += len(self._waiting)

    def _open_new(self) -> bool:
        began = monotonic()
        self.lost += len(self._waiting)
        self._waiting, self._session = {}, None
        try:
            self._connect()
        except _GONE as problem:
            self.refused += 1
            self._note(problem)
            sleep(min(1.0, max(0.0, self._ends - monotonic())))
            self.down += monotonic() - began
            return False
        self.opened += 1
        return True

    def _connect(self) -> bool:
        """Connect, and whether the session was taken up again."""
        place, asked = self._place, self._session
        url = place.url if asked is None else f"{place.url}?session={asked}"
        tls = {"context": place.tls, "server_hostname": place.server_name}
        options: dict[str, Any] = {"sslopt": {k: v for k, v in tls.items() if v is not None}}
        connection = websocket.create_connection(
            url,
            timeout=_TIMEOUT,
            host=place.host,
            origin=place.origin,
            header=[f"{name}: {value}" for name, value in place.headers.items()],
            redirect_limit=0,
            http_no_proxy=["*"],
            **options,
        )
        greeting = json.loads(connection.recv() or "{}")
        if not isinstance(greeting, dict) or not greeting.get("session_id"):
            connection.close(timeout=0)
            raise ValueError("the server did not greet with a session_id")
        self._connection, self._session = connection, str(greeting["session_id"])
        return bool(greeting.get("resumed")) and self._session == asked

    def _talk(self, kind: Ending) -> Ending | None:
        """Send and listen until it is time to cut; how the connection ended, None: it did not."""
        began, cut_at = monotonic(), min(monotonic() + self._plan.every, self._ends)
        try:
            while monotonic() < cut_at:
                text = f"{self._number}-{self.sent}"
                self.sent += 1
                self._waiting[text] = None
                self._send(text)
                if not self._listen(min(_SENDING, max(0.001, cut_at - monotonic()))):
                    return "server"
        except _GONE as problem:
            self._note(problem)
            self._hang_up()
            return "server"
        finally:
            self.up += monotonic() - began
        return None if monotonic() >= self._ends else self._cut(kind)

    def _send(self, text: str) -> None:
        if self._connection is not None:
            self._connection.send(text)

    def _listen(self, seconds: float, *, until_answered: bool = False) -> bool:
        """Take echoes for some time; False if the server ended the connection."""
        until = monotonic() + seconds
        connection = self._connection
        while connection is not None and (left := until - monotonic()) > 0:
            if until_answered and not self._waiting:
                return True
            connection.settimeout(left)
            try:
                text = connection.recv()
            except websocket.WebSocketTimeoutException:
                return True
            except _GONE as problem:
                self._note(problem)
                self._hang_up()
                return False
            if not text:  # a close frame
                self._hang_up()
                return False
            self._take(text)
        return True

    def _take(self, text: str | bytes) -> None:
        try:
            message = json.loads(text)
        except ValueError:
            return
        if isinstance(message, dict) and message.get("type") == "echo":
            self._waiting.pop(str(message.get("text")), None)

    def _cut(self, kind: Ending) -> Ending | None:
        connection = self._connection
        if connection is None:
            return "server"
        if kind == "idle":
            began = monotonic()
            sleep(min(self._plan.idle, max(0.0, self._ends - began)))
            alive = self._answers()
            (self._count_up if alive else self._count_down)(monotonic() - began)
            self.survived += alive
            return None if alive else "idle"
        if kind == "drop" and connection.sock is not None:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
            connection.sock.close()
        else:
            connection.close(status=1001, timeout=1)
        self._connection = None
        return kind

    def _answers(self) -> bool:
        """Whether the connection still echoes."""
        text = f"{self._number}-{self.sent}"
        self.sent += 1
        self._waiting[text] = None
        try:
            self._send(text)
            until = monotonic() + _TIMEOUT
            while text in self._waiting and monotonic() < until:
                if not self._listen(0.1):
                    return False
        except _GONE as problem:
            self._note(problem)
            self._hang_up()
        return text not in self._waiting

    def _count_up(self, seconds: float) -> None:
        self.up += seconds

    def _count_down(self, seconds: float) -> None:
        self.down += seconds

    def _come_back(self, ending: Ending) -> None:
        self._hang_up()
        began, tally = monotonic(), self.reconnects.setdefault(ending, [0, 0])
        tally[0] += 1
        resumed = False
        for number in range(self._plan.retries):
            try:
                resumed = self._connect()
                if not resumed:
                    self.errors["another session"] += 1
                break
            except _GONE as problem:
                self._note(problem)
                if number + 1 < self._plan.retries:
                    sleep(_FIRST_PAUSE * 2**number)
        self.down += monotonic() - began
        if not resumed:
            self._hang_up()
            return
        tally[1] += 1
        self.times.append(monotonic() - began)
        try:
            for text in list(self._waiting):
                self.again += 1
                self._send(text)
        except _GONE as problem:
            self._note(problem)

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close(timeout=0)
            except _GONE as problem:
                self._note(problem)

    def _note(self, problem: BaseException) -> None:
        status = getattr(problem, "status_code", None)
        self.errors[f"status {status}" if status else type(problem).__name__] += 1


def _together(clients: list[_Client], plan: SocketPlan) -> SocketReport:
    reconnects: dict[Ending, Reconnects] = {}
    for client in clients:
        for ending, (attempts, successes) in client.reconnects.items():
            had = reconnects.get(ending, Reconnects())
            reconnects[ending] = Reconnects(
                attempts=had.attempts + attempts, successes=had.successes + successes
            )
    attempts = sum(each.attempts for each in reconnects.values())
    successes = sum(each.successes for each in reconnects.values())
    times = sorted(time for client in clients for time in client.times)
    up, down = sum(each.up for each in clients), sum(each.down for each in clients)
    sent, lost = sum(each.sent for each in clients), sum(each.lost for each in clients)

    def at(share: float) -> float | None:
        return round(times[min(len(times) - 1, int(share * len(times)))], 4) if times else None

    return SocketReport(
        duration_seconds=plan.seconds,
        connections=plan.connections,
        opened=sum(each.opened for each in clients),
        refused=sum(each.refused for each in clients),
        reconnection_success_rate=100 * successes / attempts if attempts else None,
        reconnects=reconnects,
        reconnect_time_p50_s=at(0.5),
        reconnect_time_p95_s=at(0.95),
        reconnect_time_max_s=at(1.0),
        websocket_uptime_pct=100 * up / (up + down) if up + down > 0 else None,
        messages_sent=sent,
        messages_sent_again=sum(each.again for each in clients),
        messages_lost=lost,
        message_loss_pct=100 * lost / sent if sent else None,
        idle_survived=sum(each.survived for each in clients),
        errors=dict(sum((each.errors for each in clients), Counter[str]())),
    )
