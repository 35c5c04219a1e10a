"""The cases that the pipeline runs through on the rehearsal cluster, and the expected results.

The table in docs/pipeline.md is generated from these; the cluster test proves each of its rows.
`python tests/workflow/scenarios.py` prints the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_LOOKED = ("plan", "verify", "environments")
_ASKED = ("ask_release_manager", "approve_release_manager", "ask_sre", "approve_sre")
_APPROVED = (*_LOOKED, "go_no_go", *_ASKED)
_MIGRATED = (*_APPROVED, "preflight", "migrate")
_DEPLOYED = (*_MIGRATED, "canary")
_TWO = (*_DEPLOYED, "s1", "s2")
_FULL = (*_TWO, "approve_full", "full")
_DONE = (*_FULL, "validate", "promote")
_BACK = "1.0.0 serves, the canary is removed"
_UNTOUCHED = "1.0.0 serves, no canary was deployed"
_NEW = "1.0.1 serves, the canary is removed"


@dataclass(frozen=True)
class Scenario:
    """`disturb` is a fault for disturb.py, `before` a change made beforehand, by name.

    `jobs` are those that are not skipped, without those that watch a wait.
    """

    name: str
    jobs: Sequence[str]
    state: str
    code: int
    stages: str = "10,50,100"
    disturb: str | None = None
    before: str | None = None
    rejects: Sequence[str] = ()
    default: bool = False

    @property
    def told(self) -> list[str]:
        """The messages of the day, by a word of each, in their order."""
        if "migrate" not in self.jobs:
            return []
        stages = [["next stage"] for job in self.jobs if job in ("s1", "s2")]
        held = any(job.startswith("hold_") for job in self.jobs)
        if held:
            stages[-1].append("holds")
        elif "approve_full" in self.jobs:
            stages.append(["approval"])
        if "full" in self.jobs:
            stages.append(["next stage"])
        back = ["being rolled back", "is rolled back", "no incident"]
        end = ["promoted", "complete"] if self.promoted else back
        begun = ["approval", "approval", "scheduled", "begun"]
        return [*begun, *(word for stage in stages for word in stage), *end]

    @property
    def promoted(self) -> bool:
        return self.state == _NEW


SCENARIOS = (
    Scenario("a good release", _DONE, _NEW, 0, default=True),
    Scenario("the stage list does not end with 100", ("plan",), _UNTOUCHED, 1, stages="10,50"),
    Scenario("verify fails", _LOOKED, _UNTOUCHED, 1, before="tamper"),
    Scenario("a migration fails", (*_MIGRATED, "rollback"), _UNTOUCHED, 1, before="clash"),
    Scenario(
        "stage 2 rolls back", (*_TWO, "rollback"), _BACK, 1, disturb="errors@50", default=True
    ),
    Scenario("stage 2 holds and is lifted", (*_DONE, "hold_2"), _NEW, 0, disturb="quiet@50"),
    Scenario(
        "stage 2 holds and is rejected",
        (*_TWO, "hold_2", "rollback"),
        _BACK,
        1,
        disturb="quiet@50",
        rejects=("hold_2",),
    ),
    Scenario(
        "100 % is rejected",
        (*_TWO, "approve_full", "rollback"),
        _BACK,
        1,
        rejects=("approve_full",),
    ),
    Scenario(
        "validation fails", (*_FULL, "validate", "rollback"), _BACK, 1, disturb="untraced@100"
    ),
    Scenario("promote fails half-way", (*_DONE, "rollback"), _BACK, 1, disturb="full@100"),
)


def table() -> list[str]:
    """The table as Markdown lines."""
    lines = ["| case | jobs that run | the cluster afterwards | the run |", "|" + " --- |" * 4]
    for each in SCENARIOS:
        end = "red" if each.code else "green"
        lines.append(f"| {each.name} | {', '.join(each.jobs)} | {each.state} | {end} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
