"""Which jobs of the pipeline run: its conditions under act, with every action only traced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from act_runs import PIPELINE, Traced

LOOKED = {"plan", "verify", "environments", "go_no_go"}
ASKED = {"ask_release_manager", "approve_release_manager", "ask_sre", "approve_sre"}
APPROVED = LOOKED | ASKED
READY = APPROVED | {"preflight"}
MIGRATED = READY | {"migrate"}
DEPLOYED = MIGRATED | {"canary"}
S1 = DEPLOYED | {"s1"}
S2 = S1 | {"s2"}
FULL = S2 | {"approve_full", "full"}
VALIDATED = FULL | {"validate"}
DONE = VALIDATED | {"promote"}
BACK = {"rollback"}


def played(
    folder: Path,
    answers: Mapping[str, str | int],
    rejects: Sequence[str] = (),
    stages: str = "1,10,100",
) -> tuple[int, set[str], list[tuple[str, str, Mapping[str, Any]]]]:
    """Exit code, the jobs that ran (without those that watch and the page), the calls."""
    repository = Traced(folder / "run", rejects=rejects)
    repository.answers = answers
    came = repository.run(PIPELINE, {"canary_stages": stages})
    assert came.results["finish"] != "skipped", "the page of the day is always made"
    jobs = {job for job in came.ran() - {"finish", "attest"} if not job.startswith("watch_")}
    return came.code, jobs, [(t["job"], t["action"], t["inputs"]) for t in came.trace]


CASES: dict[str, tuple[Mapping[str, str | int], Sequence[str], set[str], int]] = {
    "a good release": ({}, (), DONE, 0),
    "a bad list or a closed window": ({"plan/plan": 2}, (), {"plan"}, 1),
    "verify fails": ({"verify/verify-artifacts": 1}, (), LOOKED - {"go_no_go"}, 1),
    "nobody must approve": ({"environments/environments": 1}, (), LOOKED - {"go_no_go"}, 1),
    "a criterion is not met": ({"go_no_go/go-no-go": 1}, (), LOOKED, 1),
    "the release manager rejects": (
        *({}, ("approve_release_manager",)),
        *(APPROVED - {"ask_sre", "approve_sre"}, 1),
    ),
    "the SRE rejects": ({}, ("approve_sre",), APPROVED, 1),
    "one person approved twice": ({"preflight/environments": 1}, (), READY, 1),
    "the ground does not carry it": ({"preflight/preflight": 1}, (), READY, 1),
    "a migration fails": ({"migrate/migrate": 12}, (), MIGRATED | BACK, 1),
    "the canary fails its smoke test": ({"canary/canary-deploy": 1}, (), DEPLOYED | BACK, 1),
    "stage 1 rolls back": ({"s1/canary-gate": 11}, (), S1 | BACK, 1),
    "stage 2 rolls back": ({"s2/canary-gate": 11}, (), S2 | BACK, 1),
    "stage 2 cannot reach the cluster": ({"s2/canary-gate": 69}, (), S2 | BACK, 1),
    "stage 2 holds and is lifted": (
        *({"s2/canary-gate": "hold"}, ()),
        *(DONE | {"hold_2"}, 0),
    ),
    "stage 1 holds and is lifted": (
        *({"s1/canary-gate": "hold"}, ()),
        *(DONE | {"hold_1"}, 0),
    ),
    "stage 2 holds and is rejected": (
        *({"s2/canary-gate": "hold"}, ("hold_2",)),
        *(S2 | {"hold_2"} | BACK, 1),
    ),
    "100 % is rejected": ({}, ("approve_full",), S2 | {"approve_full"} | BACK, 1),
    "100 % rolls back": ({"full/canary-gate": 11}, (), FULL | BACK, 1),
    "100 % holds and is lifted": (
        *({"full/canary-gate": "hold"}, ()),
        *(DONE | {"hold_full"}, 0),
    ),
    "100 % holds and is rejected": (
        *({"full/canary-gate": "hold"}, ("hold_full",)),
        *(FULL | {"hold_full"} | BACK, 1),
    ),
    "the suite fails": ({"validate/validate": 1}, (), VALIDATED | BACK, 1),
    "promote fails": ({"promote/promote": 12}, (), DONE | BACK, 1),
    "nobody can be told": (
        {
            f"{job}/notify": 70
            for job in ("ask_release_manager", "ask_sre", "migrate", "s1", "promote", "finish")
        },
        *((), DONE, 0),
    ),
    "nobody can be told of a rollback": (
        *({"s2/canary-gate": 11, "rollback/notify": 70}, ()),
        *(S2 | BACK, 1),
    ),
    "an unknown answer of a gate": ({"s2/canary-gate": "perhaps"}, (), S2 | BACK, 1),
}


DEFAULT = ("a good release", "verify fails", "stage 2 rolls back", "stage 2 holds and is rejected")


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if case in DEFAULT else pytest.mark.full) for case in CASES],
)
def test_the_jobs_that_run(tmp_path: Path, case: str) -> None:
    answers, rejects, expected, code = CASES[case]
    found, jobs, _ = played(tmp_path, answers, rejects)
    assert jobs == expected
    assert found == code


@pytest.mark.full
@pytest.mark.parametrize("stages", ["100", "50,100", "1,2,3,4,5,6,100"])
def test_a_list_of_any_length_takes_its_stages_in_order(tmp_path: Path, stages: str) -> None:
    code, jobs, calls = played(tmp_path, {}, stages=stages)
    assert code == 0
    weights = stages.split(",")
    slots = {f"s{number}" for number in range(1, len(weights))}
    assert jobs == DEPLOYED | slots | {"approve_full", "full", "validate", "promote"}
    assert [given["stage"] for _, action, given in calls if action == "canary-gate"] == weights
    assert {given["stages"] for _, action, given in calls if action == "canary-gate"} == {stages}


def test_a_lifted_hold_is_looked_at_once_more_before_the_next_stage(tmp_path: Path) -> None:
    _, _, calls = played(tmp_path, {"s1/canary-gate": "hold"}, stages="5,50,100")
    gates = [(job, given) for job, action, given in calls if action == "canary-gate"]
    assert [(job, given["stage"]) for job, given in gates] == [
        ("s1", "5"), ("s2", "5"), ("s2", "50"), ("full", "100"),
    ]  # fmt: skip
    assert gates[1][1]["lifted-by"] == "octocat"
    assert gates[1][1]["reason"] == "seen"
    assert "on-hold" not in gates[1][1], "who lifts a hold is not asked again"


@pytest.mark.full
def test_the_last_stage_of_a_list_is_looked_at_once_more_before_100(tmp_path: Path) -> None:
    _, _, calls = played(tmp_path, {"s2/canary-gate": "hold"}, stages="5,50,100")
    gates = [(job, given["stage"]) for job, action, given in calls if action == "canary-gate"]
    assert gates == [("s1", "5"), ("s2", "50"), ("full", "50"), ("full", "100")]


@pytest.mark.full
def test_a_hold_of_100_is_looked_at_once_more_before_it_is_promoted(tmp_path: Path) -> None:
    _, _, calls = played(tmp_path, {"full/canary-gate": "hold"}, stages="100")
    said = [(job, action, given.get("stage")) for job, action, given in calls]
    told = [each for each in said if each[1] != "notify"]
    after = told[told.index(("full", "canary-gate", "100")) + 1 :]
    assert [each[1:] for each in after][:3] == [
        *(("canary-gate", "100"), ("validate", None), ("promote", None)),
    ]


def told(calls: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[tuple[str, str, str]]:
    return [
        (job, given["event"], given["pagerduty"])
        for job, action, given in calls
        if action == "notify"
    ]


ASKING = [("ask_release_manager", "waiting", "false"), ("ask_sre", "waiting", "false")]
STARTING = [("migrate", "scheduled", "false"), ("migrate", "started", "false")]


def test_people_are_told_of_each_turn_of_a_day(tmp_path: Path) -> None:
    _, _, calls = played(tmp_path, {"s1/canary-gate": "hold"}, stages="5,100")
    assert told(calls) == [
        *ASKING,
        *STARTING,
        ("s1", "hold", "false"),
        ("promote", "promoted", "false"),
        ("finish", "complete", "false"),
    ]
    [hold] = [given for _, action, given in calls if given.get("event") == "hold"]
    assert hold["about"] == "canary-5"


@pytest.mark.full
def test_a_day_that_touched_nothing_tells_nobody_and_a_rollback_is_told(tmp_path: Path) -> None:
    _, _, calls = played(tmp_path / "a", {"preflight/preflight": 1})
    assert told(calls) == ASKING
    _, _, calls = played(tmp_path / "b", {"s1/canary-gate": 11})
    assert told(calls) == [*ASKING, *STARTING, ("rollback", "rollback", "false")]


@pytest.mark.full
def test_flags_and_run_reach_the_checks_before_anything_is_touched(tmp_path: Path) -> None:
    _, _, calls = played(tmp_path, {"preflight/preflight": 1})
    asked = {(job, action): given for job, action, given in calls}
    assert "approvals" not in asked["environments", "environments"]
    assert asked["preflight", "environments"]["approvals"].isdigit()
    assert asked["preflight", "preflight"]["feature-flags"] == "false"
