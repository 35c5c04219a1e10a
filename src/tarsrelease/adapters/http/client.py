"""HTTP requests that end: a total deadline for each, and a largest answer.

httpx counts its timeout anew for every byte that arrives, so a server that sends one byte a second
keeps a request alive for ever. Here the deadline holds for looking the name up, connecting, TLS,
headers and body together.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from time import monotonic, sleep
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

LARGEST = 2**20
"""Bytes of an answer that is read where the caller does not say how many."""
LATER = frozenset({420, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed (420 is Statuspage's and others' 429)."""
_AT_ONCE = 8
_KEPT = 60.0

_ends_at: ContextVar[float] = ContextVar("_ends_at")


class TooLargeError(httpx.RequestError):
    """The answer has more bytes than the caller reads."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; `content` is decoded as its Content-Encoding says."""

    status: int
    headers: httpx.Headers
    content: bytes

    @property
    def text(self) -> str:
        """The content as UTF-8; what is not is replaced."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The content as JSON. Raises ValueError."""
        try:
            return json.loads(self.content)
        except RecursionError as error:
            raise ValueError("it is nested too deep") from error


class Client:
    """Requests of `seconds` at most, whose answers have `largest` bytes at most.

    Raises httpx.HTTPError: TimeoutException after the deadline, TooLargeError, or what httpx finds.
    Redirects are never followed. Proxies are those that the environment names, if `proxies`.
    `server_name` is the name in the server's certificate if it is not that of the address.
    """

    def __init__(
        self,
        *,
        seconds: float,
        largest: int = LARGEST,
        headers: Mapping[str, str] | None = None,
        verify: ssl.SSLContext | bool = True,
        proxies: bool = True,
        server_name: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._seconds = seconds
        self._largest = largest
        self._extensions = {} if server_name is None else {"sni_hostname": server_name}
        self._client = httpx.Client(
            headers={"Accept-Encoding": "gzip", **(headers or {})},
            follow_redirects=False,
            trust_env=False,
            transport=transport or _Transport(verify, proxies=proxies),
        )

    def request(
        self,
        method: str,
        url: str,
        *,
        deadline: float | None = None,
        largest: int | None = None,
        attempts: int = 1,
        **more: Any,
    ) -> Answer:
        """The whole answer, at the latest at `deadline` (of time.monotonic).

        Up to `attempts` requests, each of the client's `seconds`, where nobody answers or the
        answer is 429 or 5xx; Retry-After is honored as long as the deadline allows it. `more` is
        what httpx.Client.stream takes: headers, params, data, json, auth.
        """
        ends_at = deadline or monotonic() + self._seconds
        most = self._largest if largest is None else largest
        for pause in [*_pauses(attempts - 1), None]:
            problem: httpx.HTTPError | None = None
            answer: Answer | None = None
            try:
                answer = self._once(method, url, ends_at, most, more)
            except httpx.TransportError as error:
                problem = error
            if answer is not None and answer.status not in LATER:
                return answer
            wait = (answer and retry_after(answer.headers)) or pause
            if pause is None or wait is None or monotonic() + wait >= ends_at:
                if answer is None:
                    assert problem is not None  # noqa: S101
                    raise problem
                return answer
            sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _once(
        self, method: str, url: str, deadline: float, most: int, more: Mapping[str, Any]
    ) -> Answer:
        ends_at = min(monotonic() + self._seconds, deadline)
        token = _ends_at.set(ends_at)
        try:
            given = {"extensions": self._extensions, **more}
            with self._client.stream(method, url, timeout=_left(ends_at), **given) as answer:
                content = b"" if method == "HEAD" else _content(answer, most)
                return Answer(answer.status_code, answer.headers, content)
        finally:
            _ends_at.reset(token)

    def get(self, url: str, **more: Any) -> Answer:
        """See `request`."""
        return self.request("GET", url, **more)

    def post(self, url: str, **more: Any) -> Answer:
        """See `request`."""
        return self.request("POST", url, **more)

    def close(self) -> None:
        """End the connections."""
        self._client.close()


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that the server asks for (RFC 9110, 10.2.3), None where it does not say."""
    text = headers.get("retry-after", "").strip()
    if text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
    except (TypeError, ValueError):
        return None


def _pauses(count: int) -> list[float]:
    return [min(5.0, 0.2 * 2**number) for number in range(count)]


def _content(answer: httpx.Response, most: int) -> bytes:
    content = bytearray()
    for piece in answer.iter_bytes():
        content += piece
        if len(content) > most:
            raise TooLargeError(f"its answer has more than {most} bytes", request=answer.request)
    return bytes(content)


def _left(ends_at: float) -> float:
    return max(0.001, ends_at - monotonic())


@cache
def _usual_trust() -> ssl.SSLContext:
    """This machine's root certificates, read once: a fleet has hundreds of clients."""
    return httpx.create_ssl_context()


class _Transport(httpx.BaseTransport):
    """Direct, or through the proxy that the environment names for this address."""

    def __init__(self, verify: ssl.SSLContext | bool, *, proxies: bool) -> None:
        self._verify = verify
        self._named = getproxies() if proxies else {}
        self._made: dict[str | None, httpx.HTTPTransport] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it within the deadline of the caller."""
        scheme, host = request.url.scheme, request.url.host
        proxy = self._named.get(scheme) or self._named.get("all")
        if proxy and proxy_bypass(host):
            proxy = None
        if proxy and "://" not in proxy:
            proxy = f"http://{proxy}"
        with self._lock:
            if proxy not in self._made:
                self._made[proxy] = self._make(proxy)
        return self._made[proxy].handle_request(request)

    def _make(self, proxy: str | None) -> httpx.HTTPTransport:
        limits = httpx.Limits(max_connections=_AT_ONCE, keepalive_expiry=_KEPT)
        verify = _usual_trust() if self._verify is True else self._verify
        made = httpx.HTTPTransport(verify=verify, proxy=proxy, limits=limits)
        # httpx has no parameter for httpcore's network backend. If this attribute goes,
        # tests/contract/test_servers_that_never_end.py fails.
        made._pool._network_backend = _Backend()
        return made

    def close(self) -> None:
        """End the connections."""
        for one in self._made.values():
            one.close()


class _Stream(httpcore.NetworkStream):
    """A connection each of whose operations ends by the deadline of the request."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._inner.read(max_bytes, _remaining(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._inner.write(buffer, _remaining(httpcore.WriteTimeout))

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        left = _remaining(httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left))

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        problem: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in _addresses(host, port):
            left = _remaining(httpcore.ConnectTimeout)
            try:
                return _Stream(
                    super().connect_tcp(address, port, left, local_address, socket_options)
                )
            except httpcore.ConnectError as error:
                problem = error
        raise problem


def _addresses(host: str, port: int) -> list[str]:
    """All addresses of the host. The system's look-up has no deadline, so a thread does it."""
    found: list[str] = []
    problems: list[OSError] = []

    def look_up() -> None:
        try:
            for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                found.append(str(address[0]))
        except OSError as error:
            problems.append(error)

    thread = threading.Thread(target=look_up, name=f"looking up {host}", daemon=True)
    thread.start()
    thread.join(_remaining(httpcore.ConnectTimeout))
    if problems:
        raise httpcore.ConnectError(str(problems[0])) from problems[0]
    if thread.is_alive():
        raise httpcore.ConnectTimeout(f"{host} was not looked up in time")
    return list(dict.fromkeys(found))


def _remaining(late: type[Exception]) -> float:
    """Seconds until the request's deadline; raises `late` after it."""
    left = _ends_at.get() - monotonic()
    if left <= 0:
        raise late("the answer took too long")
    return left
