"""tarsrelease run"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.adapters.terminal import ClosingProgress
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome
    from tarsrelease.ports import Person


@click.option("--plan", "plan_only", is_flag=True, help="Print every change it would make.")
@click.option("--stages", metavar="LIST", help="Only these stages, such as 1,10,100.")
def _run(settings: Settings, plan_only: bool, stages: str | None) -> int:
    """The whole day from here: verify, deploy, every stage, promote; rolled back if a gate says so.

    Where the pipeline would wait for an approval, the person at the terminal is asked; --yes
    gives every approval in advance, but lifts no hold.
    """
    from tarsrelease.cli.session import Recording, carry_out
    from tarsrelease.cli.weights import stage_weights

    def act(session: Session) -> Outcome:
        session.choose_stages(stage_weights(stages))
        return _plan(session) if plan_only else _day(session)

    recording = Recording.WHEN_ASKED if plan_only else Recording.BY_STEP
    return carry_out(settings, "run", act, changes=not plan_only, recording=recording)


run = command(
    "release",
    "environment",
    "evidence",
    "yes",
    name="run",
    example="tarsrelease run --release release/v1_0_1 --environment production --plan\n"
    "tarsrelease run --release release/v1_0_1 --environment staging --stages 10,100 --yes",
)(_run)


def _plan(session: Session) -> Outcome:
    from tarsrelease.steps.day import plan_day

    ports = session.ports
    return plan_day(
        session.release,
        session.environment,
        charts=ports.charts,
        workloads=ports.workloads,
        routes=ports.routes,
        journal=ports.journal,
        clock=ports.clock,
    )


def _day(session: Session) -> Outcome:
    from tarsrelease.cli.verifying import verified
    from tarsrelease.steps.day import run_day

    ports, folder = session.ports, session.release_folder
    return run_day(
        session.release,
        session.environment,
        session.run,
        verify=partial(verified, folder, clock=ports.clock),
        charts=ports.charts,
        workloads=ports.workloads,
        routes=ports.routes,
        metrics=ports.metrics,
        web=ports.web,
        journal=ports.journal,
        lock=ports.lock,
        clock=ports.clock,
        progress=session.progress,
        person=_person(session.settings, session.progress),
        evidence=session.evidence(),
    )


class _Pausing:
    """Asks with the live view taken away, so that the question can be read."""

    def __init__(self, person: Person, progress: ClosingProgress) -> None:
        self._person = person
        self._progress = progress

    @property
    def attended(self) -> bool:
        return self._person.attended

    def approves(self, question: str) -> bool:
        with self._progress.paused():
            return self._person.approves(question)


def _person(settings: Settings, progress: ClosingProgress) -> Person:
    """Who answers: an assumed yes, whoever sits at the terminal, or nobody."""
    from tarsrelease.adapters.person import AssumedYes, AtTerminal, Nobody

    if settings.yes:
        return AssumedYes()
    return _Pausing(AtTerminal(), progress) if sys.stdin.isatty() else Nobody()
