"""What a rehearsed release finds: the previous version with its load, and the faults to come.

As a process inside a cluster's network, it prepares one of several targets: it writes a `Ready` to
standard output, waits for the end of its standard input, and writes a `Report`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from tarsrelease.adapters.clock import SystemClock
from tarsrelease.adapters.files.configuration import load_environment, load_release
from tarsrelease.adapters.terminal.person import Nobody
from tarsrelease.adapters.terminal.progress import progress_on
from tarsrelease.context import Assignment, Context, People
from tarsrelease.model.base import Value
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import ReleaseError, UnreachableError, UsageError
from tarsrelease.model.format import duration, names
from tarsrelease.model.outcome import ErrorDetail
from tarsrelease.model.release import Release, Run, RunOptions
from tarsrelease.rehearsal import control, world
from tarsrelease.rehearsal.access import as_service_account
from tarsrelease.rehearsal.access import kubectl as run_kubectl
from tarsrelease.rehearsal.canary_load import SHARE, CanaryLoad
from tarsrelease.rehearsal.faults import Fault, parse_fault, rate_of
from tarsrelease.rehearsal.injector import Injector
from tarsrelease.rehearsal.install import install, together
from tarsrelease.rehearsal.load import Aim, Load, Sockets
from tarsrelease.rehearsal.options import DayOptions
from tarsrelease.rehearsal.paths import source_root
from tarsrelease.rehearsal.state import StateFolder
from tarsrelease.rehearsal.target import ClusterTarget
from tarsrelease.wiring.context import connect

Say = Callable[[str], None]

_RUN = Run(id="rehearsal", owner="rehearsal")
_FIRST_ANSWERS = 20.0
_PATHS = {
    "orchestration-agent": ("/api/v1/websocket/stats", "/api/v1/agents"),
    "insight-engine": ("/api/v1/traces/recent", "/api/v1/traces/stats"),
    "dashboard-api": ("/api/v1/missions?limit=20", "/grafana/d/tars-overview"),
}
"""Paths that clients request; of any other service, those of its smoke test."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A cluster that is ready for the release. `kubeconfig` is that of the release's account."""

    environment: Environment
    kubeconfig: str
    faults: Sequence[Fault]
    load: Load
    injector: Injector
    ready_seconds: float

    def seconds_to_off(self) -> list[float | None]:
        """For each fault, the seconds from its beginning to no traffic on the canary."""
        return [self.injector.seconds_to_off(fault) for fault in self.faults]


class Ready(Value):
    """A target that is ready for the release: after how long, and the kubeconfig to use."""

    seconds: float
    kubeconfig: str


class Report(Value):
    """What came of a target: the load generator's report, and `Ground.seconds_to_off`."""

    clients: dict[str, Any]
    seconds_to_off: tuple[float | None, ...]


class Failed(Value):
    """Why a target could not be prepared."""

    exit_code: int
    error: ErrorDetail


def aims(
    release: Release, environment: Environment, rate: float, given: Sequence[str] = ()
) -> list[Aim]:
    """The load: `rate` requests per second, spread evenly over services and their paths.

    `given` are the paths to request instead.
    """
    found: list[Aim] = []
    services = release.rollout.services
    for service in services:
        paths = (
            tuple(given) or _PATHS.get(service.name) or tuple(smoke.path for smoke in service.smoke)
        )
        host = environment.gateway.hostnames[service.hosts[0]]
        found += [Aim(host, path, rate / len(services) / len(paths)) for path in paths]
    return found


def _websocket_host(release: Release, environment: Environment) -> str:
    """The host name of the worked example's WebSocket; empty without one."""
    hosts = [each.hosts[-1] for each in release.rollout.services if "/ws" in each.paths]
    return environment.gateway.hostnames[hosts[0]] if hosts else ""


def _install(options: DayOptions, context: Context, say: Say) -> None:
    previous = load_release(options.previous, context.environment)
    if options.setup is not None:
        _install_product(options, context.with_release(previous), say)
        return
    tasks = [partial(install, context.with_release(previous), say=say)]
    if options.staging is not None:
        staging = load_environment(options.staging)
        release = load_release(options.release, staging)
        staged = connect(Assignment(release, staging, _RUN, context.people, context.clock))
        tasks.append(partial(install, staged, say=say))
    together(*tasks)


def _install_product(options: DayOptions, context: Context, say: Say) -> None:
    """Install another product as its users have it, and adopt the routes that it brings along."""
    environment, services = context.environment, context.rollout.services
    kubectl, namespace = options.tools["kubectl"], environment.kubernetes.namespace
    # An earlier rehearsal on this cluster has adopted the routes, which Helm would not take back.
    run_kubectl(kubectl, "delete", "namespace", namespace, "--ignore-not-found", "--timeout=50s")
    run_kubectl(kubectl, "apply", "--filename", str(options.setup))
    install(context, say=say, route=False)
    if len(context.cluster.routes.read(services)) == len(services):
        argv = [sys.executable, "-m", "tarsrelease", "route", "adopt", "--evidence", options.work]
        argv += ["--release", options.release, "--environment", options.environment]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UsageError(
                doing=f"adopting the routes in {environment.kubernetes.namespace}",
                found=(done.stdout + done.stderr).strip(),
                expected="routes that tarsrelease may split",
                next_step="fix what it says, then rehearse again",
            )
        say("the routes are adopted")
    else:
        context.cluster.routes.shift(services, 0, {})


