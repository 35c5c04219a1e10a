"""tarsrelease report evidence, day"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome

report = LazyGroup(
    "report",
    help="Check and summarize the recorded evidence.",
    entries={
        "evidence": Entry(f"{__name__}:evidence", "Check that no evidence is missing or altered."),
        "day": Entry(f"{__name__}:day", "Show a whole release on one page."),
    },
)


@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--head",
    "heads",
    multiple=True,
    metavar="SHA256",
    help="SHA-256 of a record that must exist. Repeatable.",
)
def _evidence(settings: Settings, folder: Path, heads: tuple[str, ...]) -> int:
    """Check that no record of the evidence in DIR is missing or altered.

    Each record stores the SHA-256 of the record before it. Lines cut off at the end of the last
    segment can only be detected with a hash stored elsewhere: give it with --head. The exit code is
    1 if a record is missing or altered. Without --head the result says only that the evidence is
    consistent with itself: a chain that somebody wrote anew is, too. Every step prints its head.
    """
    from datetime import UTC, datetime

    from tarsrelease.adapters.files.evidence_file import read_segments
    from tarsrelease.cli.session import Recording, carry_out
    from tarsrelease.evidence.chain import anchor_check, prove
    from tarsrelease.model.outcome import Outcome, Status, Verdict, exit_code_of, worst

    def act(_session: Session) -> Outcome:
        started_at = datetime.now(UTC)
        checks = (*prove(read_segments(folder), heads), anchor_check(heads))
        made = [check.status for check in checks if check.status is not Status.SKIPPED]
        whole = worst(made) is Status.PASS
        good = (
            f"whole up to {len(heads)} given {'head' if len(heads) == 1 else 'heads'}"
            if heads
            else "consistent with itself; it was compared with nothing else"
        )
        verdict = Verdict.PROCEED if whole else Verdict.NO_GO
        return Outcome(
            step="report evidence",
            release=None,
            environment=None,
            verdict=verdict,
            exit_code=exit_code_of(verdict),
            summary=f"the evidence in {folder} is {good if whole else 'NOT whole'}",
            checks=checks,
            started_at=started_at,
            finished_at=datetime.now(UTC),
            next="" if whole else "compare with the runs' artifacts and the cluster's journal",
        )

    return carry_out(
        settings, "report evidence", act, changes=False, recording=Recording.WHEN_ASKED
    )


evidence = command(
    name="evidence",
    example="tarsrelease report evidence ./evidence",
)(_evidence)


@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
def _day(settings: Settings, folder: Path) -> int:
    """Show the evidence of all jobs in DIR on one page, in order of time.

    The exit code is 0, however the release ended.
    """
    from tarsrelease.adapters.files.evidence_file import read_segments
    from tarsrelease.cli.session import Recording, carry_out
    from tarsrelease.evidence.chain import read_segment
    from tarsrelease.model.errors import UsageError
    from tarsrelease.report.day_page import whole_day

    def act(_session: Session) -> Outcome:
        segments = [read_segment(path, text) for path, text in read_segments(folder).items()]
        outcome = whole_day(record for segment in segments for record in segment.records)
        if outcome is None:
            raise UsageError(
                doing="summarizing the release",
                found=f"no record in {folder}",
                expected="the evidence of at least one step",
                next_step=f"check it with `tarsrelease report evidence {folder}`",
            )
        return outcome

    return carry_out(settings, "report day", act, changes=False, recording=Recording.WHEN_ASKED)


day = command(
    name="day",
    example="tarsrelease report day ./evidence --format markdown",
)(_day)
