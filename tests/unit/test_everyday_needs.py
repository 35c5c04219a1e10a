"""Advisory checks, several failures in a row, the SLI of the traffic share, and its lift."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from gates_samples import INPUTS, by_law
from test_gates_attribution import rollout
from test_gates_share import judge as share_of

from tarsrelease.adapters.background import Background
from tarsrelease.adapters.terminal.plain import _change_line
from tarsrelease.cli.explain import _worst_first
from tarsrelease.gates.checks.evaluate import evaluate
from tarsrelease.gates.lifted_hold import lifted
from tarsrelease.gates.measure.queries import queries_of
from tarsrelease.gates.stats.alpha_budget import alpha_per_check
from tarsrelease.gates.verdict import decide
from tarsrelease.model.checks import ExternalCheck
from tarsrelease.model.journal import Cause
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.measurement import Counts, Number, Track
from tarsrelease.model.outcome import Check, ExitCode, Observed, Outcome, Status, Verdict
from tarsrelease.model.rollout import Rollout
from tarsrelease.report.markdown import outcome_markdown
from tarsrelease.report.page import remarks
from tarsrelease.report.results import count_statuses
from tarsrelease.report.text import outcome_text

ERRORS = {"kind": "proportion", "id": "canary.e", "sli": "errors", "below": "1%"}
NEW = {"kind": "proportion", "id": "canary.new", "sli": "errors", "below": "0.1%"}
AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def with_checks(*checks: object, **changes: object) -> Rollout:
    return rollout(checks=list(checks), stages=[{"weight": 100, "duration": "1m"}], **changes)


def result(status: Status, check: str = "canary.e", *, advisory: bool = False) -> Check:
    return Check(
        id=check,
        status=status,
        service="shop",
        observed=Observed(value=0.2, unit="share"),
        expected="< 1 %",
        reason="20 of 100 requests bad",
        advisory=advisory,
    )


class TestAdvisory:
    def judged(self, bad: float) -> tuple[Rollout, tuple[Check, ...]]:
        plan = with_checks(ERRORS, NEW | {"advisory": True})
        counts = {"errors": {("shop", Track.CANARY): Counts(bad, 10_000.0, INPUTS.now)}}
        inputs = replace(INPUTS, counts=counts)
        from gates_samples import PATIENCE

        return plan, evaluate(plan.stages[0], plan, Track.CANARY, inputs, PATIENCE)

    def test_a_failure_is_shown_and_decides_nothing(self) -> None:
        plan, checks = self.judged(50)
        statuses = {check.id: (check.status, check.advisory) for check in checks}
        assert statuses["canary.new"] == (Status.FAIL, True)
        assert statuses["canary.e"] == (Status.PASS, False)
        assert decide(checks, plan.stages[0], 60.0, outage_limit=180.0) is Verdict.PROCEED
        assert Cause.of(checks) is None

    def test_other_failures_still_decide(self) -> None:
        plan, checks = self.judged(5_000)
        assert decide(checks, plan.stages[0], 1.0, outage_limit=180.0) is Verdict.ROLLBACK
        cause = Cause.of(checks)
        assert cause is not None
        assert cause.check == "canary.e"

    @pytest.mark.parametrize("status", list(Status))
    def test_no_status_of_it_changes_a_verdict(self, status: Status) -> None:
        stage = with_checks(ERRORS).stages[0]
        for other in Status:
            alone = [result(other)]
            both = [*alone, result(status, "canary.new", advisory=True)]
            for elapsed in (1.0, 60.0, 10_000.0):
                verdicts = {decide(c, stage, elapsed, outage_limit=180.0) for c in (alone, both)}
                assert len(verdicts) == 1

    def test_advisory_results_alone_are_no_pass(self) -> None:
        stage = with_checks(ERRORS).stages[0]
        alone = [result(Status.PASS, advisory=True)]
        assert decide(alone, stage, 10_000.0, outage_limit=180.0) is Verdict.HOLD

    def test_it_spends_nothing_of_the_budget(self) -> None:
        alone, both = with_checks(ERRORS), with_checks(ERRORS, NEW | {"advisory": True})
        assert alpha_per_check(both) == alpha_per_check(alone)
        assert alpha_per_check(with_checks(ERRORS, NEW)) < alpha_per_check(alone)

    def test_a_stage_of_advisory_checks_alone_is_refused(self) -> None:
        with pytest.raises(ValueError, match="the 100% stage has only advisory checks"):
            with_checks(NEW | {"advisory": True})

    def test_people_see_that_it_is_advisory(self) -> None:
        checks = (
            result(Status.FAIL, "canary.new", advisory=True),
            result(Status.INCONCLUSIVE),
        )
        outcome = Outcome(
            step="canary gate",
            release="1.0.1",
            environment="production",
            verdict=Verdict.HOLD,
            exit_code=ExitCode.HOLD,
            summary="held",
            checks=checks,
            started_at=AT,
            finished_at=AT,
        )
        text, page = outcome_text(outcome, verbose=True), outcome_markdown(outcome)
        assert "FAIL (ADVISORY) canary.new of shop" in text
        assert "Checks: 1 inconclusive; advisory: 1 fail" in text
        assert text.index("INCONCLUSIVE canary.e") < text.index("FAIL (ADVISORY)")
        assert "- **fail (advisory)** `canary.new` of shop" in page
        levels = {title: level for level, title, _ in remarks("gate", outcome)}
        assert levels["canary.new"] == "notice"
        assert _change_line(checks[0]).startswith("FAIL (ADVISORY) canary.new")
        assert _worst_first(checks)[0].id == "canary.e"
        assert count_statuses(checks[:1]) == "nothing checked; advisory: 1 fail"
        read = Outcome.model_validate_json(outcome.model_dump_json())
        assert [check.advisory for check in read.checks] == [True, False]


def external(**changes: Any) -> ExternalCheck:
    asked = {"kind": "external", "id": "a.b", "source": {"command": ["x"]}, "at_most": 3}
    return ExternalCheck.model_validate(asked | changes)


class TestFailuresInARow:
    @pytest.mark.parametrize(
        ("in_a_row", "status", "reason"),
        [
            (1, Status.INCONCLUSIVE, "7 is too much, 1 of 3 times in a row"),
            (2, Status.INCONCLUSIVE, "7 is too much, 2 of 3 times in a row"),
            (3, Status.FAIL, "7 is too much, 3 of 3 times in a row"),
            (9, Status.FAIL, "7 is too much, 3 of 3 times in a row"),
        ],
    )
    def test_one_bad_number_is_no_failure(self, in_a_row: int, status: Status, reason: str) -> None:
        answer = {"a.b": Number(7.0, INPUTS.now, in_a_row)}
        check = by_law(external(failures=3), replace(INPUTS, external=answer))
        assert (check.status, check.reason) == (status, reason)

    def test_without_failures_the_first_one_fails(self) -> None:
        answer = {"a.b": Number(7.0, INPUTS.now)}
        check = by_law(external(), replace(INPUTS, external=answer))
        assert (check.status, check.reason) == (Status.FAIL, "7 is too much")

    def test_answers_are_counted_in_a_row(self) -> None:
        numbers = iter([1.0, 7.0, 8.0, 2.0, 9.0])
        background = Background(lambda _rule: next(numbers))
        rule = external(failures=3)
        rows = [background._number("key", rule).in_a_row for _ in range(5)]
        assert rows == [1, 1, 2, 1, 1]


class TestTrafficShare:
    SLIS: dict[str, object] = {
        "errors": {"kind": "proportion", "of": "requests{}", "bad": 'requests{code=~"5.."}'},
        "gateway": {"preset": "traefik"},
        "memory": {"kind": "gauge", "value": "memory{}", "unit": "bytes"},
    }

    def test_the_named_sli_is_compared_with_the_weight(self) -> None:
        plain = with_checks(ERRORS, slis=self.SLIS)
        named = with_checks(ERRORS, slis=self.SLIS, share="gateway")
        stage = plain.stages[0]
        assert queries_of(stage, plain, "prod", ["1"]).share == "requests{}"
        asked = queries_of(stage, named, "prod", ["1"])
        assert asked.share is not None
        assert asked.share.startswith("traefik_service_requests_total{")
        assert asked.share in asked.selectors
        assert set(asked.proportions) == {"errors"}, "its errors are not judged"

    @pytest.mark.parametrize(
        ("share", "expected"),
        [
            ("gate", "share: there is no sli 'gate'; known slis: errors, gateway, memory"),
            ("memory", "share: sli 'memory' is a gauge and counts no requests"),
        ],
    )
    def test_another_name_is_refused(self, share: str, expected: str) -> None:
        with pytest.raises(ValueError, match=expected):
            with_checks(ERRORS, slis=self.SLIS, share=share)

    def test_a_lift_covers_a_share_that_disagrees(self) -> None:
        lifting = Lifting(by="Ada (SRE)", reason="in-cluster callers go to stable")
        disagrees = share_of(50, 10.0, 10_000.0)
        assert disagrees.status is Status.ERROR
        [check] = lifted([disagrees], lifting)
        assert check.status is Status.SKIPPED
        assert "lifted by Ada (SRE): in-cluster callers go to stable" in check.reason

    def test_a_lift_does_not_cover_what_was_not_measured(self) -> None:
        lifting = Lifting(by="Ada", reason="why")
        unmeasured = share_of(50, 10.0, 10_000.0).model_copy(update={"observed": None})
        other = result(Status.ERROR)
        assert lifted([unmeasured, other], lifting) == (unmeasured, other)
