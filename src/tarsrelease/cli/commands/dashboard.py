"""tarsrelease dashboard"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.options import SOME_TIME
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from collections.abc import Callable

    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome
    from tarsrelease.report.dashboard import Dashboard


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
    the recorded steps. The page changes nothing and loads nothing from elsewhere.
    """
    from tarsrelease.cli.session import Recording, carry_out

    host, port = _address(listen)

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.files.evidence_file import outcomes_in
        from tarsrelease.steps.dashboard import dashboard as step

        context, evidence = session.context, session.settings.evidence or Path("evidence")

        def read(before: Dashboard | None) -> Dashboard:
            recorded = outcomes_in(evidence) if evidence.is_dir() else []
            return step(context, recorded, before)

        if out is not None:
            return _frozen(session, read(None), out)
        return _served(session, read, (host, port), every)

    return carry_out(settings, "dashboard", act, changes=False, recording=Recording.WHEN_ASKED)


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(f"{listen!r} is not HOST:PORT", param_hint="--listen")
    return host.strip("[]"), int(port)


def _frozen(session: Session, found: Dashboard, out: Path) -> Outcome:
    from datetime import UTC, datetime

    from tarsrelease.report.dashboard import page

    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(session.redaction.text(page(found, datetime.now(UTC))), encoding="utf-8")
    return _outcome(session, f"{out} written")


def _served(
    session: Session,
    read: Callable[[Dashboard | None], Dashboard],
    address: tuple[str, int],
    every: float,
) -> Outcome:
    import threading
    from datetime import UTC, datetime
    from time import sleep

    from tarsrelease.adapters.http.page_server import PageServer
    from tarsrelease.report.dashboard import content, page

    found = read(None)

    def whole(nonce: str) -> str:
        return session.redaction.text(page(found, datetime.now(UTC), nonce=nonce))

    with PageServer(*address, whole) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        session.progress.say(f"{server.url} shows the release; Ctrl-C ends it")
        try:
            while True:
                server.publish(session.redaction.text(content(found)))
                sleep(every)
                found = read(found)
        finally:
            server.shutdown()


def _outcome(session: Session, said: str) -> Outcome:
    from datetime import UTC, datetime

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
    "target",
    "evidence:none",
    name="dashboard",
    example="tarsrelease dashboard --environment production\n"
    "tarsrelease dashboard --environment production --evidence ./evidence --out release.html",
)(_dashboard)
