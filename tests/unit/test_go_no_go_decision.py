"""The decision's laws: a missing vote is never GO, and a failed criterion only with an override."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsrelease.model.journal import (
    Entry,
    Facts,
    OverrideFacts,
    Phase,
    PostponeFacts,
    VoteFacts,
)
from tarsrelease.model.outcome import Check, Status, Verdict
from tarsrelease.model.people import Answer, Approval, Vote
from tarsrelease.model.window import FixedWindow
from tarsrelease.readiness.decision import (
    CRITERION,
    VERDICTS,
    VOTE,
    Decision,
    approval_votes,
    decide,
    overridden,
    vote_results,
)
from tarsrelease.rollout import votes as journaled

ROLES = ("release-manager", "sre", "qa", "engineering")
T = datetime(2026, 12, 1, 8, tzinfo=UTC)


def check(status: Status, check_id: str = "go_no_go.staging", service: str | None = None) -> Check:
    return Check(id=check_id, status=status, service=service, expected="so", reason="found")


def vote(role: str, answer: Answer = Answer.GO, by: str = "Ada") -> Vote:
    postpone = answer is Answer.POSTPONE
    return Vote(role=role, go=answer is Answer.GO, postpone=postpone, by=by)


ALL_GO = [vote(role) for role in ROLES]
PASSED = [check(Status.PASS)]

statuses = st.lists(st.sampled_from(Status), max_size=6)
some_votes = st.lists(
    st.builds(vote, st.sampled_from(ROLES), st.sampled_from(Answer), st.sampled_from(["Ada", "Bo"]))
    | st.builds(vote, st.sampled_from(ROLES)),
    max_size=8,
)


@given(statuses, some_votes, st.sets(st.sampled_from(ROLES)), st.sets(st.sampled_from(ROLES)))
def test_go_needs_a_passed_criterion_no_failed_one_and_every_vote(
    found: list[Status], votes: list[Vote], required: set[str], later: set[str]
) -> None:
    decision = decide([check(status) for status in found], votes, required, later)
    voted = {each.role for each in votes}
    all_said_go = all(each.answer is Answer.GO for each in votes)
    good = Status.PASS in found and set(found) <= {Status.PASS, Status.SKIPPED}
    go = good and all_said_go and required <= voted
    ask = good and all_said_go and not required <= voted and required - voted <= later
    assert (decision is Decision.GO) == go
    assert (decision is Decision.ASK) == ask
    assert (VERDICTS[decision] is Verdict.PROCEED) == (go or ask)


@given(statuses, some_votes, st.sets(st.sampled_from(ROLES), min_size=1))
def test_taking_a_vote_away_never_makes_it_go(
    found: list[Status], votes: list[Vote], required: set[str]
) -> None:
    missing = min(required)
    fewer = [each for each in votes if each.role != missing]
    assert decide([check(status) for status in found], fewer, required) is not Decision.GO


@given(some_votes)
def test_the_table_of_votes_passes_only_if_everybody_said_go(votes: list[Vote]) -> None:
    results = vote_results(votes, ROLES)
    assert {each.id for each in results} == {VOTE}
    passed = all(each.status is Status.PASS for each in results)
    assert passed == (decide(PASSED, votes, ROLES) is Decision.GO)


def test_no_go_outweighs_postpone_and_postpone_a_failed_criterion() -> None:
    postponed = [*ALL_GO, vote("qa", Answer.POSTPONE, "Bo")]
    assert decide([check(Status.FAIL)], postponed, ROLES) is Decision.POSTPONE
    refused = [*postponed, vote("sre", Answer.NO_GO, "Cy")]
    assert decide(PASSED, refused, ROLES) is Decision.NO_GO


def test_nothing_measured_is_never_go() -> None:
    assert decide([], ALL_GO, ROLES) is Decision.NO_GO
    assert decide([check(Status.SKIPPED)], ALL_GO, ROLES) is Decision.NO_GO


def override(criterion: str) -> dict[str, OverrideFacts]:
    return {criterion: OverrideFacts(criterion=criterion, by="Ada", reason="known")}


@pytest.mark.parametrize(
    ("failed", "name"),
    [
        (check(Status.FAIL), "staging"),
        (check(Status.ERROR, CRITERION, "availability"), "availability"),
        (check(Status.INCONCLUSIVE, "go_no_go.staging_suite"), "staging-suite"),
    ],
)
def test_an_override_counts_for_its_criterion_only_and_stays_visible(
    failed: Check, name: str
) -> None:
    (same,) = overridden([failed], override("incidents"))
    assert same == failed
    (one,) = overridden([failed], override(name))
    assert one.advisory
    assert one.status is failed.status
    assert one.reason == "found; overridden by Ada: known"
    assert decide([*PASSED, failed], ALL_GO, ROLES) is Decision.NO_GO
    assert decide([*PASSED, one], ALL_GO, ROLES) is Decision.GO
    assert decide([*PASSED, one], ALL_GO[1:], ROLES) is Decision.NO_GO, "the vote is missing"


@pytest.mark.parametrize(
    ("check_id", "name"),
    [
        ("go_no_go.verified", "verified"),
        ("go_no_go.no_other_release", "no-other-release"),
        (VOTE, "vote"),
    ],
)
def test_verification_another_release_and_votes_cannot_be_overridden(
    check_id: str, name: str
) -> None:
    failed = check(Status.FAIL, check_id)
    assert overridden([failed], override(name)) == (failed,)


def test_approvals_of_a_run_are_votes_of_the_roles_whose_environments_they_are() -> None:
    roles = {"release-manager": "production-release-manager", "sre": "production-sre"}
    found = approval_votes(
        [
            Approval(person="ada", state="approved", environments=("production-release-manager",)),
            Approval(
                person="bo", state="rejected", environments=("production-sre",), comment="too late"
            ),
            Approval(person=None, state="approved", environments=("production-sre",)),
            Approval(person="cy", state="approved", environments=("production-full",)),
        ],
        roles,
    )
    said = [(each.role, each.answer, each.by, each.reason) for each in found]
    assert said == [
        ("release-manager", Answer.GO, "ada", ""),
        ("sre", Answer.NO_GO, "bo", "too late"),
    ]


def entry(action: str, facts: Facts, minutes: int, identity: str | None = "a" * 64) -> Entry:
    return Entry(
        at=T + timedelta(minutes=minutes),
        run="r",
        release="1.0.1",
        step="check go-no-go",
        action=action,
        phase=Phase.RESULT,
        facts=facts,
        identity=identity,
    )


def cast(role: str, answer: Answer, by: str, minutes: int, identity: str | None = None) -> Entry:
    facts = VoteFacts(role=role, vote=answer, by=by, reason="")
    return entry(journaled.VOTE, facts, minutes, identity or "a" * 64)


def said(entries: list[Entry], identity: str | None = "a" * 64) -> dict[tuple[str, str], Answer]:
    found = journaled.votes(entries, "1.0.1", identity)
    return {(each.role, each.by): each.answer for each in found}


def test_a_person_may_change_a_vote_but_not_somebody_elses() -> None:
    entries = [
        cast("qa", Answer.NO_GO, "Ada", 1),
        cast("qa", Answer.GO, "Bo", 2),
        cast("qa", Answer.GO, "ada", 3),
    ]
    assert said(entries[:2])["qa", "Ada"] is Answer.NO_GO
    assert set(said(entries).values()) == {Answer.GO}


def test_votes_are_void_after_a_postponement_a_rollback_and_for_other_bytes() -> None:
    voted = [cast("qa", Answer.GO, "Ada", 1)]
    window = FixedWindow(starts=T + timedelta(days=1), ends=T + timedelta(days=1, hours=4))
    postponed = entry(journaled.POSTPONE, PostponeFacts(window=window, by="Ada", reason="x"), 2)
    assert said(voted)
    assert not said([*voted, postponed])
    assert not said([*voted, entry("rollback", Facts(), 2)])
    assert not said(voted, identity="b" * 64)
    assert said([*voted, postponed, cast("qa", Answer.GO, "Ada", 3)])
    assert journaled.postponed_to([*voted, postponed], "1.0.1") == window
    assert journaled.postponed_to([*voted, postponed], "1.0.2") is None


def test_the_facts_survive_the_journal() -> None:
    window = FixedWindow(starts=T, ends=T + timedelta(hours=4))
    for each in (
        cast("qa", Answer.POSTPONE, "Ada", 1),
        entry(journaled.POSTPONE, PostponeFacts(window=window, by="Ada", reason="x"), 2),
        entry(journaled.OVERRIDE, OverrideFacts(criterion="staging", by="A", reason="y"), 3),
    ):
        assert Entry.model_validate_json(each.model_dump_json()) == each
