"""tarsrelease measure kpi, baseline, slo, drift and websocket"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.options import MOMENT, SOME_TIME, Written
from tarsrelease.cli.settings import Settings, command
from tarsrelease.model import quantities
from tarsrelease.model.sockets import parse_cuts

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tarsrelease.cli.session import Session
    from tarsrelease.model.kpis import KpiReport
    from tarsrelease.model.objectives import KpiTargets
    from tarsrelease.model.outcome import Outcome
    from tarsrelease.operations.kpis import Deployment, Measuring, Window

measure = LazyGroup(
    "measure",
    help="Measure KPIs, SLOs, drift and WebSockets.",
    entries={
        "kpi": Entry(f"{__name__}:kpi", "Measure the KPIs of a window, live or past."),
        "baseline": Entry(f"{__name__}:baseline", "Measure production before a release."),
        "slo": Entry(f"{__name__}:slo", "Watch the SLOs, and alert on breaches."),
        "drift": Entry(f"{__name__}:drift", "Compare canary and stable, or with staging."),
        "websocket": Entry(f"{__name__}:websocket", "Cut WebSockets and see them come back."),
    },
)

_USUAL = 300.0


@dataclass(frozen=True)
class Chosen:
    """The window that --duration, --from and --to choose: five minutes until now by default."""

    duration: float | None
    start: datetime | None
    end: datetime | None

    def __post_init__(self) -> None:
        if None not in (self.duration, self.start, self.end):
            raise click.UsageError("give two of --from, --to and --duration")

    @property
    def seconds(self) -> float:
        """Its length, if it begins or ends now."""
        return self.duration or _USUAL

    def of(self, measuring: Measuring) -> Window:
        """The window in the past."""
        from tarsrelease.operations.kpis import Window

        given = measuring.last(self.seconds)
        if self.start is None:
            end = given.end if self.end is None else self.end.timestamp()
            return Window(end - self.seconds, end)
        begin = self.start.timestamp()
        if self.end is not None:
            return Window(begin, self.end.timestamp())
        return Window(begin, given.end if self.duration is None else begin + self.duration)


def _window(function: Callable[..., int]) -> Callable[..., int]:
    """Adds --duration, --from and --to; the function gets them as one `window`."""

    @click.option(
        "--duration",
        type=SOME_TIME,
        metavar="DURATION",
        help="Length of the window, which ends now by default. Default: 5m.",
    )
    @click.option(
        "--from", "start", type=MOMENT, metavar="TIME", help="Start of a past window, in ISO 8601."
    )
    @click.option(
        "--to", "end", type=MOMENT, metavar="TIME", help="End of a past window. Default: now."
    )
    @functools.wraps(function)
    def gathered(settings: Settings, **given: Any) -> int:
        window = Chosen(*(given.pop(name) for name in ("duration", "start", "end")))
        return function(settings, window=window, **given)

    return gathered


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


@_window
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
        _keep(session, given["output"], details and details.kpis)
        if details is not None and plot is not None:
            targets = measuring.assignment.rollout.objectives.targets
            write_text(kept_in(folder, plot), kpi_plot(details.kpis, targets))
        return outcome

    return carry_out(settings, "measure kpi", act, changes=False)


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


def _keep(session: Session, output: Path | None, numbers: BaseModel | None) -> None:
    """Writes what was measured, if anything was, to the file of --output."""
    from tarsrelease.adapters.files.measured import kept_in, write_json

    if output is not None and numbers is not None:
        write_json(kept_in(session.evidence_folder, output), numbers)


_measuring = functools.partial(command, "release:newest", "environment", "evidence")


kpi = _measuring(
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
        _keep(session, output, details and details.kpis)
        return outcome

    return carry_out(settings, "measure baseline", act, changes=False)


baseline = _measuring(
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


@click.option(
    "--window",
    type=SOME_TIME,
    default="5m",
    show_default=True,
    metavar="DURATION",
    help="How much of the past each evaluation covers.",
)
@click.option(
    "--every",
    type=SOME_TIME,
    default="30s",
    show_default=True,
    metavar="DURATION",
    help="Time between two evaluations.",
)
@click.option(
    "--duration",
    type=SOME_TIME,
    metavar="DURATION",
    help="How long to watch. Default: until it is interrupted.",
)
@click.option("--once", is_flag=True, help="Evaluate once. A scheduler can repeat it.")
@_DEPLOYMENT
@click.option(
    "--threshold-availability",
    type=click.FloatRange(0, 100),
    metavar="PERCENT",
    help="Least availability, such as 99.0. Default: the target in rollout.yaml.",
)
@click.option(
    "--threshold-latency-p95",
    type=click.FloatRange(0, min_open=True),
    metavar="MS",
    help="Latency that the 95th percentile must stay below, such as 120.",
)
@click.option(
    "--threshold-error-rate",
    type=click.FloatRange(0, 100),
    metavar="PERCENT",
    help="Error rate that must not be reached, such as 2.0.",
)
@click.option(
    "--alert-webhook",
    envvar="TARSRELEASE_ALERT_WEBHOOK",
    show_envvar=True,
    metavar="URL",
    help="Address that takes a JSON message (Slack's form). Better given by the variable.",
)
@_OUTPUT
def _slo(settings: Settings, **given: Any) -> int:
    """Watch the SLOs in real time, with error budget and burn rates.

    An alert is sent once when a target is missed, and once when it is met again. Burn rates follow
    the Google SRE workbook: 14.4 over 1 h and 5 m, 6 over 6 h and 30 m, 1 over 3 d and 6 h. The
    exit code is that of the last evaluation: 1 if a target is missed, 10 if there is too little
    traffic to tell.
    """
    from tarsrelease.cli.session import carry_out

    if given["once"] and given["duration"] is not None:
        raise click.UsageError("give --once or --duration, not both")

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.channels.alert_webhook import AlertWebhook
        from tarsrelease.model.step_details import SloDetails
        from tarsrelease.steps.measure_slo import Watching
        from tarsrelease.steps.measure_slo import measure_slo as step

        measuring = measuring_in(session)
        lasting = 0.0 if given["once"] else given["duration"] or _FOREVER
        watching = Watching(
            deployment=given["deployment"],
            targets=_targets(measuring.assignment.rollout.objectives.targets, given),
            window=given["window"],
            every=given["every"],
            lasting=lasting,
        )
        address = given["alert_webhook"]
        webhook = AlertWebhook(address, session.environment.name) if address else None
        outcome = step(measuring, watching, webhook.tell if webhook else None)
        _keep(session, given["output"], SloDetails.of(outcome.details))
        return outcome

    return carry_out(settings, "measure slo", act, changes=False)


_FOREVER = 3650 * 86400.0


def _targets(targets: KpiTargets, given: Mapping[str, Any]) -> KpiTargets:
    """The targets, with the thresholds that the options give."""
    found = {
        "availability": (given["threshold_availability"], 100),
        "latency_p95": (given["threshold_latency_p95"], 1000),
        "error_rate": (given["threshold_error_rate"], 100),
    }
    update = {name: value / unit for name, (value, unit) in found.items() if value is not None}
    return targets.model_copy(update=update)


slo = _measuring(
    name="slo",
    example="tarsrelease measure slo --environment production --deployment canary "
    "--threshold-latency-p95 120 --duration 10m\n"
    "tarsrelease measure slo --environment production --once",
)(_slo)


@click.option(
    "--deployment",
    "--canary-deployment",
    "deployment",
    type=click.Choice(["canary", "stable", "all"]),
    help="Whose pods to compare. Default: canary; all with --compare-to.",
)
@click.option(
    "--baseline",
    "--stable-deployment",
    "beside",
    type=click.Choice(["canary", "stable", "all"]),
    default="stable",
    show_default=True,
    help="Whose pods to compare with.",
)
@click.option(
    "--compare-to",
    metavar="NAME",
    help="Compare with this environment, such as staging, instead of stable.",
)
@_window
@click.option(
    "--interval",
    "every",
    type=SOME_TIME,
    metavar="DURATION",
    help="Also compare each part of this length.",
)
@click.option(
    "--within",
    type=Written("share", quantities.parse_share),
    metavar="PERCENT",
    help="Largest distance of the good requests, such as 5%. Default: that of rollout.yaml.",
)
@_OUTPUT
def _drift(settings: Settings, window: Chosen, **given: Any) -> int:
    """Compare the canary with stable, or one environment with another, metric by metric.

    Errors are judged as by checks of kind compare, slow requests as by drift, memory as by
    like_stable. For each metric of each service it shows both sides, the effect with a 95 %
    interval, and the result. The exit code is 1 if something is proven worse, and 10 if there is
    too little traffic to tell.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.files.configuration import load_environment
        from tarsrelease.model.step_details import DriftDetails
        from tarsrelease.operations.kpis import Measuring
        from tarsrelease.steps.measure_drift import measure_drift as step
        from tarsrelease.wiring.context import recorded_metrics

        measuring = measuring_in(session)
        other, beside = measuring, given["beside"]
        whose: Deployment = given["deployment"] or (
            "canary" if given["compare_to"] is None else "all"
        )
        if given["compare_to"] is not None:
            there = load_environment(given["compare_to"])
            other = Measuring(session.assignment.with_environment(there), recorded_metrics(there))
            beside = "all"
        outcome = step(
            (measuring, whose),
            (other, beside),
            window.of(measuring),
            within=given["within"],
            every=given["every"],
        )
        details = DriftDetails.of(outcome.details)
        _keep(session, given["output"], details and details.drift)
        return outcome

    return carry_out(settings, "measure drift", act, changes=False)


