"""Why a release is rolled back: from a gate's verdict, or a person, through the journal to people.

The gate and the rollback are two processes, as in the pipeline: only the journal connects them.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

from day_world import Absent, DayWorld
from world import NEW, RUN, Unattended, World, rollout

from tarsrelease.adapters.terminal.plain import PlainProgress
from tarsrelease.model.journal import Cause, Entry, Phase
from tarsrelease.model.measurement import Track
from tarsrelease.model.notice import Event, Notice
from tarsrelease.model.outcome import Check, ExitCode, Outcome, Status, Verdict
from tarsrelease.report.notices.pagerduty import pagerduty
from tarsrelease.report.notices.slack import slack
from tarsrelease.report.text import outcome_text
from tarsrelease.rollout import release_journal
from tarsrelease.steps.canary_gate import gate
from tarsrelease.steps.rollback import rollback

LINK = "https://github.com/tars/tars/actions/runs/7"


def at_a_gate(day: DayWorld, weight: int) -> Outcome:
    return gate(day.context(), weight)


def rolled_back(day: DayWorld, reason: str) -> Outcome:
    return rollback(day.context(), reason)


def deployed() -> DayWorld:
    """The canary is deployed and passed 10 %; nobody approved the next stage."""
    plan = rollout(weights=(10, 100), duration="1m")
    stages = [s.model_copy(update={"approval": s.weight == 100}) for s in plan.stages]
    day = DayWorld(plan=plan.model_copy(update={"stages": tuple(stages)}))
    assert day.play(Absent()).verdict is Verdict.HOLD
    return day


def messages(outcome: Outcome) -> list[str]:
    """What Slack shows, what its notification shows, and what PagerDuty shows on a phone."""
    notice = Notice(
        event=Event.ROLLBACK,
        application="tars",
        release=NEW,
        environment="production",
        run=RUN.id,
        reason=outcome.summary,
        link=LINK,
    )
    in_slack: dict[str, Any] = slack(notice).body
    (alert,) = pagerduty(notice, datetime.now(UTC), "key")
    page: dict[str, Any] = alert.body
    assert LINK in str(in_slack["blocks"])
    assert page["links"][0]["href"] == LINK
    shown = "\n".join(block["text"]["text"] for block in in_slack["blocks"])
    return [
        shown.replace("&lt;", "<"),
        in_slack["text"].replace("&lt;", "<"),
        page["payload"]["summary"],
    ]


def test_people_learn_which_check_of_which_service_failed_by_how_much() -> None:
    day = deployed()
    for pod in day.world.running(Track.CANARY):
        pod.error_share = 1.0 if pod.service == "insight-engine" else 0.0
    assert at_a_gate(day, 10).verdict is Verdict.ROLLBACK
    # As the journal on the cluster has it: as JSON.
    kept = [Entry.model_validate_json(e.model_dump_json()) for e in day.world.journal]
    cause = release_journal.cause(kept, NEW)
    assert cause is not None
    assert (cause.check, cause.service) == ("canary.error_rate", "insight-engine")
    day.world.journal = kept
    outcome = rolled_back(day, "the pipeline did not promote it")
    for text in messages(outcome):
        assert "tars 1.0.1 is rolled back in production" in text
        for part in ("canary.error_rate", "insight-engine", "100 %", "< 1.5 %"):
            assert text.count(part) == (2 if part == "100 %" else 1), text
        assert "1.0.0 serves all requests" in text


def test_the_output_of_a_rolled_back_release_says_the_reason_once_and_last() -> None:
    day = DayWorld()
    stream = io.StringIO()
    progress = PlainProgress(stream, monotonic=lambda: day.world.now)

    def breaking() -> None:
        for pod in day.world.running(Track.CANARY):
            pod.error_share = 1.0

    day.at_stage("canary-10", breaking)
    outcome = day.play(Unattended(), progress=progress)
    assert outcome.verdict is Verdict.ROLLBACK
    text = outcome_text(outcome)
    *_, last = text.splitlines()
    assert last.startswith("ROLLBACK  run · 1.0.1 → simulated: canary-10: canary.error_rate of ")
    cause = release_journal.cause(day.world.journal, NEW)
    assert cause is not None
    assert cause.reason in last
    assert (stream.getvalue() + text).count(cause.reason) == 1
    assert len(text.splitlines()) <= 15


def test_people_learn_what_failed_while_traffic_returned_to_stable() -> None:
    day = DayWorld()

    def breaking() -> None:
        for pod in day.world.running(Track.STABLE):
            pod.error_share = 1.0

    day.at_stage("promote-50", breaking)
    assert day.play(Unattended()).exit_code is ExitCode.STOPPED
    outcome = rolled_back(day, "the pipeline did not promote it")
    for text in messages(outcome):
        assert "canary.error_rate of " in text
        assert text.count("requests bad") == 1
        assert text.count("< 1.5 %") == 1


def test_the_reason_that_a_person_gives_reaches_people() -> None:
    day = deployed()
    outcome = rolled_back(day, "orders are charged twice")
    for text in messages(outcome):
        assert text.count("orders are charged twice") == 1
        assert "canary.error_rate" not in text


def test_only_the_last_verdict_of_this_attempt_has_a_cause() -> None:
    world = World()
    few = Check(
        id="canary.error_rate",
        status=Status.INCONCLUSIVE,
        expected="< 1.5 %",
        reason="33 of 199 required requests",
    )
    held = world.entry("gate", Phase.RESULT, verdict="hold", cause=Cause.of([few]))
    passed = world.entry("gate", Phase.RESULT, verdict="proceed")
    begun = world.entry("deploy", Phase.INTENT)
    assert release_journal.cause([begun, held], NEW) == Cause.of([few])
    assert release_journal.cause([begun, held, passed], NEW) is None
    assert release_journal.cause([begun, held, begun], NEW) is None
