"""The rollback's plan: known cases, and laws that hold for anything that may be observed."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from tarsrelease.model.cluster import DeploymentState, Revision, Snapshot
from tarsrelease.model.measurement import Track
from tarsrelease.model.rollout import Rollout
from tarsrelease.rollout.release_journal import Pins
from tarsrelease.rollout.rollback_plan import (
    Action,
    RollbackPlan,
    canary_names,
    last_good,
    plan,
    serving_side,
    stable_names,
)

OLD, NEW = "1.0.0", "1.0.1"


def side(name: str) -> dict[str, str]:
    return {"deployment": name, "service": name}


ROLLOUT = Rollout.model_validate(
    {
        "schema": "tarsrelease/rollout/v1",
        "application": "app",
        "version": NEW,
        "chart": "app.tgz",
        "canary_values": "values.yaml",
        "services": [
            {
                "name": name,
                "port": 80,
                "stable": side(name),
                "canary": side(f"app-canary-{name}"),
                "route": name,
                "hosts": ["web"],
                "paths": [f"/{name}"],
                "smoke": [{"path": "/"}],
            }
            for name in ("front", "back")
        ],
        "workers": [{"name": "worker", "stable": "worker", "canary": "app-canary-worker"}],
        "slis": {"errors": {"kind": "proportion", "of": "a{}", "bad": "b{}"}},
        "stages": [
            {
                "weight": 100,
                "duration": "10s",
                "checks": [
                    {"kind": "proportion", "id": "canary.errors", "sli": "errors", "below": "1%"}
                ],
            }
        ],
    }
)
PINS = Pins(version=OLD, revision=1, replicas=dict.fromkeys(stable_names(ROLLOUT), 2), minimums={})
SERVICES = [(s.stable.deployment, s.canary.deployment) for s in ROLLOUT.services]


def state(
    name: str, version: str, *, ready: int = 2, replicas: int = 2, updated: int | None = None
) -> DeploymentState:
    return DeploymentState(
        name=name,
        replicas=replicas,
        ready=ready,
        updated=replicas if updated is None else updated,
        available=ready,
        settled=True,
        images=(),
        version=version,
    )


def revision(number: int, status: str, version: str) -> Revision:
    return Revision(number=number, status=status, chart=f"app-{version}", app_version=version)


def snapshot(
    deployments: list[DeploymentState],
    stable: list[Revision],
    canary: list[Revision] | None = None,
) -> Snapshot:
    return Snapshot(
        taken_at=datetime(2026, 1, 1, tzinfo=UTC),
        routes=(),
        deployments=tuple(deployments),
        pods=(),
        stable_history=tuple(stable),
        canary_history=tuple(canary or []),
    )


def stable(version: str, ready: int = 2) -> list[DeploymentState]:
    return [state(name, version, ready=ready) for name in stable_names(ROLLOUT)]


def canary(ready: int = 2, replicas: int = 2) -> list[DeploymentState]:
    return [state(name, NEW, ready=ready, replicas=replicas) for name in canary_names(ROLLOUT)]


def actions(made: RollbackPlan) -> list[tuple[Action, Track | None]]:
    return [(phase.action, phase.to) for phase in made.phases]


FIRST = [revision(1, "deployed", OLD)]


def test_before_promotion_helm_is_not_needed_for_stable() -> None:
    seen = snapshot(stable(OLD) + canary(1, 1), FIRST, [revision(1, "deployed", NEW)])
    made = plan(seen, ROLLOUT, PINS)
    assert made.version == OLD
    assert actions(made) == [
        (Action.TRAFFIC, Track.STABLE),
        (Action.STOP_WORKERS, None),
        (Action.RETIRE, None),
        (Action.REMOVE, None),
        (Action.PROVE, None),
    ]


def test_during_promotion_the_canary_serves_while_helm_restores_stable() -> None:
    mixed = [state("front", NEW, ready=1, updated=1), *stable(OLD)[1:]]
    history = [revision(1, "deployed", OLD), revision(2, "pending-upgrade", NEW)]
    made = plan(snapshot(mixed + canary(), history, [revision(1, "deployed", NEW)]), ROLLOUT, PINS)
    assert actions(made)[:4] == [
        (Action.TRAFFIC, Track.CANARY),
        (Action.RESTORE, None),
        (Action.TRAFFIC, Track.STABLE),
        (Action.STOP_WORKERS, None),
    ]
    assert made.phases[1].revision == 1


def test_after_promotion_stable_is_restored_in_place() -> None:
    history = [revision(1, "superseded", OLD), revision(2, "deployed", NEW)]
    made = plan(snapshot(stable(NEW), history), ROLLOUT, PINS)
    assert actions(made) == [
        (Action.TRAFFIC, Track.STABLE),
        (Action.RESTORE, None),
        (Action.RETIRE, None),
        (Action.PROVE, None),
    ]


def test_an_upgrade_that_helm_only_noted_is_undone_while_stable_serves() -> None:
    history = [revision(1, "deployed", OLD), revision(2, "pending-upgrade", NEW)]
    made = plan(snapshot(stable(OLD) + canary(), history), ROLLOUT, PINS)
    assert actions(made)[:2] == [(Action.TRAFFIC, Track.STABLE), (Action.RESTORE, None)]
    assert made.phases[1].revision == 1


def test_a_canary_that_cannot_carry_the_traffic_does_not_get_it() -> None:
    changed = [state(name, NEW, ready=2) for name in stable_names(ROLLOUT)]
    found = serving_side(ROLLOUT, changed + canary(ready=1), PINS)
    assert found.track is Track.STABLE
    assert "cannot serve" in found.reason


def test_a_stable_without_pods_waits_for_them_before_it_gets_the_traffic() -> None:
    made = plan(snapshot(stable(OLD, ready=0) + canary(), FIRST), ROLLOUT, PINS)
    assert actions(made)[:3] == [
        (Action.TRAFFIC, Track.CANARY),
        (Action.RESTORE, None),
        (Action.TRAFFIC, Track.STABLE),
    ]
    assert made.phases[1].revision is None


def test_pinned_minimums_are_given_back() -> None:
    pinned = PINS.model_copy(update={"minimums": {"front": 2}})
    made = plan(snapshot(stable(OLD), FIRST), ROLLOUT, pinned)
    assert Action.UNPIN in [phase.action for phase in made.phases]


def test_the_last_good_revision_is_by_status_and_never_current_minus_one() -> None:
    history = [
        revision(1, "superseded", "0.9.0"),
        revision(2, "superseded", OLD),
        revision(3, "failed", OLD),
        revision(4, "superseded", NEW),
        revision(5, "failed", NEW),
    ]
    good = last_good(history, NEW, None)
    assert good is not None
    assert good.number == 2
    pinned = PINS.model_copy(update={"revision": 1, "version": "0.9.0"})
    good = last_good(history, NEW, pinned)
    assert good is not None
    assert good.number == 2, "a hot fix that was installed during the release stays"
    assert last_good(history[3:], NEW, None) is None
    assert last_good([revision(1, "deployed", f"v{NEW}")], NEW, None) is None


def test_after_a_rollback_its_revision_stands_for_the_one_that_is_gone() -> None:
    history = [revision(2, "superseded", NEW), revision(3, "deployed", OLD)]
    good = last_good(history, NEW, PINS)
    assert good is not None
    assert good.number == 3


versions = st.sampled_from([OLD, NEW])
counts = st.integers(0, 3)


@st.composite
def observed(draw: st.DrawFn) -> Snapshot:
    deployments = [
        state(name, draw(versions), ready=draw(counts), replicas=2, updated=draw(counts))
        for name in stable_names(ROLLOUT)
        if draw(st.booleans()) or draw(st.booleans())
    ] + [
        state(name, NEW, ready=draw(counts), replicas=draw(counts), updated=draw(counts))
        for name in canary_names(ROLLOUT)
        if draw(st.booleans())
    ]
    statuses = st.sampled_from(["deployed", "superseded", "failed", "pending-upgrade"])
    history = [
        revision(number, draw(statuses), draw(versions))
        for number in range(1, draw(st.integers(0, 4)) + 1)
    ]
    has_canary = draw(st.booleans())
    return snapshot(deployments, history, [revision(1, "deployed", NEW)] if has_canary else [])


def least_ready(seen: Snapshot, names: list[str]) -> int:
    return min(
        (found.ready if (found := seen.deployment(name)) else 0 for name in names), default=0
    )


@settings(max_examples=300, deadline=None)
@given(observed(), st.sampled_from([None, PINS]))
def test_laws(seen: Snapshot, pinned: Pins | None) -> None:
    made = plan(seen, ROLLOUT, pinned)
    order = [phase.action for phase in made.phases]
    # Traffic goes first, and the proof comes last.
    assert order[0] is Action.TRAFFIC
    assert order[-1] is Action.PROVE
    # In the end stable has the traffic, and it has it before the canary leaves.
    moves = [number for number, action in enumerate(order) if action is Action.TRAFFIC]
    assert made.phases[moves[-1]].to is Track.STABLE
    assert moves[-1] < order.index(Action.RETIRE)
    if Action.REMOVE in order:
        assert order.index(Action.RETIRE) < order.index(Action.REMOVE)
    # A side without a ready pod in some service never gets it while the other has all.
    stables, canaries = [a for a, _ in SERVICES], [b for _, b in SERVICES]
    first = made.phases[0].to
    if first is Track.CANARY:
        assert least_ready(seen, canaries) > 0
    elif least_ready(seen, stables) == 0:
        assert least_ready(seen, canaries) == 0
    # The canary serves only while stable is being restored, and goes home after that.
    if first is Track.CANARY and Action.RESTORE in order:
        assert order.index(Action.RESTORE) < moves[-1]
    # A canary that is there is removed.
    there = bool(seen.canary_history) or any(seen.deployment(n) for n in canary_names(ROLLOUT))
    assert (Action.REMOVE in order) == there
    # Helm never goes back to the new version, nor to a revision that did not work.
    for phase in made.phases:
        if phase.revision is not None:
            target = next(r for r in seen.stable_history if r.number == phase.revision)
            assert target.app_version == OLD
            assert target.status in {"deployed", "superseded"}
    # People get a line for each phase.
    assert len(made.lines()) == len(made.phases)
