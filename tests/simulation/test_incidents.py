"""An incident is recorded with its deadline, told once, shown by status, and closed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from day_world import DayWorld, Unattended

from tarsrelease.model.errors import RefusedError
from tarsrelease.model.incident import Report, Symptoms
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.notice import Event, Notice
from tarsrelease.model.outcome import Status, Verdict
from tarsrelease.steps.incident_classify import incident_classify
from tarsrelease.steps.incident_close import incident_close
from tarsrelease.steps.incident_open import incident_open
from tarsrelease.steps.status import status


class Posted:
    """An outbox that keeps the notices."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def post(self, notice: Notice) -> None:
        self.notices.append(notice)


ALICE = Lifting(by="alice", reason="checkout fails")
SLOW = Symptoms(availability=0.9999, error_rate=0.0, degradation=0.8)


def test_its_deadline_stands_in_status_until_it_is_closed() -> None:
    day = DayWorld()
    outbox = Posted()
    context = day.context()
    context = replace(context, people=replace(context.people, outbox=outbox))
    outcome = incident_open(context, SLOW, ALICE)
    assert outcome.verdict is Verdict.HOLD
    told = outbox.notices
    assert [(each.event, each.about) for each in told] == [(Event.INCIDENT, "P1")]
    assert told[0].reason.startswith("checkout fails; P1: prepare the rollback and investigate")
    (line,) = status(day.context()).details.lines
    assert "P1, prepare the rollback and investigate (alice: checkout fails); deadline" in line
    day.world.now += 901
    (line,) = status(day.context()).details.lines
    assert "the deadline has passed: roll back" in line
    assert incident_close(day.context(), ALICE).verdict is Verdict.PROCEED
    assert status(day.context()).details.lines == ()
    with pytest.raises(RefusedError, match="no open incident"):
        incident_close(day.context(), ALICE)


def test_a_proven_symptom_fails_and_is_not_inconclusive() -> None:
    mild = Symptoms(availability=1.0, error_rate=0.012)
    outcome = incident_classify(DayWorld().context(), mild, reached=0)
    assert outcome.verdict is Verdict.PROCEED
    assert {check.id: check.status for check in outcome.checks} == {
        "incident.availability": Status.PASS,
        "incident.error_rate": Status.FAIL,
        "incident.degradation": Status.SKIPPED,
    }


def test_p0_says_to_roll_back_and_moves_nothing_itself() -> None:
    day = DayWorld()
    before = dict(day.world.weights)
    corrupt = Symptoms(reported=frozenset({Report.DATA_CORRUPTION}))
    outcome = incident_open(day.context(), corrupt, ALICE)
    assert outcome.verdict is Verdict.ROLLBACK
    assert outcome.next == "tarsrelease rollback"
    assert day.world.weights == before
    assert [entry.action for entry in day.world.journal] == ["incident"]


def test_people_are_told_although_the_journal_cannot_be_written() -> None:
    day = DayWorld()
    day.world.kubernetes_up = False
    outbox = Posted()
    context = day.context()
    context = replace(context, people=replace(context.people, outbox=outbox))
    outcome = incident_open(context, SLOW, ALICE)
    told = outbox.notices
    assert [each.about for each in told] == ["P1"]
    assert "not recorded" in told[0].reason
    assert "not recorded" in outcome.summary
    assert outcome.details.warnings[0].startswith("the journal cannot be written: ")
    assert outcome.verdict is Verdict.HOLD


def test_every_gate_warns_of_an_open_incident_and_its_deadline() -> None:
    day = DayWorld()
    incident_open(day.context(), SLOW, ALICE)
    day.world.now += 901
    day.play(Unattended())
    gates = [each for each in day.evidence.outcomes if each.step == "gate"]
    assert gates
    for each in gates:
        assert "the deadline has passed: roll back" in each.details.warnings[0]