def _wait_for_answers(load: Load) -> None:
    """Wait until one second's requests are all answered without an error."""
    deadline = time.monotonic() + _FIRST_ANSWERS
    while time.monotonic() < deadline:
        load.reset()
        time.sleep(0.5)  # the period to measure, not a wait for something
        seen = load.report()
        good = sum(count for status, count in seen["by_status"].items() if status.startswith("2"))
        if good and good == seen["answered"] and not seen["lost"]:
            return
    seen = load.report()
    refused = [
        path
        for path, each in seen["by_path"].items()
        if each["answered"] and not each["good"] and not each["lost"]
    ]
    if refused:
        raise UsageError(
            doing="sending traffic to the installed version",
            found=f"it never answers {names(refused)} with a status of 2xx: {seen['by_status']}",
            expected="paths that stable answers, so that a failure is the new version's",
            next_step="leave the path out, or request it of the canary alone: "
            f"--canary-path {refused[0]}",
        )
    raise UnreachableError(
        doing="sending traffic to the installed version",
        found=f"after {duration(_FIRST_ANSWERS)} still {seen['by_status']}",
        expected="a response to every request",
        next_step="inspect the pods and the routes with `tarsrelease rehearse shell`",
    )


@contextmanager
def ground(options: DayOptions, say: Say) -> Iterator[Ground]:
    """Install the previous version on the cluster of the current KUBECONFIG, and send it traffic.

    Faults are injected until the block ends.
    """
    begun = time.monotonic()
    faults = [parse_fault(text) for text in options.faults]
    environment = load_environment(options.environment)
    asked = tuple(map(int, options.stages.split(","))) if options.stages else None
    release = load_release(options.release, environment, RunOptions(stages=asked))
    watchers = People(Nobody(), progress_on(sys.stderr, quiet=options.quiet, verbose=False))
    context = connect(Assignment(release, environment, _RUN, watchers, SystemClock()))
    admin = os.environ["KUBECONFIG"]
    kubectl = [*options.tools["kubectl"]]
    if environment.kubernetes.context:
        kubectl += ["--context", environment.kubernetes.context]
    _install(options, context, say)
    runner = admin
    if options.control is not None and (options.setup is None or options.role is not None):
        rights = source_root() / "rbac"
        role = Path(options.role) if options.role else rights / "role.yaml"
        target = Path(options.work) / "kubeconfig-tarsrelease"
        namespace = environment.kubernetes.namespace
        runner = str(as_service_account(kubectl, namespace, role, Path(admin), target))
        if environment.metrics != "prometheus":
            more = str(rights / "pod-metrics.yaml")
            run_kubectl(kubectl, "apply", "--namespace", namespace, "--filename", more)
    with ExitStack() as stack:
        rate = rate_of(faults, options.rate)
        load = stack.enter_context(
            Load(
                list(options.tools["loadgen"]),
                environment.gateway.address,
                aims(release, environment, options.rate, options.paths),
                world.LOAD_REPORT,
                sockets=Sockets(options.websockets, _websocket_host(release, environment)),
            )
        )
        _wait_for_answers(load)
        disturbed = _target(options, context, kubectl)
        stages = {stage.weight: stage.duration for stage in context.rollout.stages}
        injector = Injector(tuple(faults), disturbed, say, stages=stages)
        injector.set_up()
        load.rate(rate)
        injector.make_stable_ill()
        load.reset()
        ready_seconds = time.monotonic() - begun
        say(f"{release.rollout.application} serves {rate:g} requests/s ({duration(ready_seconds)})")
        stack.enter_context(injector)
        if options.canary_paths:
            stack.enter_context(
                CanaryLoad(
                    list(options.tools["loadgen"]),
                    environment.gateway,
                    aims(release, environment, SHARE * options.rate, options.canary_paths),
                    disturbed.canary_weight,
                    say,
                )
            )
        yield Ground(environment, runner, faults, load, injector, ready_seconds)


def _target(options: DayOptions, context: Context, kubectl: list[str]) -> ClusterTarget:
    return ClusterTarget(
        context.release.rollout.services,
        context.environment.kubernetes.namespace,
        cluster=context.cluster,
        kubectl=kubectl,
        control=partial(control.ask, Path(options.control)) if options.control else None,
        prometheus=StateFolder(Path(options.control).parent).data / "prometheus.yml"
        if options.control
        else None,
    )


def main() -> int:
    """Reads the options' JSON file named by the one argument; the exit code."""
    options = DayOptions.model_validate_json(Path(sys.argv[1]).read_text())

    def say(line: str) -> None:
        if not options.quiet:
            sys.stderr.write(f"{options.name}: {line}\n")

    def tell(value: Value) -> None:
        sys.stdout.write(value.model_dump_json() + "\n")
        sys.stdout.flush()

    def end(number: int, _frame: object) -> NoReturn:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        with ground(options, say) as there:
            tell(Ready(seconds=there.ready_seconds, kubeconfig=there.kubeconfig))
            sys.stdin.read()  # until the release is over
            clients = there.load.report()
        tell(Report(clients=clients, seconds_to_off=tuple(there.seconds_to_off())))
    except ReleaseError as problem:
        tell(Failed(exit_code=int(problem.exit_code), error=problem.detail))
        return int(problem.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
