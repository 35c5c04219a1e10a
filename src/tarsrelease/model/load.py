"""A load test: what is requested, and what came of it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from tarsrelease.model.base import Value


class LoadTarget(NamedTuple):
    """A path that users request, with the Host header."""

    host: str
    path: str


class LoadPlan(NamedTuple):
    """`users` request the targets in turn for `seconds`, each with `pause` seconds in between."""

    users: int
    seconds: float
    pause: float
    targets: tuple[LoadTarget, ...]


class LoadReport(Value):
    """The counts of a load test. A request failed if it got no answer or a server error."""

    schema_: Literal["tarsrelease/load/v1"] = Field("tarsrelease/load/v1", alias="schema")
    tool: Literal["k6", "tarsrelease"]
    users: int
    duration_seconds: float
    requests: int
    failed: int
    latency_p95_ms: float | None
