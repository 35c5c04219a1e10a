"""tarsrelease rehearse, and the commands for its cluster"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.options import STAGE_DURATION_OPTION, STAGES_OPTION, Written
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.details import Details
    from tarsrelease.model.outcome import Outcome


def _sizes(text: str) -> tuple[int, ...]:
    """The sizes of ``1,2``."""
    sizes = text.split(",")
    if not all(size.isdigit() and int(size) for size in sizes):
        raise ValueError(f"{text} is not a list of numbers of targets, such as 1,2")
    return tuple(map(int, sizes))


_DEFAULT = "default"
_NAME = click.option(
    "--name",
    default=_DEFAULT,
    show_default=True,
    metavar="NAME",
    help="Name of the rehearsal cluster.",
)


@_NAME
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME",
    help="Fault to inject, such as errors or latency@25. Repeatable.",
)
@STAGE_DURATION_OPTION
@STAGES_OPTION
@click.option(
    "--rate", type=float, default=300.0, show_default=True, help="Load in requests per second."
)
@click.option(
    "--context", metavar="NAME", help="Use the cluster of this kubeconfig context instead."
)
@click.option(
    "--environment", metavar="NAME", help="Environment instead of environments/rehearsal.yaml."
)
@click.option(
    "--images",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Rehearse your own product: the file with the local command of each image.",
)
@click.option(
    "--previous",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Bundle that runs first, with --images. Default: an older one next to --release, else a "
    "copy.",
)
@click.option(
    "--role",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Role that the release has, with --images. Default: rbac/tarsrelease.yaml.",
)
@click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="PATH",
    help="Path that the load requests instead of the smoke tests'. Repeatable.",
)
@click.option(
    "--canary-path",
    "canary_paths",
    multiple=True,
    metavar="PATH",
    help="Path that the load requests of the canary alone, from 10 % on. Repeatable.",
)
@click.option(
    "--targets",
    type=click.IntRange(min=2, max=32),
    metavar="NUMBER",
    help="Rehearse a release to so many clusters, region-1, region-2 and so on; --rate is that of "
    "each.",
)
@click.option(
    "--waves",
    type=Written("waves", _sizes),
    metavar="SIZES",
    help="Number of targets in each wave, such as 1,2. Default: one, then the others.",
)
@click.option(
    "--on-failure",
    type=click.Choice(["wave", "all"]),
    default="wave",
    show_default=True,
    help="What a failing target rolls back, with --targets: its wave, or all waves so far.",
)
@click.option(
    "--fault-at",
    metavar="TARGET",
    help="Where --fault happens, with --targets. Default: the last target.",
)
def _rehearse(
    settings: Settings,
    targets: int | None,
    waves: tuple[int, ...] | None,
    on_failure: Literal["wave", "all"],
    fault_at: str | None,
    **given: Any,
) -> int:
    """Rehearse a whole release on a real Kubernetes API, started for it on this machine.

    It installs T.A.R.S. 1.0.0, sends it traffic, and takes 1.0.1 through verify, every canary stage
    and promotion. With --fault, the release ends as it would in production: rolled back (exit code
    11) or held (10).

    With --images, it rehearses your own bundle with your own environment (docs/your-product.md).
    With --targets, it releases to several clusters in waves (docs/waves.md).
    """
    if click.get_current_context().invoked_subcommand is not None:
        return 0
    if targets is None and (waves or fault_at or on_failure != "wave"):
        raise click.UsageError("--waves, --on-failure and --fault-at need --targets")
    if targets is not None and waves is not None and sum(waves) != targets:
        raise click.UsageError(f"--waves has {sum(waves)} targets, and --targets {targets}")
    from tarsrelease.cli.session import DEFAULT_EVIDENCE, carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.rehearsal.day import Rehearsal, play

        evidence = settings.evidence or DEFAULT_EVIDENCE
        day = Rehearsal(evidence=evidence, release=settings.release, quiet=settings.quiet, **given)
        if targets is None:
            return play(day, session.progress)
        from tarsrelease.rehearsal import fleet_day

        chosen = fleet_day.Waves(waves or (1, targets - 1), on_failure, fault_at)
        return fleet_day.play(day, chosen, session.progress)

    return carry_out(settings, "rehearse", act, changes=False)


rehearse = command(
    "release",
    "evidence",
    name="rehearse",
    example="tarsrelease rehearse\n"
    "tarsrelease rehearse --fault errors --stages 1,10,100\n"
    "tarsrelease rehearse --targets 3 --waves 1,2\n"
    "tarsrelease rehearse --release release/v1_4_0 --environment production --images images.yaml\n"
    "tarsrelease rehearse up && tarsrelease rehearse shell -- kubectl get pods -A",
    cls=LazyGroup,
    invoke_without_command=True,
    entries={
        "up": Entry(f"{__name__}:up", "Start a cluster and leave it running."),
        "down": Entry(f"{__name__}:down", "Stop the cluster and remove it."),
        "status": Entry(f"{__name__}:status", "Show what runs in the cluster."),
        "shell": Entry(f"{__name__}:shell", "Open a shell, or run one command, in its network."),
    },
)(_rehearse)


def _report(settings: Settings, step: str, act: Callable[[Session], tuple[str, Details]]) -> int:
    """Run `act`, which returns a summary and details, as a step that succeeds or raises."""
    from tarsrelease.cli.session import Recording, carry_out

    def whole(session: Session) -> Outcome:
        from tarsrelease.model.outcome import Outcome, Verdict, exit_code_of

        started_at = datetime.now(UTC)
        summary, details = act(session)
        return Outcome(
            step=step,
            release=None,
            environment=None,
            verdict=Verdict.PROCEED,
            exit_code=exit_code_of(Verdict.PROCEED),
            summary=summary,
            details=details,
            started_at=started_at,
            finished_at=datetime.now(UTC),
        )

    return carry_out(settings, step, whole, changes=False, recording=Recording.WHEN_ASKED)


def _shell_of(name: str) -> str:
    return "tarsrelease rehearse shell" + ("" if name == _DEFAULT else f" --name {name}")


@_NAME
def _up(settings: Settings, name: str) -> int:
    """Start a cluster (Kubernetes, Traefik, Prometheus, databases) and leave it running."""

    def act(session: Session) -> tuple[str, Details]:
        from tarsrelease.model.step_details import ClusterUpDetails
        from tarsrelease.rehearsal import commands, world

        cluster = commands.up(name, session.progress.say)
        facts = ClusterUpDetails(kubeconfig=str(cluster.kubeconfig), context=world.CONTEXT)
        return f"the cluster {name} is up; `{_shell_of(name)}` opens a shell in it", facts

    return _report(settings, "rehearse up", act)


@_NAME
def _down(settings: Settings, name: str) -> int:
    """Stop the cluster and remove everything except its logs."""

    def act(session: Session) -> tuple[str, Details]:
        from tarsrelease.model.details import Details
        from tarsrelease.rehearsal import commands

        commands.down(name, session.progress.say)
        return f"the cluster {name} is down", Details()

    return _report(settings, "rehearse down", act)


@_NAME
def _status(settings: Settings, name: str) -> int:
    """Show what runs in the cluster, and since when."""

    def act(_session: Session) -> tuple[str, Details]:
        from tarsrelease.model.step_details import ClusterPart, ClusterStatusDetails
        from tarsrelease.rehearsal import commands

        found = commands.status(name)
        facts = ClusterStatusDetails(
            phase=found.phase,
            pid=found.pid,
            kubeconfig=str(found.kubeconfig) if found.kubeconfig else None,
            addresses=dict(found.addresses),
            versions=dict(found.versions),
            parts=tuple(ClusterPart.model_validate(part) for part in found.parts),
        )
        others = [other for other in commands.running() if other != name]
        also = f"; other clusters: {', '.join(others)}" if others else ""
        return f"the cluster {name} is {found.phase}{also}", facts

    return _report(settings, "rehearse status", act)


@_NAME
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
def _shell(settings: Settings, name: str, argv: tuple[str, ...]) -> int:
    """Open a shell in the cluster's network, or run one command there.

    KUBECONFIG is set, and kubectl and helm are on PATH. The exit status is that of the command.
    """
    from tarsrelease.cli.outcomes import failed, print_outcome
    from tarsrelease.model.errors import ReleaseError
    from tarsrelease.rehearsal import commands

    started_at = datetime.now(UTC)
    try:
        return commands.shell(name, list(argv) or None)
    except ReleaseError as problem:
        outcome = failed("rehearse shell", problem, started_at=started_at)
        print_outcome(outcome, settings.format)
        return int(outcome.exit_code)


up = command(name="up", example="tarsrelease rehearse up")(_up)
down = command(name="down", example="tarsrelease rehearse down")(_down)
status = command(name="status", example="tarsrelease rehearse status --format json")(_status)
shell = command(
    name="shell",
    example="tarsrelease rehearse shell -- kubectl get pods --all-namespaces",
)(_shell)
