"""Facts about the ground, and what preflight makes of them."""

from __future__ import annotations

import pytest

from tarsrelease.model.cluster import NodeState, PodState, Revision, RouteState
from tarsrelease.model.measurement import Sample, Series, Track
from tarsrelease.model.outcome import Status
from tarsrelease.readiness import preflight


def node(
    name: str = "a", *, ready: bool = True, takes: bool = True, pressure: str = ""
) -> NodeState:
    return NodeState(
        name=name, ready=ready, schedulable=takes, pressures=(pressure,) if pressure else ()
    )


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        ([node(), node("b")], Status.PASS, "2 of 2 nodes ready"),
        ([node(), node("b", takes=False)], Status.PASS, "cordoned: b"),
        ([node(takes=False)], Status.FAIL, "no node accepts pods"),
        ([node(), node("b", ready=False)], Status.FAIL, "b is not ready"),
        ([node(pressure="DiskPressure")], Status.FAIL, "DiskPressure"),
        ([], Status.FAIL, "there is no node"),
        (None, Status.SKIPPED, "ClusterRole"),
    ],
)
def test_nodes(found: list[NodeState] | None, status: Status, said: str) -> None:
    check = preflight.nodes(found)
    assert check.status is status
    assert said in check.reason


def revision(version: str, status: str = "deployed") -> Revision:
    return Revision(number=3, status=status, chart="tars", app_version=version)


@pytest.mark.parametrize(
    ("history", "running", "too_old", "status"),
    [
        ([revision("1.0.0")], None, False, Status.PASS),
        ([revision("v1.0.0")], "1.0.0", False, Status.PASS),
        ([revision("1.0.0")], "0.9.0", False, Status.FAIL),
        ([revision("1.0.1")], None, False, Status.FAIL),
        ([revision("0.9.0")], None, True, Status.FAIL),
        ([revision("1.0.0", "pending-upgrade")], None, False, Status.FAIL),
        ([revision("1.0.0"), revision("1.0.0", "failed")], None, False, Status.FAIL),
        ([], None, False, Status.FAIL),
    ],
)
def test_the_helm_release(
    history: list[Revision], running: str | None, too_old: bool, status: Status
) -> None:
    check = preflight.helm_release("tars", history, new="1.0.1", running=running, too_old=too_old)
    assert check.status is status


def route(*managers: str, accepted: bool = True) -> RouteState:
    return RouteState(
        service="web",
        weight=0,
        stage=None,
        run=None,
        release=None,
        traffic_until=None,
        accepted=accepted,
        problem=None if accepted else "no such Service",
        managers=managers,
    )


def test_who_owns_a_route() -> None:
    assert preflight.route_owner("web", "tars-web", None).status is Status.PASS
    assert preflight.route_owner("web", "tars-web", route("kubectl")).status is Status.PASS
    owned = preflight.route_owner("web", "tars-web", route("helm"))
    assert owned.status is Status.FAIL
    assert "tarsrelease route adopt" in owned.reason
    lost = preflight.route_owner("web", "tars-web", route(accepted=False))
    assert lost.status is Status.FAIL
    assert "no such Service" in lost.reason


def pod(name: str, owner: str = "tars-web", *, ready: bool = True) -> PodState:
    return PodState(
        name=name,
        owner=owner,
        track=Track.STABLE,
        version="1.0.0",
        ready=ready,
        terminating=False,
        phase="Running",
        started_at=None,
        containers=(),
    )


def up(name: str, *values: float) -> Series:
    samples = tuple(Sample(float(at), value) for at, value in enumerate(values))
    return Series(labels={"pod": name}, samples=samples)


@pytest.mark.parametrize(
    ("series", "status", "said"),
    [
        ([up("a", 0, 1), up("b", 1)], Status.PASS, "2 of 2 stable pods up"),
        ([up("a", 1), up("b", 1, 0)], Status.FAIL, "scraping failed: b"),
        ([up("a", 1)], Status.FAIL, "not scraped at all: b"),
        ([up("a", 1), up("b")], Status.FAIL, "not scraped at all: b"),
        ([], Status.FAIL, "not scraped at all"),
    ],
)
def test_every_ready_pod_must_be_scraped(series: list[Series], status: Status, said: str) -> None:
    pods = [pod("a"), pod("b"), pod("c", ready=False)]
    (check,) = preflight.targets(
        Track.STABLE, {"web": "tars-web"}, pods, series, pod_label="pod", source="up"
    )
    assert check.status is status
    assert said in check.reason


def test_no_pod_at_all_fails_stable_and_is_not_checked_for_a_canary_to_come() -> None:
    for track, status in ((Track.STABLE, Status.FAIL), (Track.CANARY, Status.SKIPPED)):
        (check,) = preflight.targets(
            track, {"web": "tars-web"}, [], [up("a", 1)], pod_label="pod", source="up"
        )
        assert check.status is status


def test_a_namespace_that_may_not_be_read_is_proven_by_what_is_in_it() -> None:
    assert preflight.namespace("x", "Active", forbidden=False, seen_in_it=0).status is Status.PASS
    assert preflight.namespace("x", None, forbidden=False, seen_in_it=0).status is Status.FAIL
    gone = preflight.namespace("x", "Terminating", forbidden=False, seen_in_it=0)
    assert gone.status is Status.FAIL
    assert preflight.namespace("x", None, forbidden=True, seen_in_it=2).status is Status.PASS
    assert preflight.namespace("x", None, forbidden=True, seen_in_it=0).status is Status.ERROR


WANTED = {"featureFlags": {"cache": True, "depth": 3}, "mode": "new"}


@pytest.mark.parametrize(
    ("there", "status", "said"),
    [
        (WANTED | {"replicas": 1}, Status.PASS, "3 of 3 flags as in staging"),
        (
            {"featureFlags": {"cache": False, "depth": 3}, "mode": "new"},
            Status.FAIL,
            "featureFlags.cache is false there, true here",
        ),
        ({"featureFlags": {"cache": True}, "mode": "new"}, Status.FAIL, "depth is not set there"),
        ({"featureFlags": True, "mode": "old"}, Status.FAIL, "mode is old there"),
        ({}, Status.FAIL, "mode is not set there"),
    ],
)
def test_feature_flags_are_those_of_staging(
    there: dict[str, object], status: Status, said: str
) -> None:
    check = preflight.feature_flags(WANTED, there, where="staging")
    assert check.status is status
    assert said in check.reason
