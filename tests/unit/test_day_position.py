"""Where the day is, told from the routes, Helm's histories and the journal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from test_rollback_plan import FIRST, NEW, ROLLOUT, canary, revision, snapshot, stable

from tarsrelease.model.cluster import RouteState, Snapshot
from tarsrelease.model.journal import Entry, LockHolder, Phase
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.position import position

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CANARY = [revision(1, "deployed", NEW)]


def entry(action: str, phase: Phase = Phase.RESULT, **facts: object) -> Entry:
    return Entry(at=NOW, run="r", release=NEW, step="s", action=action, phase=phase, facts=facts)


DEPLOYED = [entry("deploy", Phase.INTENT), entry("deploy", verdict="proceed")]
SHIFTED = [*DEPLOYED, entry("shift", Phase.INTENT, weight=100)]


def at(weight: int, seen: Snapshot, release: str = NEW) -> Snapshot:
    route = RouteState(
        service="front",
        weight=weight,
        stage=f"canary-{weight}",
        run="r",
        release=release,
        traffic_until=NOW + timedelta(minutes=1),
        accepted=True,
        problem=None,
        managers=(),
        written_at=NOW,
    )
    return seen.model_copy(update={"routes": (route,)})


WITH_CANARY = snapshot(stable("1.0.0") + canary(), FIRST, CANARY)
ALONE = snapshot(stable("1.0.0"), FIRST)


@pytest.mark.parametrize(
    ("seen", "entries", "place", "following"),
    [
        (ALONE, [], "idle", "canary deploy"),
        (ALONE, DEPLOYED[:1], "not deployed", "canary deploy"),
        (at(0, WITH_CANARY), DEPLOYED, "deployed", "gate --stage 100"),
        (at(100, WITH_CANARY), SHIFTED, "canary-100", "gate --stage 100"),
        (at(100, WITH_CANARY), [], "without a journal", "tarsrelease rollback"),
        (at(0, WITH_CANARY), [], "without a journal", "tarsrelease canary deploy"),
        (
            at(100, WITH_CANARY),
            [*SHIFTED, entry("gate", weight=100, verdict="hold")],
            "canary-100",
            "rollback",
        ),
        (
            at(100, WITH_CANARY),
            [*SHIFTED, entry("gate", weight=100, verdict="proceed")],
            "canary-100",
            "promote",
        ),
        (
            at(0, WITH_CANARY),
            [*SHIFTED, entry("protect", weight=100, reason="5 of 5 requests bad")],
            "protected",
            "--stage 100",
        ),
        (
            at(0, WITH_CANARY),
            [*SHIFTED, entry("gate", weight=100, verdict="rollback")],
            "rolling back",
            "rollback",
        ),
        (ALONE, [*DEPLOYED, entry("rollback")], "rolled back", "fix it"),
        (at(60, ALONE), [*DEPLOYED, entry("rollback")], "rolled back", "tarsrelease rollback"),
        (at(100, WITH_CANARY), [*SHIFTED, entry("promote", Phase.INTENT)], "promoting", "promote"),
        (
            snapshot(stable(NEW), FIRST),
            [*DEPLOYED, entry("promote", Phase.INTENT), entry("promote")],
            "promoted",
            "watch",
        ),
        (at(10, WITH_CANARY, release="0.9.0"), [], "another release", "status"),
    ],
)
def test_places(seen: Snapshot, entries: list[Entry], place: str, following: str) -> None:
    found = position(ROLLOUT, seen, entries, None)
    assert found.at == place
    assert following in found.next


def test_a_verdict_of_an_earlier_shift_does_not_count() -> None:
    entries = [
        *SHIFTED,
        entry("gate", weight=100, verdict="proceed"),
        entry("shift", Phase.INTENT, weight=100),
    ]
    assert "being evaluated" in position(ROLLOUT, at(100, WITH_CANARY), entries, None).says


def test_who_holds_the_lock_is_who_is_waited_for() -> None:
    holder = LockHolder(
        run="r7", owner="me@host", acquired_at=NOW, expires_at=NOW + timedelta(seconds=30)
    )
    found = position(ROLLOUT, at(100, WITH_CANARY), SHIFTED, holder)
    assert "r7 of me@host" in (found.waits_for or "")
    assert found.until == holder.expires_at
    assert position(ROLLOUT, at(100, WITH_CANARY), SHIFTED, None).until == NOW + timedelta(
        minutes=1
    )


def test_a_new_deployment_starts_afresh() -> None:
    before = [*DEPLOYED, entry("gate", weight=100, verdict="rollback"), entry("rollback")]
    assert release_journal.rolled_back(before, NEW)
    assert not release_journal.rolled_back([*before, *DEPLOYED], NEW)
    assert not release_journal.rolled_back(before, "1.0.2")
    passed = [*DEPLOYED, entry("gate", weight=100, verdict="proceed")]
    assert release_journal.passed(passed, NEW, 100)
    assert not release_journal.passed([*passed, *DEPLOYED], NEW, 100)
    assert not release_journal.passed(
        [*passed, entry("gate", weight=100, verdict="hold")], NEW, 100
    )


def test_pins_are_those_of_this_attempt() -> None:
    facts = {"version": "1.0.0", "revision": 3, "replicas": {"a": 2}, "minimums": {"h": 1}}
    found = release_journal.pins([entry("deploy", Phase.INTENT, **facts)], NEW)
    assert found is not None
    assert (found.revision, found.replicas, found.minimums) == (3, {"a": 2}, {"h": 1})
    assert release_journal.pins(DEPLOYED, NEW) is None
