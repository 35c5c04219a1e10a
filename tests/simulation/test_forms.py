"""Go or no-go and the look after a promotion, on the simulated world."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from contexts import Missing
from day_world import DayWorkloads, SimulatedCharts
from world import NEW, OLD, SERVICES, Track, World, context, deployment, environment

from tarsrelease.model.cluster import NodeState
from tarsrelease.model.errors import UsageError
from tarsrelease.model.journal import Phase
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict, exit_code_of
from tarsrelease.model.rights import Right
from tarsrelease.rollout.release_journal import PROMOTE, ROLLBACK
from tarsrelease.steps.check_go_no_go import Vote, go_no_go, parse_vote
from tarsrelease.steps.watch import nothing_to_watch, promoted, watch

T = datetime(2026, 1, 1, tzinfo=UTC)


class Carries:
    """Ground that carries everything."""

    def nodes(self) -> list[NodeState]:
        return [NodeState(name="a", ready=True, schedulable=True)]

    def namespace(self) -> str:
        return "Active"

    def lacking(self, rights: object) -> list[object]:
        return []

    def served(self, group: str, version: str) -> list[str]:
        return ["Deployment"]


def verified(verdict: Verdict = Verdict.PROCEED, version: str = NEW) -> Outcome:
    return Outcome(
        step="verify",
        release=version,
        environment=None,
        verdict=verdict,
        exit_code=exit_code_of(verdict),
        summary="whole",
        started_at=T,
        finished_at=T,
    )


def stable_world(version: str = OLD, **faults: float) -> World:
    """Only stable, with all the traffic, for five minutes."""
    world = World(rate=60.0)
    for service in SERVICES:
        world.weights[service] = 0
        world.followed[service] = [(world.now, 0)]
        world.annotations[service] = {}
        world.set_replicas(deployment(service, Track.STABLE), 2, version)
    for pod in world.pods:
        for name, value in faults.items():
            setattr(pod, name, value)
    world.advance(300)
    return world


def asked(
    world: World,
    *votes: str,
    recorded: tuple[Outcome, ...] | None = None,
    need: tuple[str, ...] = (),
) -> Outcome:
    return go_no_go(
        context(
            world,
            charts=SimulatedCharts(world),
            workloads=DayWorkloads(world),
            facts=Carries(),
        ),
        votes=[parse_vote(vote) for vote in votes],
        required=need,
        window=240,
        recorded=(verified(),) if recorded is None else recorded,
        staging=None,
    )


def of(outcome: Outcome, check_id: str) -> list[Check]:
    return [check for check in outcome.checks if check.id == check_id]


def test_stable_within_limits_is_measured_service_by_service() -> None:
    outcome = asked(stable_world())
    checks = of(outcome, "go_no_go.stable")
    assert {check.service for check in checks} == set(SERVICES)
    assert {check.status for check in checks} == {Status.PASS}, checks
    assert of(outcome, "go_no_go.no_other_release")[0].status is Status.PASS
    assert of(outcome, "go_no_go.verified")[0].status is Status.PASS
    # `up` is not simulated, so that preflight cannot pass: what is not seen is never a pass.
    assert of(outcome, "go_no_go.preflight")[0].status is Status.FAIL
    assert outcome.verdict is Verdict.NO_GO


def test_what_deploy_would_refuse_is_found_before_the_database_is_touched() -> None:
    def deployable(world: World) -> dict[str, str]:
        found = asked(world).details.model_dump(mode="json")["preflight"]
        assert isinstance(found, list)
        return next(check for check in found if check["id"] == "preflight.deploy")

    world = stable_world()
    assert deployable(world)["status"] == "pass"
    for service in SERVICES:
        world.weights[service] = 10
        world.annotations[service] = {"release": "0.9.9"}
    refused = deployable(world)
    assert refused["status"] == "fail"
    assert "10 % of its traffic to the canary of 0.9.9" in refused["reason"]
    for service in SERVICES:
        world.annotations[service] = {"release": NEW}
    assert deployable(world)["status"] == "pass", "this very canary, in a job that is run again"


class ReadsOnly(Carries):
    def lacking(self, rights: Sequence[Right]) -> list[object]:
        return [right for right in rights if right.resource == "secrets"]


def test_with_credentials_that_only_read_helm_is_left_to_preflight() -> None:
    world = stable_world()
    outcome = go_no_go(
        context(world, charts=Missing(), workloads=DayWorkloads(world), facts=ReadsOnly()),
        votes=[],
        required=(),
        window=240,
        recorded=(verified(),),
        staging=None,
    )
    assert of(outcome, "go_no_go.no_other_release")[0].status is Status.PASS
    found = outcome.details.model_dump(mode="json")["preflight"]
    skipped = {check["id"] for check in found if check["status"] == "skipped"}
    assert {"preflight.rights", "preflight.helm_release", "preflight.deploy"} <= skipped


def test_stable_with_errors_is_a_no() -> None:
    checks = of(asked(stable_world(error_share=0.1)), "go_no_go.stable")
    assert Status.FAIL in {check.status for check in checks}


def test_a_metrics_server_that_is_away_is_an_error() -> None:
    world = stable_world()
    world.metrics_state = "refused"
    (check,) = of(asked(world), "go_no_go.stable")
    assert check.status is Status.ERROR


@pytest.mark.parametrize(
    ("recorded", "status"),
    [
        ((), Status.ERROR),
        ((verified(version="9.9.9"),), Status.ERROR),
        ((verified(), verified(Verdict.NO_GO)), Status.FAIL),
        ((verified(Verdict.NO_GO), verified()), Status.PASS),
    ],
)
def test_verify_is_read_from_the_evidence(recorded: tuple[Outcome, ...], status: Status) -> None:
    (check,) = of(asked(stable_world(), recorded=recorded), "go_no_go.verified")
    assert check.status is status


def test_another_run_that_holds_the_lock_is_in_the_way() -> None:
    world = stable_world()
    world.lock_holder = "another"
    (check,) = of(asked(world), "go_no_go.no_other_release")
    assert check.status is Status.FAIL
    assert "holds the lock" in check.reason


def test_votes() -> None:
    outcome = asked(
        stable_world(), "qa=go:Ada", "engineering=no-go:Bo", need=("qa", "engineering", "sre")
    )
    said = {check.service: (check.status, check.reason) for check in of(outcome, "go_no_go.vote")}
    assert said == {
        "qa": (Status.PASS, "go by Ada"),
        "engineering": (Status.FAIL, "no-go by Bo"),
        "sre": (Status.FAIL, "did not vote"),
    }
    assert parse_vote("qa=go") == Vote(role="qa", go=True)
    for wrong in ("qa", "qa=yes", "=go", "qa=GO"):
        with pytest.raises(ValueError, match="not a vote"):
            parse_vote(wrong)


def watched(world: World, window: float = 240) -> Outcome:
    return watch(context(world), window)


def test_a_promoted_release_that_does_well_proceeds() -> None:
    outcome = watched(stable_world(NEW))
    assert outcome.verdict is Verdict.PROCEED, outcome.checks


def test_a_promoted_release_with_errors_is_a_no_and_little_traffic_a_hold() -> None:
    assert watched(stable_world(NEW, error_share=0.1)).verdict is Verdict.NO_GO
    assert watched(stable_world(NEW), window=0.5).verdict is Verdict.HOLD


def test_requests_of_the_version_before_prove_nothing() -> None:
    outcome = watched(stable_world(OLD))
    assert outcome.verdict is Verdict.HOLD


def test_a_restart_since_the_promotion_is_a_no() -> None:
    world = stable_world(NEW)
    world.pods[0].restarts = 1
    assert watched(world).verdict is Verdict.NO_GO


def test_a_window_longer_than_raw_samples_are_read_for_is_refused() -> None:
    with pytest.raises(UsageError, match="window"):
        watched(stable_world(NEW), window=7200)


def test_the_release_to_watch_is_the_one_promoted_last() -> None:
    world = stable_world(NEW)
    with pytest.raises(UsageError, match="no promotion"):
        promoted(world.journal)
    world.journal += [world.entry(PROMOTE, Phase.INTENT)]
    with pytest.raises(UsageError, match="no promotion"):
        promoted(world.journal)
    world.journal += [world.entry(PROMOTE, Phase.RESULT)]
    assert promoted(world.journal) == NEW
    world.journal += [world.entry(ROLLBACK, Phase.INTENT)]
    with pytest.raises(UsageError, match="no promotion"):
        promoted(world.journal)


def test_a_scheduler_looks_only_at_a_young_release() -> None:
    world = stable_world(NEW)
    clock = context(world).clock

    def resting(seconds: float) -> Outcome | None:
        return nothing_to_watch(world.journal, environment(), seconds, clock=clock)

    never = resting(3600)
    assert never is not None
    assert never.summary.startswith("NOT CHECKED")
    world.journal += [world.entry(PROMOTE, Phase.RESULT)]
    assert resting(3600) is None
    clock.sleep(3601)
    old = resting(3600)
    assert old is not None
    assert old.release == NEW
    assert {check.status for check in old.checks} == {Status.SKIPPED}
