"""tarsrelease report evidence, day, certify"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.options import MOMENT, signer_options
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from datetime import datetime

    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome

report = LazyGroup(
    "report",
    help="Check and summarize the recorded evidence.",
    entries={
        "evidence": Entry(f"{__name__}:evidence", "Check that no evidence is missing or altered."),
        "day": Entry(f"{__name__}:day", "Show a whole release on one page."),
        "certify": Entry(f"{__name__}:certify", "Write the certification package of a release."),
        "postmortem": Entry(f"{__name__}:postmortem", "Write a post-mortem from the evidence."),
        "lessons": Entry(f"{__name__}:lessons", "Write the lessons learned from the evidence."),
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


_OUT = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for the text and its graphs. Default: the folder of the evidence.",
)


@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@_OUT
def _postmortem(settings: Settings, folder: Path, out: Path | None) -> int:
    """Write postmortem.md and graphs.svg: timeline, failed checks, rollback, messages.

    What only people know stays a question in brackets. The text without a release is
    docs/runbooks/incident_postmortem_template.md.
    """
    return _written(settings, "postmortem", folder, out or folder)


@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@_OUT
def _lessons(settings: Settings, folder: Path, out: Path | None) -> int:
    """Write lessons.md and graphs.svg: what went well, what failed, the timeline.

    What only people know stays a question in brackets. The text without a release is
    docs/runbooks/lessons_learned_template.md.
    """
    return _written(settings, "lessons", folder, out or folder)


def _written(settings: Settings, what: str, folder: Path, out: Path) -> int:
    from datetime import UTC, datetime

    from tarsrelease.adapters.files.evidence_file import outcomes_in, read_segments
    from tarsrelease.cli.session import Recording, carry_out
    from tarsrelease.model.outcome import Outcome, Verdict, exit_code_of
    from tarsrelease.report import postmortem as texts

    def act(_session: Session) -> Outcome:
        started_at = datetime.now(UTC)
        read_segments(folder)  # raises UsageError without evidence
        outcomes = outcomes_in(folder)
        facts = texts.facts_of(outcomes)
        made = {"postmortem": texts.postmortem, "lessons": texts.lessons}[what](facts)
        _write(out / f"{what}.md", made)
        _write(out / texts.GRAPH, texts.graphs(outcomes))
        return Outcome(
            step=f"report {what}",
            release=facts.release,
            environment=facts.environment,
            verdict=Verdict.PROCEED,
            exit_code=exit_code_of(Verdict.PROCEED),
            summary=f"wrote {out / f'{what}.md'} and {texts.GRAPH}",
            started_at=started_at,
            finished_at=datetime.now(UTC),
            next="fill in what stands in brackets",
        )

    return carry_out(settings, f"report {what}", act, changes=False, recording=Recording.WHEN_ASKED)


def _write(file: Path, text: str) -> None:
    from tarsrelease.model.errors import UsageError

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            doing=f"writing {file}",
            found=str(error.strerror),
            expected="a folder that this user may write to",
            next_step="choose another folder with --out DIR",
        ) from error


postmortem = command(
    name="postmortem",
    example="tarsrelease report postmortem ./evidence --out postmortem-1.0.1",
)(_postmortem)


lessons = command(
    name="lessons",
    example="tarsrelease report lessons ./evidence",
)(_lessons)


@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    default=Path("GA_CERTIFICATION"),
    show_default=True,
    help="Folder to write the package to.",
)
@click.option(
    "--from", "start", type=MOMENT, metavar="TIME", help="Leave out what ended before, in ISO 8601."
)
@click.option("--to", "end", type=MOMENT, metavar="TIME", help="Leave out what began after.")
def _certify(
    settings: Settings,
    folder: Path,
    output_dir: Path,
    start: datetime | None,
    end: datetime | None,
) -> int:
    """Write the certification package: success metrics with the number behind each, plots, gates,
    approvals, artifacts, migrations, validation and messages.

    The package has certificate.html, .md and .json (and .pdf where Chromium is installed), the
    evidence and a SHA256SUMS. The exit code is 1 if a metric failed or the release was
    not promoted.
    """
    from tarsrelease.adapters.files.evidence_file import read_segments
    from tarsrelease.cli.session import Recording, carry_out

    def act(_session: Session) -> Outcome:
        from tarsrelease.adapters.files.certification import write_package
        from tarsrelease.evidence.chain import read_segment
        from tarsrelease.model.errors import UsageError
        from tarsrelease.report.certificate import certificate, certified, plot
        from tarsrelease.report.certificate_pages import certificate_html, certificate_markdown

        segments = read_segments(folder)
        records = [
            record
            for path, content in segments.items()
            for record in read_segment(path, content).records
            if (start is None or record.outcome.finished_at >= start)
            and (end is None or record.outcome.started_at <= end)
        ]
        found = certificate(records)
        if found is None:
            raise UsageError(
                doing="certifying the release",
                found=f"no record of a release in {folder}",
                expected="the evidence of a release between --from and --to",
                next_step=f"check it with `tarsrelease report evidence {folder}`",
            )
        pages = {
            "certificate.html": certificate_html(found, plot(records)),
            "certificate.md": certificate_markdown(found),
            "certificate.json": found.model_dump_json(by_alias=True, indent=2) + "\n",
        }
        names = write_package(output_dir, pages, segments)
        return certified(found, str(output_dir), names)

    return carry_out(settings, "report certify", act, changes=False, recording=Recording.WHEN_ASKED)


certify = command(
    name="certify",
    example="tarsrelease report certify ./evidence --output-dir release/v1_0_1/GA_CERTIFICATION",
)(_certify)
