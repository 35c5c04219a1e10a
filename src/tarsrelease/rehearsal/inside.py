"""The rehearsed release, as a process inside the cluster's network.

Installs the previous version, sends it traffic, and starts `tarsrelease run` as a person would,
while it injects the chosen faults. Prints the Outcome as JSON on standard output.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import yaml

from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.model.overrides import describe_overrides
from tarsrelease.rehearsal import world
from tarsrelease.rehearsal.faults import channels_of, expected_of
from tarsrelease.rehearsal.ground import Say, ground
from tarsrelease.rehearsal.options import DayOptions
from tarsrelease.rehearsal.receivers import Receivers, receivers
from tarsrelease.rehearsal.report_day import DayFacts, FaultReport, day_outcome

MESSAGES = "messages.jsonl"
"""In the evidence folder: what the receivers of the rehearsal got, a line each."""


def _play(
    options: DayOptions, environment: Environment, kubeconfig: str, people: Receivers
) -> Outcome:
    """Run `tarsrelease run` in its own process, with its live view on our standard error.

    Its messages go to the rehearsal's receivers, never to those of the environment file.
    """
    content = yaml.safe_load(Path(options.environment).read_text())
    told = Path(options.work) / "told" / f"{environment.name}.yaml"
    told.parent.mkdir(exist_ok=True)
    told.write_text(yaml.safe_dump(content | {"notifications": people.settings()}))
    argv = [sys.executable, "-m", "tarsrelease", "run", "--format", "json", "--yes"]
    argv += ["--release", options.release, "--environment", str(told)]
    argv += ["--evidence", options.evidence]
    argv += ["--stages", options.stages] if options.stages else []
    argv += ["--quiet"] if options.quiet else []
    environ = {**os.environ, "KUBECONFIG": kubeconfig, "TARSRELEASE_RUN": f"day-{os.getpid()}"}
    environ |= people.secrets
    if options.control is not None and environment.database is not None:
        environ[environment.database.dsn_env] = world.dsn(environment.kubernetes.namespace)
    done = subprocess.run(argv, env=environ, stdout=subprocess.PIPE, text=True, check=False)
    return Outcome.model_validate_json(done.stdout)


def play(options: DayOptions, say: Say) -> Outcome:
    """Run the rehearsal that `options` describe on the cluster of the current KUBECONFIG."""
    started_at = datetime.now(UTC)
    with ground(options, say) as there:
        with receivers(channels_of(there.faults)) as people:
            run = _play(options, there.environment, there.kubeconfig, people)
            people.write(Path(options.evidence) / MESSAGES)
        clients = there.load.report()
    return day_outcome(
        run,
        DayFacts(
            clients,
            faults=[
                FaultReport(fault.name, fault.expected, seconds)
                for fault, seconds in zip(there.faults, there.seconds_to_off(), strict=True)
            ],
            expected=expected_of(there.faults),
            overrides=describe_overrides(there.environment.overrides),
            ready_seconds=there.ready_seconds,
            evidence=options.evidence,
        ),
        next_step=_next(run, options),
        started_at=started_at,
        finished_at=datetime.now(UTC),
    )


def _next(run: Outcome, options: DayOptions) -> str:
    """The next step after the rehearsal; the embedded cluster has usually ended."""
    if options.control is None or run.error is not None:
        return run.next
    if run.verdict is Verdict.PROCEED:
        return ""
    return (
        f"tarsrelease canary explain {options.evidence} says why; on a cluster that stays "
        "(tarsrelease rehearse up, before the day) you can inspect it afterwards"
    )


def main() -> int:
    """Reads the options' JSON file named by the one argument; prints the Outcome's JSON."""
    options = DayOptions.model_validate_json(Path(sys.argv[1]).read_text())
    started_at = datetime.now(UTC)

    def say(line: str) -> None:
        if not options.quiet:
            sys.stderr.write(f"{line}\n")

    try:
        outcome = play(options, say)
    except ReleaseError as problem:
        outcome = Outcome(
            step="rehearse",
            release=None,
            environment=None,
            verdict=None,
            exit_code=problem.exit_code,
            summary=str(problem),
            error=problem.detail,
            started_at=started_at,
            finished_at=datetime.now(UTC),
        )
    sys.stdout.write(outcome.model_dump_json() + "\n")
    return int(outcome.exit_code)


if __name__ == "__main__":
    sys.exit(main())
