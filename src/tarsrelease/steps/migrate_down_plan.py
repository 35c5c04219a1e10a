"""What down would do now, and what would be lost; nothing is changed."""

from __future__ import annotations

from tarsrelease.context import Assignment
from tarsrelease.ports.database import DatabaseAccess
from tarsrelease.steps.migrate_down import try_down


def plan_down(assignment: Assignment, access: DatabaseAccess) -> list[str]:
    """A line for each statement that `down` would run, and for what would be lost by it.

    Raises ReleaseError as `down` does before it changes anything.
    """
    work, undoing, _ = try_down(assignment, access)
    if not work:
        return [f"nothing of {assignment.release.version} is applied"]
    return [
        *(f"{line.place}: {line.first_line}" for one in work for line in one.statements),
        *(f"LOST FOR GOOD: {line}" for line in undoing.lost),
        *([f"MORE MAY BE LOST: {undoing.unproven}"] if undoing.unproven else []),
        *([] if undoing.lost or undoing.unproven else ["no data is lost"]),
    ]
