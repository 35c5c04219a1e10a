"""Raw samples from anything that speaks Prometheus' HTTP API (prometheus.io/docs, "HTTP API").

Range selectors (``selector[30s]``) in instant queries return the samples as they were scraped,
with their own timestamps, and never a stale marker. What is not a complete answer is an error:
a warning may stand for partial data (Thanos), and a body cut short is no body.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from math import ceil, isfinite
from time import monotonic
from typing import Any

import httpx

from tarsrelease.model.environment import Prometheus
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.measurement import Sample, Series

_PATH = "/api/v1/query"
_AT_ONCE = 8
_EXCERPT = 300

_WRONG_QUERY = frozenset({400, 422})
_NO_RIGHT = frozenset({401, 403})


class PrometheusMetrics:
    """The port `Metrics`. Selectors are asked side by side over connections that are kept.

    Every call ends within the environment's `timeout`, even where the server dribbles. Raises
    UsageError for a query, a token or an address that is wrong, UnreachableError for all that
    may pass: refused, timed out, 429, 5xx, cut short, a warning, nothing but NaN.
    """

    def __init__(self, settings: Prometheus) -> None:
        """Reads the token from the variable that `token_env` names; contacts nobody."""
        self._url = settings.url.rstrip("/")
        self._timeout = settings.timeout
        self._token_env = settings.token_env
        self._client = httpx.Client(
            headers=_headers(settings),
            timeout=httpx.Timeout(settings.timeout),
            limits=httpx.Limits(max_connections=_AT_ONCE, keepalive_expiry=60.0),
            trust_env=not _is_loopback(settings.url),
        )
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="metrics")

    def series(self, selectors: Sequence[str], seconds: float) -> list[list[Series]]:
        """Per selector, the raw samples of the last `seconds` before the server's present."""
        window = f"[{max(1, ceil(seconds))}s]"
        deadline = monotonic() + self._timeout
        asked = [
            self._pool.submit(self._query, f"{selector}{window}", deadline)
            for selector in selectors
        ]
        return [
            _matrix(answer.result(), selector, self._url)
            for answer, selector in zip(asked, selectors, strict=True)
        ]

    def server_time(self) -> float:
        """The server's present (Unix time), as it evaluates queries."""
        answer = self._query("time()", monotonic() + self._timeout)
        if answer.get("resultType") != "scalar":
            raise self._unreachable("time()", f"a {answer.get('resultType')}, not a scalar")
        return float(answer["result"][1])

    def close(self) -> None:
        """Let go of connections and threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _query(self, query: str, deadline: float) -> Mapping[str, Any]:
        """The `data` of one instant query."""
        try:
            status, body = self._post(query, deadline)
        except httpx.TransportError as error:
            raise self._unreachable(query, _why(error)) from error
        if status != httpx.codes.OK:
            raise self._refusal(query, status, body)
        try:
            answer = json.loads(body)
        except ValueError as error:
            raise self._unreachable(
                query, f"an answer that is no JSON ({len(body)} bytes): {error}"
            ) from error
        return self._complete(query, answer)

    def _post(self, query: str, deadline: float) -> tuple[int, bytes]:
        """Status and body. Once more on a kept connection that the server had closed meanwhile."""
        try:
            return self._post_once(query, deadline)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            return self._post_once(query, deadline)

    def _post_once(self, query: str, deadline: float) -> tuple[int, bytes]:
        left = max(0.001, deadline - monotonic())
        with self._client.stream(
            "POST", f"{self._url}{_PATH}", data={"query": query}, timeout=left
        ) as response:
            chunks = []
            for chunk in response.iter_bytes():
                chunks.append(chunk)
                if monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer took too long")
            return response.status_code, b"".join(chunks)

    def _complete(self, query: str, answer: Any) -> Mapping[str, Any]:
        if not isinstance(answer, dict) or answer.get("status") != "success":
            found = answer.get("error") if isinstance(answer, dict) else answer
            raise self._unreachable(query, f"an answer without success: {str(found)[:_EXCERPT]}")
        if answer.get("warnings"):
            said = "; ".join(map(str, answer["warnings"]))[:_EXCERPT]
            raise self._unreachable(query, f"an answer with a warning, maybe in part: {said}")
        data = answer.get("data")
        if not isinstance(data, dict) or "result" not in data:
            raise self._unreachable(query, "an answer without data")
        return data

    def _refusal(self, query: str, status: int, body: bytes) -> UsageError | UnreachableError:
        said = _message(body)
        if status in _WRONG_QUERY:
            return UsageError(
                doing=f"asking {self._url} for {query}",
                found=f"the query is refused: {said}",
                expected="a selector that the metrics server understands",
                next_step="repair the sli's selector in rollout.yaml",
            )
        if status in _NO_RIGHT:
            token = f"the token in ${self._token_env}" if self._token_env else "a token (token_env)"
            return UsageError(
                doing=f"asking {self._url} for {query}",
                found=f"status {status}: {said}",
                expected=f"{token} that may read metrics",
                next_step="set prometheus.token_env in the environment's file to a variable that "
                "holds such a token",
            )
        if status >= 500 or status in (408, 425, 429):
            return self._unreachable(query, f"status {status}: {said}")
        return UsageError(
            doing=f"asking {self._url} for {query}",
            found=f"status {status}: {said}",
            expected="Prometheus' HTTP API below this address",
            next_step="repair prometheus.url in the environment's file",
        )

    def _unreachable(self, query: str, found: str) -> UnreachableError:
        return UnreachableError(
            doing=f"asking {self._url} for {query}",
            found=found,
            expected=f"a complete answer within {self._timeout:g} s",
            next_step="look whether the metrics server is up and can be reached from here "
            "(prometheus.url in the environment's file)",
        )


def _headers(settings: Prometheus) -> dict[str, str]:
    if settings.token_env is None:
        return {}
    token = os.environ.get(settings.token_env, "").strip()
    if not token:
        raise UsageError(
            doing=f"preparing to ask {settings.url}",
            found=f"the environment variable {settings.token_env} is not set",
            expected="the token that prometheus.token_env names",
            next_step=f"set {settings.token_env}, or take token_env out of the environment's file",
        )
    return {"Authorization": f"Bearer {token}"}


def _is_loopback(url: str) -> bool:
    """A proxy that the environment names is not asked for this machine's own servers."""
    host = httpx.URL(url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _why(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no complete answer in time"
    return f"{type(error).__name__}: {error}"


def _message(body: bytes) -> str:
    """What the server says: the API's `error`, else the beginning of its text."""
    text = body.decode(errors="replace").strip()
    try:
        parsed = json.loads(text)
    except ValueError:
        return text[:_EXCERPT] or "(no text)"
    said = parsed.get("error") if isinstance(parsed, dict) else None
    return str(said or text)[:_EXCERPT]


def _matrix(data: Mapping[str, Any], selector: str, url: str) -> list[Series]:
    """The series of a range selector; NaN and infinite values are left out."""

    def broken(found: str) -> UnreachableError:
        return UnreachableError(
            doing=f"asking {url} for {selector}",
            found=found,
            expected="raw samples",
            next_step="look at the metric in the metrics server's own console",
        )

    if data.get("resultType") != "matrix":
        raise broken(f"a {data.get('resultType')}")
    try:
        found = [
            Series(
                labels=each["metric"],
                samples=tuple(
                    Sample(float(time), number)
                    for time, value in each["values"]
                    if isfinite(number := float(value))
                ),
            )
            for each in data["result"]
            if "values" in each or "histograms" not in each
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise broken(f"an answer of another shape ({type(error).__name__}: {error})") from error
    if data["result"] and not any(each.samples for each in found):
        raise broken("series, but no number among their samples (NaN, infinite or histograms)")
    return found
