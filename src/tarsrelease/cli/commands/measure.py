"""tarsrelease measure kpi and baseline, and the group of `measure`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.measuring import (
    DEPLOYMENT,
    OUTPUT,
    Chosen,
    in_window,
    keep,
    measuring_command,
    measuring_in,
)
from tarsrelease.cli.options import SOME_TIME
from tarsrelease.cli.settings import Settings

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.kpis import KpiReport
    from tarsrelease.model.outcome import Outcome

measure = LazyGroup(
    "measure",
    help="Measure KPIs, SLOs, drift and WebSockets.",
    entries={
        "kpi": Entry(f"{__name__}:kpi", "Measure the KPIs of a window, live or past."),
        "baseline": Entry(f"{__name__}:baseline", "Measure production before a release."),
        "slo": Entry(f"{__name__}_slo:slo", "Watch the SLOs, and alert on breaches."),
        "drift": Entry(f"{__name__}_drift:drift", "Compare canary and stable, or with staging."),
        "websocket": Entry(
            f"{__name__}_websocket:websocket", "Cut WebSockets and see them come back."
        ),
        "load": Entry(f"{__name__}_load:load", "Let users request the product for some minutes."),
    },
)


@in_window
@click.option("--live", is_flag=True, help="Measure the coming window; wait until it is over.")
@click.option(
    "--interval",
    "every",
    type=SOME_TIME,
    metavar="DURATION",
    help="Also measure each part of this length.",
)
@DEPLOYMENT
@click.option(
    "--compare-baseline",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Compare with a file of `measure baseline` or of an earlier --output.",
)
@OUTPUT
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Plot the intervals to a .svg file. A relative path is in the evidence folder.",
)
def _kpi(settings: Settings, window: Chosen, **given: Any) -> int:
    """Measure availability, error rate, p95 latency, WebSockets and dashboard load time.

    All numbers come from raw samples of the metrics server, by the same computation for a past
    window and for one that --live has just waited for. The exit code is 1 if a target of
    rollout.yaml (objectives) is missed or the release is proven worse than the baseline, and 10 if
    there is too little traffic to tell. docs/measuring.md defines each KPI.
    """
    from tarsrelease.cli.session import carry_out

    if given["live"] and (window.start is not None or window.end is not None):
        raise click.UsageError("--live measures the coming window; leave --from and --to out")

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.files.measured import kept_in, read_report, write_text
        from tarsrelease.model.step_details import KpiDetails
        from tarsrelease.report.kpi_plot import kpi_plot
        from tarsrelease.steps.measure_kpi import measure_kpi as step

        folder, compared, plot = session.evidence_folder, given["compare_baseline"], given["plot"]
        baseline: KpiReport | None = None
        if compared is not None:
            baseline = read_report(kept_in(folder, compared, existing=True))
        measuring = measuring_in(session)
        past = None if given["live"] else window.of(measuring)
        seconds = window.seconds if past is None else past.seconds
        outcome = step(
            measuring,
            past,
            seconds=seconds,
            deployment=given["deployment"],
            every=given["every"] or (seconds / 60 if plot is not None else None),
            baseline=baseline,
        )
        details = KpiDetails.of(outcome.details)
        keep(session, given["output"], details and details.kpis)
        if details is not None and plot is not None:
            targets = measuring.assignment.rollout.objectives.targets
            write_text(kept_in(folder, session.own_file(plot)), kpi_plot(details.kpis, targets))
        return outcome

    return carry_out(settings, "measure kpi", act, changes=False)


kpi = measuring_command(
    name="kpi",
    example="tarsrelease measure kpi --environment production --duration 30m "
    "--compare-baseline baseline_slos.json --output ga_first_30min_kpis.json\n"
    "tarsrelease measure kpi --environment production --live --duration 24h --interval 5m",
)(_kpi)


def _baseline(settings: Settings, output: Path) -> int:
    """Measure production before a release, for every later comparison.

    Each criterion is measured over the window that rollout.yaml names (objectives.windows; 24 h for
    the availability). The file also has the Deployments and what each pod uses. The exit code is 1
    if a target is missed, and 10 if there is too little traffic to tell.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.model.step_details import KpiDetails
        from tarsrelease.steps.measure_baseline import measure_baseline as step

        outcome = step(measuring_in(session))
        details = KpiDetails.of(outcome.details)
        keep(session, output, details and details.kpis)
        return outcome

    return carry_out(settings, "measure baseline", act, changes=False)


baseline = measuring_command(
    name="baseline",
    example="tarsrelease measure baseline --environment production",
)(
    click.option(
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        default="baseline_slos.json",
        show_default=True,
        metavar="FILE",
        help="Write the numbers as JSON. A relative path is in the evidence folder.",
    )(_baseline)
)
