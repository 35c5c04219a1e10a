"""tarsrelease dashboard"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from tarsrelease.cli.options import SOME_TIME
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from collections.abc import Callable

    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:8400",
    show_default=True,
    help="Address to serve the page at. Everybody who reaches it can read it.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the page as it is now to FILE instead of serving it.",
)
@click.option(
    "--every",
    type=SOME_TIME,
    metavar="DURATION",
    default="1s",
    show_default=True,
    help="How often to read the cluster.",
)
def _dashboard(settings: Settings, listen: str, out: Path | None, every: float) -> int:
    """Serve a read-only web page of the release in progress, until you interrupt it.

    It shows where the release is and what it waits for, the traffic on the canary over time, the
    last gate's checks, the steps, the journal and the messages. --evidence names the folder with
    the recorded steps. For an environment with targets, it shows where the release is at each of
    them, as a map and a table by wave, unless --target selects one. The page changes nothing and
    loads nothing from elsewhere.
    """
    from tarsrelease.cli.session import Recording, carry_out

    host, port = _address(listen)

    def act(session: Session) -> Outcome:
        view = _fleet(session) if session.environment.targets else _cluster(session)
        if out is not None:
            return _frozen(session, view, out)
        return _served(session, view, (host, port), every)

    return carry_out(settings, "dashboard", act, changes=False, recording=Recording.WHEN_ASKED)


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(f"{listen!r} is not HOST:PORT", param_hint="--listen")
    return host.strip("[]"), int(port)


class _View(NamedTuple):
    """`read` reads what is shown; then `page` is the whole page and `content` what changes."""

    read: Callable[[], None]
    page: Callable[[datetime, str | None], str]
    content: Callable[[], str]


def _cluster(session: Session) -> _View:
    from tarsrelease.report.dashboard import Dashboard, content, page
    from tarsrelease.steps.dashboard import dashboard as step

    found: list[Dashboard] = []

    def read() -> None:
        found[:] = [step(session.context, _recorded(session), found[0] if found else None)]

    return _View(read, lambda at, nonce: page(found[0], at, nonce=nonce), lambda: content(found[0]))


def _fleet(session: Session) -> _View:
    from tarsrelease.cli.fleet import reader
    from tarsrelease.report.fleet_page import FleetBoard, fleet_content, fleet_page

    release, environment, status = session.release, session.environment.name, reader(session)
    found: list[FleetBoard] = []

    def read() -> None:
        version = release.version
        own = (one for one in _recorded(session) if one.release in (None, version))
        board = FleetBoard(
            application=release.rollout.application,
            release=version,
            environment=environment,
            status=status(),
            recorded=tuple(own),
        )
        found[:] = [board]

    return _View(
        read,
        lambda at, nonce: fleet_page(found[0], at, nonce=nonce),
        lambda: fleet_content(found[0]),
    )


def _recorded(session: Session) -> list[Outcome]:
    from tarsrelease.adapters.files.evidence_file import outcomes_in

    evidence = session.evidence_folder
    return outcomes_in(evidence) if evidence.is_dir() else []


def _frozen(session: Session, view: _View, out: Path) -> Outcome:
    view.read()
    out.parent.mkdir(parents=True, exist_ok=True)
    text = session.redaction.text(view.page(datetime.now(UTC), None))
    out.write_text(text, encoding="utf-8")
    return _outcome(session, f"{out} written")


def _served(session: Session, view: _View, address: tuple[str, int], every: float) -> Outcome:
    import threading
    from time import sleep

    from tarsrelease.adapters.http.page_server import PageServer

    view.read()

    def whole(nonce: str) -> str:
        return session.redaction.text(view.page(datetime.now(UTC), nonce))

    with PageServer(*address, whole) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        session.progress.say(f"{server.url} shows the release; Ctrl-C ends it")
        try:
            while True:
                server.publish(session.redaction.text(view.content()))
                sleep(every)
                view.read()
        finally:
            server.shutdown()


def _outcome(session: Session, said: str) -> Outcome:
    from tarsrelease.model.outcome import Outcome, Verdict, exit_code_of

    now = datetime.now(UTC)
    return Outcome(
        step="dashboard",
        release=session.release.version,
        environment=session.environment.name,
        verdict=Verdict.PROCEED,
        exit_code=exit_code_of(Verdict.PROCEED),
        summary=said,
        started_at=now,
        finished_at=now,
    )


dashboard = command(
    "release:newest",
    "environment",
    "target:page",
    "evidence:none",
    name="dashboard",
    example="tarsrelease dashboard --environment production\n"
    "tarsrelease dashboard --environment production --evidence ./evidence --out release.html",
)(_dashboard)
