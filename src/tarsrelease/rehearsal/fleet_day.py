"""A rehearsal on several clusters: one release to all of them, wave by wave."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import TypeAdapter

from tarsrelease.adapters.files.configuration import load_environment
from tarsrelease.model.errors import ReleaseError, StoppedError, UnreachableError, UsageError
from tarsrelease.model.format import names
from tarsrelease.model.outcome import ExitCode, Outcome
from tarsrelease.model.overrides import describe_overrides
from tarsrelease.ports.people import Progress
from tarsrelease.rehearsal import world
from tarsrelease.rehearsal.clusters import Fleet, Member, clusters, target
from tarsrelease.rehearsal.day import (
    Prepared,
    Rehearsal,
    alone_on,
    derived,
    options_file,
    outcome_inside,
    prepared,
    work_of,
)
from tarsrelease.rehearsal.faults import channels_of, expected_of
from tarsrelease.rehearsal.ground import Failed, Ready, Report
from tarsrelease.rehearsal.report_day import DayFacts, FaultReport, day_outcome

_END = 15.0
_READY: TypeAdapter[Ready | Failed] = TypeAdapter(Ready | Failed)
_REPORT: TypeAdapter[Report | Failed] = TypeAdapter(Report | Failed)


@dataclass(frozen=True, slots=True)
class Waves:
    """The waves of a rehearsal: how many targets each has, and what a failure rolls back.

    The faults happen at the target `fault_at`, by default the last one.
    """

    sizes: tuple[int, ...]
    on_failure: Literal["wave", "all"] = "wave"
    fault_at: str | None = None

    @property
    def names(self) -> list[str]:
        """The targets in the order of the waves."""
        return [target(number) for number in range(1, sum(self.sizes) + 1)]

    @property
    def faulty(self) -> str:
        """The target with the faults."""
        return self.fault_at or self.names[-1]


def play(day: Rehearsal, waves: Waves, progress: Progress) -> Outcome:
    """Rehearse a release on one cluster for each target; clusters that it started end with it.

    Raises UsageError for wrong options before anything is started.
    """
    started_at = datetime.now(UTC)
    ready = prepared(day)
    _refuse(ready, waves)
    with ExitStack() as stack:
        fleet = stack.enter_context(clusters(day.name, len(waves.names), progress.say))
        for member in fleet.members:
            stack.enter_context(alone_on(member.cluster))
        grounds = [
            stack.enter_context(_ground(member, ready, faulty=member.name == waves.faulty))
            for member in fleet.members
        ]
        starts = [each.ready() for each in grounds]
        place = _environment(fleet, ready, waves)
        overrides = describe_overrides(load_environment(str(place)).overrides)
        run = _release(fleet, ready, place, [Path(start.kubeconfig) for start in starts])
        reports = {each.name: each.report() for each in grounds}
    took = reports[waves.faulty].seconds_to_off
    return day_outcome(
        run,
        DayFacts(
            _together({name: report.clients for name, report in reports.items()}),
            faults=[
                FaultReport(fault.name, fault.expected, seconds)
                for fault, seconds in zip(ready.faults, took, strict=True)
            ],
            expected=expected_of(ready.faults),
            overrides=overrides,
            ready_seconds=max(start.seconds for start in starts),
            evidence=str(day.evidence.absolute()),
        ),
        next_step=run.next if run.error is not None else "",
        started_at=started_at,
        finished_at=datetime.now(UTC),
    )


def _refuse(ready: Prepared, waves: Waves) -> None:
    day = ready.day
    elsewhere = "--images" if day.images else "--context" if day.context else None
    if elsewhere is not None or day.canary_paths or channels_of(ready.faults):
        raise UsageError(
            doing="rehearsing a release to several targets",
            found=elsewhere or ("--canary-path" if day.canary_paths else "a fault of the channels"),
            expected="the worked example on embedded clusters, without messages to people",
            next_step="omit it, or rehearse on one cluster, without --targets",
        )
    if waves.faulty not in waves.names:
        raise UsageError(
            doing="reading --fault-at",
            found=waves.faulty,
            expected=f"one of {names(waves.names)}",
            next_step="correct --fault-at",
        )


class _Ground:
    """The process that prepares one target, and keeps its load and its faults."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self._process = process

    def ready(self) -> Ready:
        """Wait until the target is ready. Raises ReleaseError if it cannot be prepared."""
        found = _READY.validate_json(self._line())
        if isinstance(found, Failed):
            raise _failure(self.name, found)
        return found

    def report(self) -> Report:
        """End the load and the faults, and return what came of them."""
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.close()
        found = _REPORT.validate_json(self._line())
        if isinstance(found, Failed):
            raise _failure(self.name, found)
        return found

    def _line(self) -> bytes:
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            raise StoppedError(
                doing=f"rehearsing a release at {self.name}",
                found=f"the process there ended with {self._process.wait()}",
                expected="a target with the previous version, and its load",
                next_step="see its messages above, and the cluster's logs in the cache",
            )
        return line


