"""tarsrelease measure websocket"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.measuring import (
    BY_HEADER,
    OUTPUT,
    keep,
    measuring_command,
)
from tarsrelease.cli.options import SOME_TIME, Written
from tarsrelease.cli.settings import Settings
from tarsrelease.model.sockets import parse_cuts

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.option(
    "--duration",
    type=SOME_TIME,
    default="1m",
    show_default=True,
    metavar="DURATION",
    help="How long to keep connections open and cut them.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="Number of connections at the same time.",
)
@click.option(
    "--cut-every",
    type=SOME_TIME,
    default="5s",
    show_default=True,
    metavar="DURATION",
    help="How long each connection talks before it is cut.",
)
@click.option(
    "--idle",
    type=SOME_TIME,
    default="10s",
    show_default=True,
    metavar="DURATION",
    help="How long an idle connection is silent.",
)
@click.option(
    "--cuts",
    type=Written("cuts", parse_cuts),
    default="close,drop,idle",
    show_default=True,
    metavar="LIST",
    help="How to cut, in turn: an orderly close, a network drop, silence.",
)
@click.option("--url", metavar="URL", help="Address of the service. Default: the gateway's.")
@click.option("--path", default="/ws", show_default=True, help="Path of the WebSocket.")
@BY_HEADER
@OUTPUT
def _websocket(settings: Settings, **given: Any) -> int:
    """Open real WebSockets, cut them, and measure sessions, times and messages.

    Clients send numbered messages, come back to their session within five tries and send again what
    was not echoed. Connections that the server closes are counted, too. The exit code is 1 if fewer
    sessions come back than the target (objectives.targets.reconnection_success, 99.9 %) or a
    message is lost.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.websocket.probe import SocketProbe
        from tarsrelease.model.sockets import SocketPlan
        from tarsrelease.model.step_details import WebSocketDetails
        from tarsrelease.steps.measure_websocket import measure_websocket as step
        from tarsrelease.wiring.sockets import place

        plan = SocketPlan(
            seconds=given["duration"],
            connections=given["connections"],
            every=given["cut_every"],
            idle=given["idle"],
            cuts=given["cuts"],
        )
        assignment, whose = session.assignment, given["deployment"]
        where = place(assignment, given["url"], given["path"], canary=whose == "canary")
        outcome = step(assignment, SocketProbe(where), plan, deployment=whose)
        details = WebSocketDetails.of(outcome.details)
        keep(session, given["output"], details and details.websocket)
        return outcome

    return carry_out(settings, "measure websocket", act, changes=False)


websocket = measuring_command(
    name="websocket",
    example="tarsrelease measure websocket --environment production --duration 10m "
    "--output websocket_health_ga.json",
)(_websocket)
