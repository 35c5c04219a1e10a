"""Parse answers of Prometheus' HTTP API: complete, without warnings, with numeric samples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf, isfinite
from typing import Any

from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.format import duration
from tarsrelease.model.measurement import Sample, Series
from tarsrelease.model.metrics_server import Prometheus

_EXCERPT = 300
_NO_NUMBER = "series, but no number among their samples (NaN, infinite or histograms)"

_NO_RIGHT = frozenset({401, 403})
_EXECUTION_MAY_PASS = frozenset({"thanos", "victoriametrics"})
"""Back ends that answer 422 also if a store is down, not only if the query is wrong."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the answers of one server; raises an error unless an answer is complete.

    UsageError for a wrong query, right or address, UnreachableError for temporary errors.
    """

    settings: Prometheus
    within: float

    def data(self, query: str, status: int, body: bytes) -> Mapping[str, Any]:
        """The `data` of an answer."""
        if status != 200:
            raise self._refusal(query, status, body)
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise self.unreachable(
                query, f"an answer that is not JSON ({len(body)} bytes): {error}"
            ) from error
        if not isinstance(answer, dict) or answer.get("status") != "success":
            found = answer.get("error") if isinstance(answer, dict) else answer
            raise self.unreachable(query, f"an answer without success: {str(found)[:_EXCERPT]}")
        if answer.get("warnings"):
            warnings = answer["warnings"]
            listed = warnings if isinstance(warnings, list) else [warnings]
            said = "; ".join(map(str, listed))[:_EXCERPT]
            raise self.unreachable(query, f"an answer with a warning, maybe incomplete: {said}")
        if answer.get("isPartial"):  # VictoriaMetrics' word for it
            raise self.unreachable(query, "an incomplete answer: a store did not answer")
        data = answer.get("data")
        if not isinstance(data, dict) or "result" not in data:
            raise self.unreachable(query, "an answer without data")
        return data

    def scalar(self, query: str, data: Mapping[str, Any]) -> float:
        """The value of a scalar."""
        if data.get("resultType") != "scalar":
            raise self.unreachable(query, f"a {data.get('resultType')}, not a scalar")
        try:
            return float(data["result"][1])
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            found = f"an answer of another shape ({type(error).__name__}: {error})"
            raise self.unreachable(query, found) from error

    def matrix(
        self, query: str, data: Mapping[str, Any], bound: float | None = None
    ) -> list[Series]:
        """The series of a matrix; NaN and infinite values are left out.

        With `bound`, those of native histograms: how many observations were at most that.
        """

        if data.get("resultType") != "matrix":
            raise self._broken(query, f"a {data.get('resultType')}")
        try:
            found = [
                Series(
                    labels={name: str(value) for name, value in each["metric"].items()},
                    samples=_samples(each["values"])
                    if bound is None
                    else _counted(each["histograms"], bound),
                )
                for each in data["result"]
                if ("values" if bound is None else "histograms") in each
                or not {"values", "histograms"} & each.keys()
            ]
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            shape = f"an answer of another shape ({type(error).__name__}: {error})"
            raise self._broken(query, shape) from error
        if data["result"] and not found:
            raise self._broken(query, _NO_NUMBER)
        return self.with_numbers(query, found)

    def with_numbers(self, query: str, found: list[Series]) -> list[Series]:
        """The series; raises UnreachableError if there are some, but no sample among them."""
        if found and not any(each.samples for each in found):
            raise self._broken(query, _NO_NUMBER)
        return found

    def _broken(self, query: str, found: str) -> UnreachableError:
        return UnreachableError(
            doing=f"asking {self.settings.url} for {query}",
            found=found,
            expected="raw samples",
            next_step="run the query in the metrics server's console",
        )

    def unreachable(self, query: str, found: str) -> UnreachableError:
        """The UnreachableError for `query`: no complete answer now."""
        return UnreachableError(
            doing=f"asking {self.settings.url} for {query}",
            found=found,
            expected=f"a complete answer within {duration(self.within)}",
            next_step="check that the metrics server is up and that this machine can reach it "
            "(prometheus.url in the environment file)",
        )

    def _refusal(self, query: str, status: int, body: bytes) -> UsageError | UnreachableError:
        said = _message(body)
        doing = f"asking {self.settings.url} for {query}"
        if status == 422 and self.settings.backend in _EXECUTION_MAY_PASS:
            return self.unreachable(query, f"the query failed: {said}")
        if status in (400, 422):
            return UsageError(
                doing=doing,
                found=f"the metrics server refused the query: {said}",
                expected="a selector that the metrics server accepts",
                next_step="correct the sli's selector in rollout.yaml",
            )
        if status in _NO_RIGHT:
            return UsageError(
                doing=doing,
                found=f"status {status}: {said}",
                expected=f"{self._who()} that may read metrics",
                next_step="set prometheus.token_env or prometheus.basic in the environment file "
                "to variables with such credentials",
            )
        if status >= 500 or status in (408, 425, 429):
            return self.unreachable(query, f"status {status}: {said}")
        return UsageError(
            doing=doing,
            found=f"status {status}: {said}",
            expected="Prometheus' HTTP API below this address",
            next_step="correct prometheus.url in the environment file",
        )

    def _who(self) -> str:
        if self.settings.token_env:
            return f"the token in ${self.settings.token_env}"
        if self.settings.basic:
            return f"the user in ${self.settings.basic.username_env}"
        return "a token (token_env) or a user (basic)"


_sample = partial(tuple.__new__, Sample)
"""Sample without the overhead of its constructor: an answer may have a million of them."""


def _samples(values: Sequence[tuple[float, str]]) -> tuple[Sample, ...]:
    if not values:
        return ()
    times, texts = zip(*values, strict=True)
    numbers = tuple(map(float, texts))
    samples = map(_sample, zip(map(float, times), numbers, strict=True))
    if isfinite(sum(numbers)):
        return tuple(samples)
    return tuple(sample for sample in samples if isfinite(sample.value))


def _counted(
    histograms: Sequence[tuple[float, Mapping[str, Any]]], bound: float
) -> tuple[Sample, ...]:
    """How many observations of a native histogram were at most `bound`, at each time.

    A bucket that contains the bound counts whole: requests that were a little slower are not
    called slow. The API lists a bucket as ``[rule, lower, upper, count]``, without empty ones.
    """
    found = []
    for time, histogram in histograms:
        if bound == inf:
            number = float(histogram["count"])
        else:
            number = sum(
                float(count)
                for _, lower, _, count in histogram.get("buckets", ())
                if float(lower) < bound
            )
        if isfinite(number):
            found.append(Sample(float(time), number))
    return tuple(found)


def _message(body: bytes) -> str:
    """The server's message: the API's `error`, else the beginning of its text."""
    text = body.decode(errors="replace").strip()
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return text[:_EXCERPT] or "(no text)"
    said = parsed.get("error") if isinstance(parsed, dict) else None
    return str(said or text)[:_EXCERPT]
