"""Raw samples from anything that speaks Prometheus' HTTP API (prometheus.io/docs, "HTTP API").

Range selectors (``selector[30s]``) in instant queries return the samples as they were scraped,
with their own timestamps, and never a stale marker. A native histogram's samples become counts up
to the selector's `le` (see `promql.native_bound`). What is not a complete answer is an error: a
warning may stand for partial data (Thanos), and a body cut short is no body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from math import ceil
from time import monotonic
from typing import Any

import httpx

from tarsrelease.adapters.http.client import Client
from tarsrelease.adapters.prometheus import access
from tarsrelease.adapters.prometheus.answers import Reader
from tarsrelease.adapters.prometheus.parts import conditions, parts, selected
from tarsrelease.model import promql
from tarsrelease.model.measurement import Series, cut
from tarsrelease.model.metrics_server import Prometheus

_INSTANT = "/api/v1/query"
_RANGE = "/api/v1/query_range"
_AT_ONCE = 8
_LARGEST = 64 * 2**20
"""Bytes of one answer: some two million samples."""


class PrometheusMetrics:
    """The port `Metrics`. Selectors are asked side by side over connections that are kept; one
    whose series another one has is not asked (see `parts`).

    Every call ends within the environment's `timeout`, even where the server dribbles. Raises
    UsageError for a query, a right or an address that is wrong, UnreachableError for all that
    may pass: refused, timed out, 429, 5xx, cut short, a warning, nothing but NaN.
    """

    def __init__(self, settings: Prometheus) -> None:
        """Read the variables that `settings` names (UsageError); sends no request."""
        self._url = settings.url.rstrip("/")
        self._parameters = settings.sent_parameters
        self._match = settings.match
        self._timeout = settings.timeout
        self._reader = Reader(settings, settings.timeout)
        self._client = Client(
            seconds=settings.timeout,
            largest=_LARGEST,
            headers=access.headers(settings),
            verify=access.verification(settings),
            proxies=not _is_loopback(settings.url),
            server_name=settings.tls.server_name if settings.tls is not None else None,
        )
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="metrics")
        self._apart: set[str] = set()
        """Selectors that are asked, because series lack the labels that tell them."""

    def series(self, selectors: Sequence[str], seconds: float) -> list[list[Series]]:
        """Per selector, the raw samples of the last `seconds` on the server's clock."""
        window = f"[{max(1, ceil(seconds))}s]"
        return self._each(selectors, lambda selector: {"query": self._asked(selector) + window})

    def between(self, selectors: Sequence[str], start: float, end: float) -> list[list[Series]]:
        """Per selector, the raw samples after `start` and up to `end`: an instant query at `end`.

        A range selector takes whole seconds in every store, so it reaches back a little further.
        """
        window = f"[{max(1, ceil(end - start))}s]"
        found = self._each(
            selectors,
            lambda selector: {"query": self._asked(selector) + window, "time": f"{end:.3f}"},
        )
        return [cut(each, start, end) for each in found]

    def server_time(self) -> float:
        """The server's current time (Unix time)."""
        answer = self._query({"query": "time()"}, monotonic() + self._timeout)
        return self._reader.scalar("time()", answer)

    def recorded(
        self, selectors: Sequence[str], start: float, end: float, step: float
    ) -> list[list[Series]]:
        """Per selector, each series' value at every `step` seconds from `start` to `end`.

        Range queries: at each of these moments the newest sample, up to five minutes old. A
        server bounds the number of moments (Prometheus: 11 000).
        """
        moments = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        return self._each(
            selectors, lambda selector: {"query": self._asked(selector), **moments}, _RANGE
        )

    def _each(
        self,
        selectors: Sequence[str],
        form: Callable[[str], Mapping[str, str]],
        path: str = _INSTANT,
    ) -> list[list[Series]]:
        """Per selector, its series; one whose series another one has is not asked."""
        deadline = monotonic() + self._timeout
        wholes = {
            part: whole
            for part, whole in parts(tuple(selectors)).items()
            if part not in self._apart and whole not in self._apart
        }
        asked = [each for each in selectors if each not in wholes]
        found = self._answers(asked, form, path, deadline)
        chosen = {
            part: selected(found[whole], conditions(part, whole)) for part, whole in wholes.items()
        }
        apart = [part for part, series in chosen.items() if series is None]
        self._apart.update(apart)
        found |= self._answers(apart, form, path, deadline)
        for part, series in chosen.items():
            if series is not None:
                found[part] = self._reader.with_numbers(part, series)
        return [found[selector] for selector in selectors]

    def _answers(
        self,
        selectors: Sequence[str],
        form: Callable[[str], Mapping[str, str]],
        path: str,
        deadline: float,
    ) -> dict[str, list[Series]]:
        """By selector, the series that the server returns."""
        answers = {
            each: self._pool.submit(self._query, form(each), deadline, path) for each in selectors
        }
        return {
            each: self._reader.matrix(each, answer.result(), promql.native_bound(each))
            for each, answer in answers.items()
        }

    def _asked(self, selector: str) -> str:
        if promql.native_bound(selector) is not None:
            selector = promql.without_matcher(selector, "le")
        return promql.with_matchers(selector, self._match) if self._match else selector

    def close(self) -> None:
        """Close connections and threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _query(
        self, asked: Mapping[str, str], deadline: float, path: str = _INSTANT
    ) -> Mapping[str, Any]:
        """The `data` of one query."""
        try:
            status, body = self._post(asked, deadline, path)
        except httpx.RequestError as error:
            raise self._reader.unreachable(asked["query"], _why(error)) from error
        return self._reader.data(asked["query"], status, body)

    def _post(self, asked: Mapping[str, str], deadline: float, path: str) -> tuple[int, bytes]:
        """Status and body. Once more on a kept connection that the server had closed meanwhile."""
        try:
            return self._post_once(asked, deadline, path)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            return self._post_once(asked, deadline, path)

    def _post_once(self, asked: Mapping[str, str], deadline: float, path: str) -> tuple[int, bytes]:
        form = {**self._parameters, **asked}
        answer = self._client.post(f"{self._url}{path}", data=form, deadline=deadline)
        return answer.status, answer.content


def _is_loopback(url: str) -> bool:
    """A proxy that the environment names is not asked for this machine's own servers."""
    host = httpx.URL(url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _why(error: httpx.RequestError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no complete answer in time"
    return f"{type(error).__name__}: {error}"
