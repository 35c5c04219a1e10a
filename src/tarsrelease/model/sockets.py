"""What `measure websocket` asks for, and what it finds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tarsrelease.model.base import Value

Cut = Literal["close", "drop", "idle"]
CUTS: tuple[Cut, ...] = ("close", "drop", "idle")
Ending = Literal["close", "drop", "idle", "server"]
"""How a connection ended: by an orderly close, by a network drop, while idle, or by the server."""


def parse_cuts(text: str) -> tuple[Cut, ...]:
    """The kinds of a list such as ``close,idle``. Raises ValueError."""
    wanted = [part.strip() for part in text.split(",")]
    unknown = [part for part in wanted if part not in CUTS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(CUTS)}")
    return tuple(cut for cut in CUTS if cut in wanted)


class SocketPlan(Value):
    """How long, with how many connections, and how often and how each of them is cut (seconds)."""

    seconds: float = Field(gt=0)
    connections: int = Field(ge=1, le=1000)
    every: float = Field(gt=0)
    idle: float = Field(gt=0)
    cuts: tuple[Cut, ...] = Field(default=CUTS, min_length=1)
    retries: int = 5


class Reconnects(Value):
    """Attempts to get a session back after one kind of ending."""

    attempts: int = 0
    successes: int = 0


class SocketReport(Value):
    """What was measured. Times are in seconds, the rates in percent; None: nothing to measure.

    A reconnect succeeds if one of its tries gets the same session back. A message is lost if it
    was not echoed, not even after it was sent again on the resumed session. `idle_survived` are
    idle times after which the connection still worked.
    """

    schema_: Literal["tarsrelease/websocket/v1"] = Field("tarsrelease/websocket/v1", alias="schema")
    release: str = ""
    environment: str = ""
    deployment: str = "all"
    start: str = ""
    duration_seconds: float = 0.0
    connections: int = 0
    opened: int = 0
    refused: int = 0
    reconnection_success_rate: float | None = None
    reconnects: dict[Ending, Reconnects] = {}
    reconnect_time_p50_s: float | None = None
    reconnect_time_p95_s: float | None = None
    reconnect_time_max_s: float | None = None
    websocket_uptime_pct: float | None = None
    messages_sent: int = 0
    messages_sent_again: int = 0
    messages_lost: int = 0
    message_loss_pct: float | None = None
    idle_survived: int = 0
    errors: dict[str, int] = {}
