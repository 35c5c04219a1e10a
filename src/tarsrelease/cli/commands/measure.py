"""tarsrelease measure kpi, baseline, slo, drift and websocket"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.options import MOMENT, SOME_TIME
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.kpis import KpiReport
    from tarsrelease.model.outcome import Outcome
    from tarsrelease.operations.kpis import Deployment, Measuring, Window

measure = LazyGroup(
    "measure",
    help="Measure KPIs, SLOs, drift and WebSockets.",
    entries={
        "kpi": Entry(f"{__name__}:kpi", "Measure the KPIs of a window, live or past."),
    },
)

_DURATION = click.option(
    "--duration",
    type=SOME_TIME,
    metavar="DURATION",
    help="Length of the window, which ends now by default. Default: 5m.",
)
_DEPLOYMENT = click.option(
    "--deployment",
    type=click.Choice(["canary", "stable", "all"]),
    default="all",
    show_default=True,
    help="Whose pods to measure.",
)
_OUTPUT = click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the numbers as JSON. A relative path is in the evidence folder.",
)


@_DURATION
@click.option(
    "--from", "start", type=MOMENT, metavar="TIME", help="Start of a past window, in ISO 8601."
)
@click.option(
    "--to", "end", type=MOMENT, metavar="TIME", help="End of a past window. Default: now."
)
@click.option("--live", is_flag=True, help="Measure the coming window; wait until it is over.")
@click.option(
    "--interval",
    "every",
    type=SOME_TIME,
    metavar="DURATION",
    help="Also measure each part of this length.",
)
@_DEPLOYMENT
@click.option(
    "--compare-baseline",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Compare with a file of `measure baseline` or of an earlier --output.",
)
@_OUTPUT
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Plot the intervals to a .svg file. A relative path is in the evidence folder.",
)
def _kpi(
    settings: Settings,
    duration: float | None,
    start: datetime | None,
    end: datetime | None,
    live: bool,
    every: float | None,
    deployment: Deployment,
    compare_baseline: Path | None,
    output: Path | None,
    plot: Path | None,
) -> int:
    """Measure availability, error rate, p95 latency, WebSockets and dashboard load time.

    All numbers come from raw samples of the metrics server, by the same computation for a past
    window and for one that --live has just waited for. The exit code is 1 if a target of
    rollout.yaml (objectives) is missed or the release is proven worse than the baseline, and 10 if
    there is too little traffic to tell. docs/measuring.md defines each KPI.
    """
    from tarsrelease.cli.session import carry_out

    if live and (start is not None or end is not None):
        raise click.UsageError("--live measures the coming window; leave --from and --to out")
    if start is not None and end is not None and duration is not None:
        raise click.UsageError("give two of --from, --to and --duration")

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.files.measured import kept_in, read_report, write_json, write_text
        from tarsrelease.model.step_details import KpiDetails
        from tarsrelease.report.kpi_plot import kpi_plot
        from tarsrelease.steps.measure_kpi import measure_kpi as step

        folder = session.evidence_folder
        baseline: KpiReport | None = None
        if compare_baseline is not None:
            baseline = read_report(kept_in(folder, compare_baseline, existing=True))
        measuring = measuring_in(session)
        window = None if live else _past(measuring, duration, start, end)
        seconds = window.seconds if window is not None else duration or _USUAL
        outcome = step(
            measuring,
            window,
            seconds=seconds,
            deployment=deployment,
            every=every or (seconds / 60 if plot is not None else None),
            baseline=baseline,
        )
        details = KpiDetails.of(outcome.details)
        if details is not None and output is not None:
            write_json(kept_in(folder, output), details.kpis)
        if details is not None and plot is not None:
            targets = measuring.assignment.rollout.objectives.targets
            write_text(kept_in(folder, plot), kpi_plot(details.kpis, targets))
        return outcome

    return carry_out(settings, "measure kpi", act, changes=False)


_USUAL = 300.0


def measuring_in(session: Session) -> Measuring:
    """What to measure with; the cluster is optional, as recorded samples name their pods."""
    from tarsrelease.model.errors import UsageError
    from tarsrelease.operations.kpis import Measuring
    from tarsrelease.wiring.context import recorded_metrics

    metrics = recorded_metrics(session.environment)
    try:
        workloads = session.context.cluster.workloads
    except UsageError as problem:
        session.progress.say(f"without the cluster: {problem}")
        workloads = None
    return Measuring(session.assignment, metrics, workloads)


def _past(
    measuring: Measuring, duration: float | None, start: datetime | None, end: datetime | None
) -> Window:
    """The past window that the options choose."""
    from tarsrelease.operations.kpis import Window

    given = measuring.last(duration or _USUAL)
    if start is None:
        return given if end is None else Window(end.timestamp() - given.seconds, end.timestamp())
    begin = start.timestamp()
    if end is not None:
        return Window(begin, end.timestamp())
    return Window(begin, given.end if duration is None else begin + duration)


kpi = command(
    "release:newest",
    "environment",
    "evidence",
    name="kpi",
    example="tarsrelease measure kpi --environment production --duration 30m "
    "--compare-baseline baseline_slos.json --output ga_first_30min_kpis.json\n"
    "tarsrelease measure kpi --environment production --live --duration 24h --interval 5m",
)(_kpi)
