"""check readiness on the simulated world: measured, recorded, confirmed, and follow-ups."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from test_forms import stable_world, verified
from test_go_no_go import StagingJournal, of_world
from world import NEW, World

from tarsrelease.context import Context
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.journal import Entry, Facts, GateFacts, Phase
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict, exit_code_of
from tarsrelease.model.people import ActiveIncident, AlertRule, OnCall
from tarsrelease.model.readiness import Part
from tarsrelease.model.window import FixedWindow
from tarsrelease.operations.readiness_checks import Outside
from tarsrelease.rollout.release_journal import DEPLOY, GATE, PROMOTE
from tarsrelease.steps.check_readiness import check_readiness, follow_up, tick

GRAFANA, JAEGER = "https://grafana.example/d/shop", "https://jaeger.example"


class Web:
    def __init__(self, **statuses: int) -> None:
        self.statuses = statuses

    def status(self, url: str) -> int:
        if url == JAEGER and "jaeger" not in self.statuses:
            raise UnreachableError(doing="GET", found="refused", expected="200", next_step="wait")
        return self.statuses.get("jaeger" if url == JAEGER else "grafana", 200)


class Rules:
    def __init__(self, *rules: AlertRule) -> None:
        self.rules = rules

    def alert_rules(self) -> Sequence[AlertRule]:
        return self.rules


class Duty:
    def __init__(self, *levels: int) -> None:
        self.levels = levels
        self.asked: list[datetime] = []

    def on_call(self, at: datetime) -> Sequence[OnCall]:
        self.asked.append(at)
        return [OnCall(person=f"P{n}", policy="Shop", level=n) for n in self.levels]


class Page:
    def __init__(self, maintenance: ActiveIncident | None) -> None:
        self.found = maintenance

    def maintenance(self) -> ActiveIncident | None:
        return self.found


def linked(world: World) -> Context:
    ctx = of_world(world)
    start = datetime.fromtimestamp(world.now, UTC) + timedelta(days=1)
    links = (
        {"name": "Overview", "url": GRAFANA, "kind": "dashboards"},
        {"name": "Traces", "url": JAEGER, "kind": "tracing"},
    )
    readiness = ctx.rollout.readiness.model_validate({"links": links})
    window = FixedWindow(starts=start, ends=start + timedelta(hours=4))
    played = ctx.rollout.model_copy(update={"readiness": readiness, "window": window})
    return ctx.with_release(ctx.release.model_copy(update={"rollout": played}))


def ready(
    ctx: Context, part: Part = "before", recorded: Sequence[Outcome] = (), **outside: Any
) -> Outcome:
    return check_readiness(ctx, part, Outside(**{"pages": Web(), **outside}), recorded)


def items(outcome: Outcome) -> dict[str, Check]:
    return {check.service or "": check for check in outcome.checks}


def test_what_a_machine_can_check_is_measured() -> None:
    ctx = linked(stable_world())
    duty = Duty(1, 2)
    outcome = ready(
        ctx,
        recorded=[verified()],
        alert_rules=Rules(AlertRule(name="HighErrors"), AlertRule(name="Slow")),
        schedules=duty,
        status_page=Page(ActiveIncident(title="Release of tars 1.0.1", status="scheduled")),
        pages=Web(jaeger=200),
    )
    found = items(outcome)
    for item in (
        *("artifacts-verified", "dashboards-answer", "tracing-answers", "alert-rules-answer"),
        *("on-call-confirmed", "status-page-prepared", "migrations-proven", "flags-equal"),
    ):
        assert found[item].status is Status.PASS, found[item]
    assert found["support-briefed"].status is Status.FAIL, "nobody has confirmed it"
    assert outcome.verdict is Verdict.NO_GO
    window = ctx.rollout.window
    assert isinstance(window, FixedWindow)
    assert duty.asked == [window.starts], "who is on call when the release begins"
    assert "level 1: P1 (Shop)" in "\n".join(outcome.details.lines)


def test_what_fails_is_named_and_a_tick_does_not_change_it() -> None:
    ctx = linked(stable_world())
    for item in ("dashboards-answer", "tracing-answers", "alert-rules-answer"):
        tick(ctx, item, "Ada", "I looked")
    found = items(
        ready(
            ctx,
            alert_rules=Rules(AlertRule(name="Slow", problem="no such metric")),
            schedules=Duty(2),
            status_page=Page(None),
            pages=Web(grafana=302),
        )
    )
    assert found["dashboards-answer"].reason == "Overview: status 302"
    assert "refused" in found["tracing-answers"].reason
    assert "no such metric" in found["alert-rules-answer"].reason
    assert "nobody at level 1" in found["on-call-confirmed"].reason
    assert "notify send" in found["status-page-prepared"].reason
    for item in ("dashboards-answer", "tracing-answers", "alert-rules-answer", "on-call-confirmed"):
        assert found[item].status is Status.FAIL, found[item]
    assert items(ready(ctx, alert_rules=Rules()))["alert-rules-answer"].status is Status.FAIL


def test_without_a_system_to_ask_a_person_confirms_with_name_and_time() -> None:
    ctx = linked(stable_world())
    before = items(ready(ctx))["on-call-confirmed"]
    assert before.status is Status.FAIL
    assert "no token_env" in before.reason
    tick(ctx, "on-call-confirmed", "Ada", "Bo is on call")
    tick(ctx, "support-briefed", "Cy", "")
    outcome = ready(ctx)
    after = items(outcome)["on-call-confirmed"]
    assert after.status is Status.PASS
    assert after.reason.startswith("confirmed by Ada, ")
    assert "Bo is on call" in after.reason
    table = outcome.details.table
    assert table is not None
    (row,) = [row for row in table.rows if row[1].startswith("support-briefed")]
    assert row[2] == "Cy"
    assert row[3], "when"
    tick(ctx, "support-briefed", "Cy", "", done=False)
    assert items(ready(ctx))["support-briefed"].status is Status.FAIL
    with pytest.raises(UsageError, match="no item"):
        tick(ctx, "unknown", "Ada", "")


def everything(ctx: Context) -> None:
    for check in ready(ctx).checks:
        if check.status is not Status.PASS:
            tick(ctx, check.service or "", "Ada", "")


def test_everything_confirmed_is_ready() -> None:
    ctx = linked(stable_world())
    everything(ctx)
    outcome = ready(ctx, recorded=[verified()], pages=Web(jaeger=200))
    assert outcome.verdict is Verdict.PROCEED, outcome.summary
    assert int(outcome.exit_code) == 0


def entry(world: World, action: str, phase: Phase, facts: Facts) -> Entry:
    made = world.entry(action, phase)
    return Entry.model_validate({**made.model_dump(), "facts": facts})


def test_the_steps_tick_the_items_of_the_release() -> None:
    world = stable_world()
    ctx = linked(world)
    first = items(ready(ctx, "during"))
    assert {check.status for check in first.values()} == {Status.SKIPPED}
    world.journal += [
        entry(world, DEPLOY, Phase.INTENT, Facts()),
        entry(world, DEPLOY, Phase.RESULT, Facts(verdict="proceed")),
        entry(world, GATE, Phase.RESULT, GateFacts(weight=1, verdict="proceed")),
        entry(world, GATE, Phase.RESULT, GateFacts(weight=10, verdict="rollback")),
    ]
    moment = datetime.fromtimestamp(world.now, UTC)
    suite = Outcome(
        step="validate",
        release=NEW,
        environment=ctx.environment.name,
        verdict=Verdict.PROCEED,
        exit_code=exit_code_of(Verdict.PROCEED),
        summary="210 tests",
        started_at=moment,
        finished_at=moment,
    )
    elsewhere = suite.model_copy(update={"step": "watch", "environment": "staging"})
    found = items(ready(ctx, "during", [suite, elsewhere]))
    assert found["canary-deployed"].status is Status.PASS
    assert found["canary-1"].status is Status.PASS
    assert found["canary-10"].status is Status.FAIL
    assert found["suite-passed-canary"].status is Status.PASS
    assert found["watch-started"].status is Status.SKIPPED, "that was staging's"


def test_what_comes_after_the_release_is_due_from_its_promotion_on() -> None:
    world = stable_world()
    ctx = linked(world)
    assert {check.status for check in ready(ctx, "hours").checks} == {Status.SKIPPED}
    world.journal += [
        entry(world, DEPLOY, Phase.INTENT, Facts()),
        entry(world, PROMOTE, Phase.INTENT, Facts()),
        entry(world, PROMOTE, Phase.RESULT, Facts()),
    ]
    world.now += 2.5 * 3600
    found = items(ready(ctx, "hours"))
    assert found["metrics-reviewed"].status is Status.FAIL
    assert found["feedback-reviewed"].status is Status.SKIPPED
    tick(ctx, "metrics-reviewed", "Bo", "")
    later = ready(ctx, "hours")
    assert items(later)["metrics-reviewed"].status is Status.PASS
    assert later.verdict is Verdict.PROCEED


def test_follow_ups_have_an_owner_and_a_due_date() -> None:
    world = stable_world()
    ctx = linked(world)
    today = datetime.fromtimestamp(world.now, UTC).date()
    first = follow_up(ctx, "raise the memory limit", "Ada", today + timedelta(days=3))
    second = follow_up(ctx, "write to the vendor", "Bo", date(1969, 12, 31))
    assert (first, second) == ("follow-up-1", "follow-up-2")
    outcome = ready(ctx, "days")
    found = items(outcome)
    assert found[first].status is Status.SKIPPED
    assert found[second].status is Status.FAIL, "overdue"
    table = outcome.details.table
    assert table is not None
    assert [row[2] for row in table.rows if row[1].startswith("follow-up-1")] == ["Ada"]
    tick(ctx, second, "Bo", "sent")
    assert items(ready(ctx, "days"))[second].status is Status.PASS


def test_staging_s_journal_proves_the_suite_and_a_rehearsed_rollback() -> None:
    ctx = linked(stable_world())
    place = ctx.environment.model_copy(update={"staging": "staging"})
    ctx = ctx.with_environment(place)
    found = items(ready(ctx, staging_journal=StagingJournal("proceed")))
    assert found["suite-passed"].status is Status.PASS
    assert found["rollback-rehearsed"].status is Status.FAIL
    assert "tarsrelease rollback --environment staging" in found["rollback-rehearsed"].reason
    away = UnreachableError(doing="connecting", found="refused", expected="x", next_step="wait")
    broken = items(ready(ctx, staging_journal=away))
    assert broken["rollback-rehearsed"].status is Status.ERROR
