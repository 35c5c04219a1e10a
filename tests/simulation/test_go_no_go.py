"""Go or no-go with votes, overrides and windows from the journal, on the simulated world."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from day_world import DayWorkloads, SimulatedCharts
from test_forms import Carries, of, stable_world, verified
from world import NEW, World, context, release, rollout

from tarsrelease.context import Context
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.journal import Entry, Phase, ValidateFacts
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.notice import Event, Notice
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.model.people import ActiveIncident, Answer, Vote
from tarsrelease.model.readiness import Criterion
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.step_details import GoNoGoDetails
from tarsrelease.model.window import FixedWindow
from tarsrelease.rollout.release_journal import VALIDATE
from tarsrelease.steps.check_go_no_go import NOBODY, OthersSay, go_no_go
from tarsrelease.steps.go_no_go_votes import cast, override, postpone

ADA = Lifting(by="Ada", reason="it is known and harmless")
ROLES = ("release-manager", "sre", "qa", "engineering")


def limited(**limits: Any) -> Rollout:
    """The simulated rollout with limits for stable, over four minutes."""
    sli = next(name for name, each in rollout().slis.items() if each.kind == "proportion")
    return rollout().model_copy(
        update={
            "criteria": {
                name: Criterion.model_validate({"sli": sli, "over": "4m", **limit})
                for name, limit in limits.items()
            }
        }
    )


def of_world(world: World, played: Rollout | None = None) -> Context:
    return context(
        world,
        release(played),
        charts=SimulatedCharts(world),
        workloads=DayWorkloads(world),
        facts=Carries(),
    )


def asked(ctx: Context, others: OthersSay = NOBODY, votes: Sequence[Vote] = ()) -> Outcome:
    return go_no_go(
        ctx,
        votes=votes,
        required=ROLES,
        window=240,
        recorded=(verified(),),
        staging=None,
        others=others,
    )


def decision(outcome: Outcome) -> str:
    details = GoNoGoDetails.of(outcome.details)
    assert details is not None
    return details.decision


def only_preflight_fails(outcome: Outcome) -> bool:
    """`up` is not simulated, so preflight cannot pass here."""
    bad = {c.id for c in outcome.checks if c.status in (Status.FAIL, Status.ERROR)}
    return bad == {"go_no_go.preflight"}


def tell_nobody(_notice: Notice) -> tuple[str, ...]:
    return ()


def overrides_preflight(ctx: Context) -> None:
    override(ctx, "preflight", ADA, tell_nobody)


def test_four_votes_in_the_journal_and_good_criteria_are_a_go() -> None:
    ctx = of_world(stable_world())
    overrides_preflight(ctx)
    for role in ROLES:
        assert asked(ctx).verdict is Verdict.NO_GO, f"{role} has not voted"
        cast(ctx, role, Answer.GO, "Ada", "")
    outcome = asked(ctx)
    assert only_preflight_fails(outcome), outcome.checks
    assert (outcome.verdict, decision(outcome)) == (Verdict.PROCEED, "GO")
    cast(ctx, "sre", Answer.NO_GO, "Bo", "a disk is full")
    refused = asked(ctx)
    assert (refused.verdict, decision(refused)) == (Verdict.NO_GO, "NO-GO")
    (sre,) = [c for c in of(refused, "go_no_go.vote") if c.service == "sre"]
    assert "no-go by Bo" in sre.reason
    assert "a disk is full" in sre.reason
    table = refused.details.table
    assert table is not None
    assert [row for row in table.rows if "vote of sre" in row[1].lower()]


def test_a_postponement_ends_the_round_and_its_window_wins() -> None:
    world = stable_world()
    ctx = of_world(world)
    overrides_preflight(ctx)
    for role in ROLES:
        cast(ctx, role, Answer.GO, "Ada", "")
    now = datetime.fromtimestamp(world.now, UTC)
    window = FixedWindow(starts=now + timedelta(days=1), ends=now + timedelta(days=1, hours=4))
    told: list[Notice] = []

    def announce(notice: Notice) -> tuple[str, ...]:
        told.append(notice)
        return ("slack: no answer",)

    assert list(postpone(ctx, window, ADA, announce)) == ["slack: no answer"]
    assert [(each.event, each.starts_at) for each in told] == [(Event.SCHEDULED, window.starts)]
    outcome = asked(ctx)
    assert outcome.verdict is Verdict.NO_GO, "the votes were for the earlier window"
    (when,) = of(outcome, "go_no_go.window")
    assert (when.status, when.expected) == (Status.PASS, str(window))
    with pytest.raises(UsageError, match="has passed"):
        postpone(ctx, FixedWindow(starts=now - timedelta(2), ends=now), ADA, announce)


def test_a_vote_to_postpone_is_exit_code_1_with_its_own_verdict() -> None:
    ctx = of_world(stable_world())
    cast(ctx, "qa", Answer.POSTPONE, "Cy", "the suite is not ready")
    outcome = asked(ctx)
    assert outcome.verdict is Verdict.POSTPONE
    assert int(outcome.exit_code) == 1


def test_an_override_is_announced_and_refused_for_what_protects_users() -> None:
    ctx = of_world(stable_world())
    told: list[Notice] = []

    def announce(notice: Notice) -> tuple[str, ...]:
        told.append(notice)
        return ()

    override(ctx, "preflight", ADA, announce)
    assert [(each.event, each.about) for each in told] == [(Event.OVERRIDDEN, "preflight")]
    assert "Ada" in told[0].reason
    for name in ("verified", "no-other-release", "vote", "unknown"):
        with pytest.raises(UsageError, match="overriding a criterion"):
            override(ctx, name, ADA, announce)
    with pytest.raises(UsageError, match="no role"):
        cast(ctx, "nobody", Answer.GO, "Ada", "")
    assert len(told) == 1


def criterion(outcome: Outcome, name: str) -> Check:
    return next(c for c in of(outcome, "go_no_go.criterion") if c.service == name)


def test_criteria_are_measured_over_their_own_period() -> None:
    limits = {"availability": {"at_least": "99.9%"}, "error-rate": {"below": "1%"}}
    good = asked(of_world(stable_world(), limited(**limits)))
    for name, value in (("availability", 1.0), ("error-rate", 0.0)):
        found = criterion(good, name)
        assert found.status is Status.PASS, found
        assert found.observed is not None
        assert found.observed.value == value
        assert (found.samples or 0) > 1000
    bad = asked(of_world(stable_world(error_share=0.05), limited(**limits)))
    for name in limits:
        found = criterion(bad, name)
        assert found.status is Status.FAIL, found
    share = criterion(bad, "error-rate").observed
    assert share is not None
    assert isinstance(share.value, float)
    assert 0.02 < share.value < 0.1


def test_a_criterion_that_nobody_can_measure_is_an_error() -> None:
    world = stable_world()
    world.metrics_state = "refused"
    ctx = of_world(world, limited(availability={"at_least": "99%"}))
    assert criterion(asked(ctx), "availability").status is Status.ERROR
    override(ctx, "availability", ADA, tell_nobody)
    assert criterion(asked(ctx), "availability").advisory


class Fire:
    def active(self) -> list[ActiveIncident]:
        return [ActiveIncident(title="checkout is down", status="triggered")]


class Calm:
    def active(self) -> list[ActiveIncident]:
        return []


class Away:
    def active(self) -> list[ActiveIncident]:
        raise UnreachableError(doing="a", found="refused", expected="b", next_step="c")


def test_an_active_incident_and_a_system_that_does_not_answer_stop_the_release() -> None:
    others = OthersSay(incidents={"PagerDuty": Fire(), "status page": Calm(), "other": Away()})
    found = {
        c.service: c.status
        for c in of(asked(of_world(stable_world()), others), "go_no_go.incidents")
    }
    assert found == {"PagerDuty": Status.FAIL, "status page": Status.PASS, "other": Status.ERROR}
    (none,) = of(asked(of_world(stable_world())), "go_no_go.incidents")
    assert none.status is Status.SKIPPED


def test_approvals_that_come_next_are_awaited_and_then_counted() -> None:
    ctx = of_world(stable_world())
    overrides_preflight(ctx)
    for role in ("qa", "engineering"):
        cast(ctx, role, Answer.GO, "Ada", "")
    later = {"release-manager": "production-release-manager", "sre": "production-sre"}
    waiting = asked(ctx, OthersSay(asked_later=later))
    assert (waiting.verdict, decision(waiting)) == (Verdict.PROCEED, "ASK")
    assert "production-sre" in waiting.summary
    assert decision(asked(ctx)) == "NO-GO", "nobody approves later without --approvals next"
    manager = Vote(role="release-manager", go=True, by="ada", source="approval")
    one = OthersSay(approvals=[manager])
    assert decision(asked(ctx, one)) == "NO-GO"
    both = OthersSay(approvals=[manager, manager.model_copy(update={"role": "sre", "by": "bo"})])
    assert decision(asked(ctx, both)) == "GO"


class StagingJournal:
    def __init__(self, *verdicts: str) -> None:
        self.given = verdicts

    def append(self, entry: Entry) -> None:
        raise AssertionError("staging is only read")

    def entries(self) -> list[Entry]:
        return [
            Entry(
                at=datetime(2026, 1, 1, number, tzinfo=UTC),
                run="s",
                release=NEW,
                step="validate",
                action=VALIDATE,
                phase=Phase.RESULT,
                facts=ValidateFacts(verdict=verdict, target="stable", tests=210),
            )
            for number, verdict in enumerate(self.given)
        ]


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        ((), Status.ERROR),
        (("proceed",), Status.PASS),
        (("proceed", "no-go"), Status.FAIL),
        (("no-go", "proceed"), Status.PASS),
    ],
)
def test_the_last_run_of_the_suite_in_staging_counts(
    verdicts: tuple[str, ...], status: Status
) -> None:
    others = OthersSay(staging_journal=StagingJournal(*verdicts))
    (suite,) = of(asked(of_world(stable_world()), others), "go_no_go.staging_suite")
    assert suite.status is status, suite
