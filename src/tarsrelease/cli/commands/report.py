"""tarsrelease report evidence, day"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.options import signer_options
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
@click.option(
    "--attestations",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Attestations of the segments (`gh attestation download`). Requires the extra [sigstore].",
)
@signer_options
def _evidence(settings: Settings, folder: Path, **given: Any) -> int:
    """Check that no record of the evidence in DIR is missing or altered.

    Each record stores the SHA-256 of the record before it. A chain that somebody wrote anew, cut or
    extended is consistent with itself, too; it is detected only by comparing it with something kept
    elsewhere: the journal on the cluster (--environment), the attestations of the pipeline's run
    (--attestations), or a head that a step printed (--head). The result says what it was compared
    with, and how many records come after the last known head. The exit code is 1 if a record is
    missing or altered.
    """
    from datetime import UTC, datetime

    from tarsrelease.cli.evidence_anchors import Where, compared
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        return compared(session, folder, Where(**given), datetime.now(UTC))

    return carry_out(
        settings, "report evidence", act, changes=False, recording=Recording.WHEN_ASKED
    )


evidence = command(
    "release:newest",
    "environment",
    name="evidence",
    example="tarsrelease report evidence ./evidence\n"
    "tarsrelease report evidence ./evidence --environment production\n"
    "tarsrelease report evidence ./evidence --attestations attestations.jsonl "
    "--repository OWNER/NAME --signer-workflow "
    "OWNER/NAME/.github/workflows/production_deploy_pipeline.yaml",
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
