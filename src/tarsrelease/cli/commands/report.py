"""tarsrelease report evidence, day, certify, slo, postmortem, lessons"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.options import MOMENT, Written, signer_options
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from datetime import datetime

    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


def parse_reason(text: str) -> tuple[str, str]:
    """The parts of ``METRIC=REASON``, neither of which is empty. Raises ValueError."""
    metric, _, reason = (part.strip() for part in text.partition("="))
    if not metric or not reason:
        raise ValueError(f"{text} is not METRIC=REASON, such as alerts=PagerDuty was not used")
    return metric, reason


report = LazyGroup(
    "report",
    help="Check and summarize the recorded evidence.",
    entries={
        "evidence": Entry(f"{__name__}:evidence", "Check that no evidence is missing or altered."),
        "day": Entry(f"{__name__}:day", "Show a whole release on one page."),
        "certify": Entry(f"{__name__}:certify", "Write the certification package of a release."),
        "slo": Entry(f"{__name__}:slo", "Report some days: SLOs, budget, trend, capacity, cost."),
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
@click.option(
    "--accept",
    "accepted",
    multiple=True,
    type=Written("METRIC=REASON", parse_reason),
    metavar="METRIC=REASON",
    help="Certify although this metric was NOT CHECKED; requires --by, and is on every page. "
    "Repeatable.",
)
@click.option("--by", metavar="NAME", help="Who accepts.")
def _certify(
    settings: Settings,
    folder: Path,
    output_dir: Path,
    start: datetime | None,
    end: datetime | None,
    accepted: tuple[tuple[str, str], ...],
    by: str | None,
) -> int:
    """Write the certification package: success metrics with the number behind each, plots, gates,
    approvals, artifacts, migrations, validation and messages.

    The package has certificate.html, .md and .json (and .pdf where Chromium is installed), the
    evidence and a SHA256SUMS. The exit code is 0 for CERTIFIED, 1 for NOT CERTIFIED (a metric
    failed, or the release was not promoted), and 10 for NOT CERTIFIED YET (a metric was NOT
    CHECKED).
    """
    from tarsrelease.adapters.files.evidence_file import read_segments
    from tarsrelease.cli.session import Recording, carry_out

    if bool(accepted) != bool(by):
        raise click.UsageError("--accept METRIC=REASON and --by NAME go together.")
    reasons = {metric: f"{reason} ({by})" for metric, reason in accepted}

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
        found = certificate(records, reasons)
        if found is None:
            raise UsageError(
                doing="certifying the release",
                found=f"no record of a release in {folder}",
                expected="the evidence of a release between --from and --to",
                next_step=f"check it with `tarsrelease report evidence {folder}`",
            )
        named = {metric.name for metric in found.metrics}
        if unknown := sorted(set(reasons) - named):
            raise UsageError(
                doing="accepting a metric that was NOT CHECKED",
                found=f"no metric {', '.join(unknown)}",
                expected=f"one of {', '.join(sorted(named))}",
                next_step="write the metric as the certificate does",
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
    example="tarsrelease report certify ./evidence --output-dir release/v1_0_1/GA_CERTIFICATION\n"
    "tarsrelease report certify ./evidence "
    '--accept "support tickets=the desk is closed on Sundays" --by Ada',
)(_certify)


@click.option(
    "--days",
    type=click.FloatRange(0, 400, min_open=True),
    default=7,
    show_default=True,
    help="How many days, up to now.",
)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for slo_report.html, .md and .json. Default: the evidence folder.",
)
@click.option(
    "--core-hour",
    type=click.FloatRange(0),
    metavar="PRICE",
    help="Price of a core for an hour, in any currency; with --gb-hour.",
)
@click.option(
    "--gb-hour",
    type=click.FloatRange(0),
    metavar="PRICE",
    help="Price of a GB of memory for an hour; with --core-hour.",
)
def _slo(
    settings: Settings,
    days: float,
    output_dir: Path | None,
    core_hour: float | None,
    gb_hour: float | None,
) -> int:
    """Report how stable kept its SLOs: compliance, error budget, trend, capacity and cost.

    Capacity and cost compare what pods used with what they request and are limited to. A time that
    is not recorded is left out and named, never guessed. The exit code is 1 if an SLO was missed or
    the error budget is spent, and 10 if not everything is recorded.
    """
    from tarsrelease.cli.session import carry_out

    if (core_hour is None) != (gb_hour is None):
        raise click.UsageError("--core-hour and --gb-hour go together.")

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.files.measured import write_json, write_text
        from tarsrelease.cli.measuring import measuring_in
        from tarsrelease.model.step_details import SloReportDetails
        from tarsrelease.readiness.slo_report import Prices
        from tarsrelease.report.slo_pages import slo_html, slo_markdown
        from tarsrelease.steps.report_slo import report_slo
        from tarsrelease.wiring.reservations import reservations

        prices = None
        if core_hour is not None and gb_hour is not None:
            prices = Prices(core_hour, gb_hour)
        known = reservations(session.environment)
        outcome = report_slo(measuring_in(session), days * 86400, known, prices)
        details = SloReportDetails.of(outcome.details)
        if details is not None:
            found, folder = details.slo_report, output_dir or session.evidence_folder
            targets = session.assignment.rollout.objectives.targets
            write_text(folder / "slo_report.html", slo_html(found, targets))
            write_text(folder / "slo_report.md", slo_markdown(found))
            write_json(folder / "slo_report.json", found)
        return outcome

    return carry_out(settings, "report slo", act, changes=False)


slo = command(
    "release:newest",
    "environment",
    "evidence",
    name="slo",
    example="tarsrelease report slo --days 7 --environment production\n"
    "tarsrelease report slo --days 7 --environment production --core-hour 0.03 --gb-hour 0.004",
)(_slo)