drift = _measuring(
    name="drift",
    example="tarsrelease measure drift --environment production --duration 10m\n"
    "tarsrelease measure drift --environment production --compare-to staging --duration 24h "
    "--interval 15m",
)(_drift)


@click.option(
    "--duration",
    type=SOME_TIME,
    default="1m",
    show_default=True,
    metavar="DURATION",
    help="How long to keep connections open and cut them.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="Number of connections at the same time.",
)
@click.option(
    "--cut-every",
    type=SOME_TIME,
    default="5s",
    show_default=True,
    metavar="DURATION",
    help="How long each connection talks before it is cut.",
)
@click.option(
    "--idle",
    type=SOME_TIME,
    default="10s",
    show_default=True,
    metavar="DURATION",
    help="How long an idle connection is silent.",
)
@click.option(
    "--cuts",
    type=Written("cuts", parse_cuts),
    default="close,drop,idle",
    show_default=True,
    metavar="LIST",
    help="How to cut, in turn: an orderly close, a network drop, silence.",
)
@click.option("--url", metavar="URL", help="Address of the service. Default: the gateway's.")
@click.option("--path", default="/ws", show_default=True, help="Path of the WebSocket.")
@click.option(
    "--deployment",
    type=click.Choice(["canary", "all"]),
    default="all",
    show_default=True,
    help="canary: send the canary's header.",
)
@_OUTPUT
def _websocket(settings: Settings, **given: Any) -> int:
    """Open real WebSockets, cut them, and measure sessions, times and messages.

    Clients send numbered messages, come back to their session within five tries and send again what
    was not echoed. Connections that the server closes are counted, too. The exit code is 1 if fewer
    sessions come back than the target (objectives.targets.reconnection_success, 99.9 %) or a
    message is lost.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.websocket.probe import SocketProbe
        from tarsrelease.model.sockets import SocketPlan
        from tarsrelease.model.step_details import WebSocketDetails
        from tarsrelease.steps.measure_websocket import measure_websocket as step
        from tarsrelease.wiring.sockets import place

        plan = SocketPlan(
            seconds=given["duration"],
            connections=given["connections"],
            every=given["cut_every"],
            idle=given["idle"],
            cuts=given["cuts"],
        )
        assignment, whose = session.assignment, given["deployment"]
        where = place(assignment, given["url"], given["path"], canary=whose == "canary")
        outcome = step(assignment, SocketProbe(where), plan, deployment=whose)
        details = WebSocketDetails.of(outcome.details)
        _keep(session, given["output"], details and details.websocket)
        return outcome

    return carry_out(settings, "measure websocket", act, changes=False)


websocket = _measuring(
    name="websocket",
    example="tarsrelease measure websocket --environment production --duration 10m "
    "--output websocket_health_ga.json",
)(_websocket)