def _failure(name: str, failed: Failed) -> ReleaseError:
    detail = failed.error
    kind = UsageError if failed.exit_code == ExitCode.USAGE else UnreachableError
    return kind(
        doing=f"{detail.doing} ({name})",
        found=detail.found,
        expected=detail.expected,
        next_step=detail.next,
    )


@contextmanager
def _ground(member: Member, ready: Prepared, *, faulty: bool) -> Iterator[_Ground]:
    """Install the previous version at a target and send it traffic, until the block ends."""
    cluster = member.cluster
    options = ready.on_cluster(
        cluster,
        name=member.name,
        environment=_single(member, ready),
        staging=None,
        faults=tuple(ready.day.faults) if faulty else (),
    )
    argv = [sys.executable, "-m", "tarsrelease.rehearsal.ground", str(options_file(options))]
    with subprocess.Popen(
        cluster.enter_argv(argv),
        env=cluster.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the release, which moves traffic to safety first
    ) as process:
        try:
            yield _Ground(member.name, process)
        except BaseException:
            process.terminate()
            raise
        finally:
            try:
                process.wait(_END)
            except subprocess.TimeoutExpired:
                process.kill()


def _single(member: Member, ready: Prepared) -> str:
    """The environment of one target alone, in its own network."""
    return derived(ready.place, work_of(member.cluster), world.CONTEXT, ready.overrides)


def _environment(fleet: Fleet, ready: Prepared, waves: Waves) -> Path:
    """The environment with all targets."""
    one = yaml.safe_load(Path(_single(fleet.members[0], ready)).read_text())
    folder = work_of(fleet.runner) / "fleet"
    folder.mkdir(exist_ok=True)
    place = folder / ready.place.name
    content = fleet.environment(one, waves.sizes, waves.on_failure)
    place.write_text(yaml.safe_dump(content, sort_keys=False))
    return place


def _release(fleet: Fleet, ready: Prepared, place: Path, own: list[Path]) -> Outcome:
    """Run `tarsrelease run` on all targets, with its messages on our standard error."""
    cluster = fleet.runner
    options = ready.on_cluster(cluster, environment=str(place), staging=None)
    kubeconfig = fleet.kubeconfig(own, work_of(cluster) / "kubeconfig-fleet")
    argv = [sys.executable, "-m", "tarsrelease", "run", "--format", "json", "--yes"]
    argv += ["--release", options.release, "--environment", str(place)]
    argv += ["--evidence", options.evidence]
    argv += ["--stages", options.stages] if options.stages else []
    argv += ["--quiet"] if options.quiet else []
    run = {"TARSRELEASE_RUN": f"day-{os.getpid()}"}
    return outcome_inside(cluster, argv, {**cluster.env, **run, **fleet.variables(kubeconfig)})


def _together(reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The load generators' reports added up, with each target's own in `by_target`."""
    statuses: Counter[str] = Counter()
    for report in reports.values():
        statuses.update(report["by_status"])
    totals = {
        key: sum(int(report[key]) for report in reports.values())
        for key in ("sent", "answered", "lost")
    }
    return {**totals, "by_status": dict(statuses), "by_target": dict(reports)}
