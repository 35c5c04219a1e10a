"""The command line: help, exit codes, one Outcome out, and which arguments reach which step."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from bundle_samples import commit_all, write_sources

from tarsrelease.adapters.clock import SystemClock
from tarsrelease.adapters.files.bundle_build import build_bundle
from tarsrelease.adapters.files.evidence_file import EvidenceFile
from tarsrelease.cli import main
from tarsrelease.cli.app import root
from tarsrelease.cli.exit_code_help import EXIT_CODES
from tarsrelease.cli.lazy import LazyGroup
from tarsrelease.cli.overview import COMMANDS, overview
from tarsrelease.cli.session import this_run
from tarsrelease.context import Assignment
from tarsrelease.model.errors import (
    LockedError,
    RefusedError,
    ReleaseError,
    StoppedError,
    UnreachableError,
    UsageError,
)
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.outcome import ExitCode, Outcome, Verdict, exit_code_of
from tarsrelease.operations.tasks import result_of
from tarsrelease.steps.run import ReleaseSteps

T = datetime(2026, 1, 1, tzinfo=UTC)
PLACE = ("--environment", "place")
WHAT = ("--release", "release/v1_2_0")


def outcome(verdict: Verdict = Verdict.PROCEED) -> Outcome:
    return Outcome(
        step="step",
        release="1.2.0",
        environment="place",
        verdict=verdict,
        exit_code=exit_code_of(verdict),
        summary="done",
        started_at=T,
        finished_at=T,
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a built bundle and an environment, and the current one."""
    sources = write_sources(tmp_path)
    commit_all(sources.root)
    build_bundle(sources.source, "1.2.0", sources.out)
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_RUN_ID", "GITHUB_JOB", "TARSRELEASE_RUN", "TARSRELEASE_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(*arguments: str) -> int:
    """One command in this process. Returns its exit code."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tarsrelease", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def commands(group: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The way to every command that does something."""
    if not isinstance(group, LazyGroup):
        return [path]
    found = [path] if group.invoke_without_command else []
    for name in group.entries:
        command = group.get_command(click.Context(group), name)
        assert command is not None
        found += commands(command, (*path, name))
    return found


ALL = commands(root)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_has_an_example_and_leads_to_the_exit_codes(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*path, "--help") == 0
    text = capsys.readouterr().out
    assert f"tarsrelease {' '.join(path)}" in text.split("Example:")[1]
    assert "See tarsrelease --help for the exit codes." in text
    assert "an outside system" not in text, "the table stands once, in the overview"


def test_the_example_of_every_command_is_one_that_parses() -> None:
    for path in ALL:
        command: click.Command = root
        for name in path:
            assert isinstance(command, LazyGroup)
            found = command.get_command(click.Context(command), name)
            assert found is not None
            command = found
        assert command.help is not None
        example = command.help.split("Example:\n")[1].split("\n\n")[0]
        for line in example.splitlines():
            for part in line.strip().split(" && "):
                parses(shlex.split(part)[1:])


def parses(words: list[str]) -> None:
    """Raise click's error where these arguments do not fit their command."""
    command: click.Command = root
    while words and isinstance(command, LazyGroup) and words[0] in command.entries:
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    command.make_context("tarsrelease", words)


def test_the_overview_and_the_version_need_no_library() -> None:
    program = (
        "import sys\nfrom tarsrelease.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(sorted(sys.modules), file=sys.stderr)\n"
    )
    for flag in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", program, flag], capture_output=True, text=True, check=True
        )
        for module in ("click", "pydantic", "yaml", "rich", "kubernetes", "typing"):
            assert f"'{module}'" not in done.stderr or module == "typing"
    done = subprocess.run(
        [sys.executable, "-c", program, "canary", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    for module in ("pydantic", "yaml", "rich", "kubernetes"):
        assert f"'{module}'" not in done.stderr


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert capsys.readouterr().out == overview()
    assert run("-h", "--version") == 0  # by way of click: the same text
    assert capsys.readouterr().out.strip() == overview().strip()
    assert all(f"\n  {name}" in overview() for name in COMMANDS)
    for line in EXIT_CODES.splitlines()[2:]:
        assert line.strip() in overview()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("verfy",), "Did you mean tarsrelease verify?"),
        (("canary", "gaet"), "Did you mean tarsrelease canary gate?"),
        (("xyzzy",), "Commands: verify, bundle"),
        (("verify", "--ofline"), "--offline"),
        (("canary", "gate"), "Missing option '--stage'"),
        (("schema", "roll"), "there are: rollout, environment"),
    ],
)
def test_a_mistyped_command_gets_a_suggestion(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert run(*arguments, "--format", "json") == 2
    assert said in Outcome.model_validate_json(capsys.readouterr().out).summary


class TestOutcomes:
    """What comes out of a step, whatever it does."""

    @pytest.fixture(autouse=True)
    def _project(self, project: Path) -> None:
        self.project = project

    def ending(self, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Outcome]) -> None:
        """Let `status` end as `act` does, on no cluster."""
        monkeypatch.setattr("tarsrelease.wiring.context.connect", stand_in)
        monkeypatch.setattr("tarsrelease.steps.status.status", lambda *_, **__: act())

    @pytest.mark.parametrize("verdict", list(Verdict))
    def test_a_verdict_has_its_exit_code(
        self, verdict: Verdict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.ending(monkeypatch, lambda: outcome(verdict))
        assert run("status", *PLACE, "--format", "json") == exit_code_of(verdict)
        assert Outcome.model_validate_json(capsys.readouterr().out).verdict is verdict

    @pytest.mark.parametrize(
        ("kind", "code"),
        [
            (UsageError, 2),
            (RefusedError, 1),
            (UnreachableError, 69),
            (LockedError, 75),
            (StoppedError, 12),
        ],
    )
    def test_a_foreseen_error_is_an_outcome_in_four_lines(
        self,
        kind: type[ReleaseError],
        code: int,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def fails() -> Outcome:
            raise kind(doing="this", found="that", expected="other", next_step="do")

        self.ending(monkeypatch, fails)
        assert run("status", *PLACE) == code
        text = capsys.readouterr().out
        for label, said in {
            "doing": "this",
            "found": "that",
            "expected": "other",
            "next": "do",
        }.items():
            assert f"  {label:<9} {said}\n" in text
        assert "Traceback" not in text
        assert run("status", *PLACE, "--format", "json", "--debug") == code
        printed = capsys.readouterr()
        parsed = Outcome.model_validate_json(printed.out)
        assert (parsed.exit_code, parsed.verdict, parsed.release) == (code, None, "1.2.0")
        assert "Traceback" not in printed.err

    def test_a_bug_is_70_and_shows_its_traceback_only_when_asked(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fails() -> Outcome:
            raise ZeroDivisionError("oh")

        self.ending(monkeypatch, fails)
        assert run("status", *PLACE) == 70
        printed = capsys.readouterr()
        assert "\nBUG IN TARSRELEASE  status" in printed.out
        assert "ZeroDivisionError: oh (test_cli.py:" in printed.out
        assert "Traceback" not in printed.out + printed.err
        assert run("status", *PLACE, "--debug") == 70
        assert "Traceback" in capsys.readouterr().err

    def test_an_interrupt_is_130(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fails() -> Outcome:
            raise KeyboardInterrupt

        self.ending(monkeypatch, fails)
        assert run("status", *PLACE) == 130
        assert "tarsrelease rollback" in capsys.readouterr().out

    def test_changing_commands_record_evidence_and_reading_ones_when_asked(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("tarsrelease.wiring.context.connect", stand_in)
        monkeypatch.setattr("tarsrelease.steps.promote.promote", lambda *_, **__: outcome())
        self.ending(monkeypatch, outcome)
        assert run("status", *PLACE) == 0
        assert run("verify") == 0
        assert run("promote", *PLACE) == 2  # no --release: nothing was touched
        assert not (self.project / "evidence").exists()
        assert run("promote", *PLACE, *WHAT) == 0
        assert "evidence/evidence.jsonl (record 1)" in capsys.readouterr().out
        assert run("status", *PLACE, "--evidence", "evidence") == 0
        assert "(record 2)" in capsys.readouterr().out
        assert run("report", "evidence", "evidence") == 0

    def test_the_day_records_by_itself_and_only_what_ends_it_early_is_added(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def day(_: object, steps: ReleaseSteps, __: object) -> Outcome:
            assert steps.evidence is not None
            steps.evidence.append(outcome())
            if ends_early:
                raise KeyboardInterrupt
            return outcome()

        ends_early = False
        monkeypatch.setattr("tarsrelease.wiring.context.connect", stand_in)
        monkeypatch.setattr("tarsrelease.steps.run.run_release", day)
        for early, records in ((False, 1), (True, 3)):
            ends_early = early
            run("run", *PLACE, *WHAT, "--evidence", "there")
            assert "there/evidence.jsonl" in capsys.readouterr().out
            lines = (self.project / "there/evidence.jsonl").read_text().splitlines()
            assert len(lines) == records

    def test_evidence_that_cannot_be_written_stops_it_before_anything_is_done(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def acts(*_: object, **__: object) -> Outcome:
            raise AssertionError("the step was reached")

        monkeypatch.setattr("tarsrelease.wiring.context.connect", acts)
        (self.project / "file").touch()
        assert run("promote", *PLACE, *WHAT, "--evidence", "file/x") == 2

    def test_overrides_are_part_of_every_outcome(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = self.project / "environments/place.yaml"
        path.write_text(path.read_text() + "overrides: {stage_duration: 20s}\n")
        self.ending(monkeypatch, outcome)
        assert run("status", *PLACE) == 0
        assert "Overridden by the environment: stage duration: 20s" in capsys.readouterr().out


def stand_in(assignment: Assignment, _heads: Any) -> SimpleNamespace:
    """A context with a word for each port that says which one it is."""
    parts = ("routes", "workloads", "charts", "journal", "lock", "facts")
    return SimpleNamespace(
        release=assignment.release,
        environment=assignment.environment,
        run=assignment.run,
        cluster=SimpleNamespace(**{part: f"port {part}" for part in parts}, gateway="port web"),
        metrics=SimpleNamespace(samples="port metrics", external="port elsewhere"),
        people=assignment.people,
        clock="port clock",
    )


@pytest.mark.parametrize(
    ("arguments", "step", "own"),
    [
        (("canary", "deploy"), "canary_deploy.deploy", ()),
        (("canary", "gate", "--stage", "canary-10"), "canary_gate.gate", (10, None)),
        (("canary", "gate", "--stage", "100%"), "canary_gate.gate", (100, None)),
        (
            ("canary", "gate", "--wait", "--stage", "10", "--for", "20m"),
            "canary_gate_wait.wait",
            (10, 1200.0),
        ),
        (("canary", "gate", "--wait"), "canary_gate_wait.wait", (None, None)),
        (
            ("canary", "gate", "--observe", "--for", "5m"),
            "canary_gate_observe.judge_external",
            (None, 300.0),
        ),
        (
            ("canary", "gate", "--stage", "10", "--lifted-by", "Ada", "--reason", "low traffic"),
            "canary_gate.gate",
            (10, Lifting(by="Ada", reason="low traffic")),
        ),
        (("promote",), "promote.promote", ()),
        (("rollback", "--reason", "P0"), "rollback.rollback", ("P0",)),
        (("rollback", "--plan"), "rollback.plan_rollback", (None,)),
        (("status",), "status.status", ()),
        (("run", "--plan", "--stages", "100"), "run.plan_release", None),
        (("run", "--yes"), "run.run_release", None),
    ],
)
def test_arguments_reach_the_step(
    arguments: tuple[str, ...],
    step: str,
    own: tuple[object, ...] | None,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`own` are those after the context; None: not compared here."""
    got: list[Any] = []
    connected: list[SimpleNamespace] = []

    def record(*given: Any, **_: Any) -> Outcome:
        got.append(given)
        return outcome()

    def connect(*given: Any) -> SimpleNamespace:
        connected.append(stand_in(*given))
        return connected[-1]

    monkeypatch.setattr("tarsrelease.wiring.context.connect", connect)
    monkeypatch.setattr(f"tarsrelease.steps.{step}", record)
    monkeypatch.setenv("TARSRELEASE_RUN", "this-run")
    assert run(*arguments, *WHAT, *PLACE, "--quiet") == 0
    (context, *given) = got[0]
    assert [context] == connected, "the session's one context"
    assert (context.release.version, context.environment.name) == ("1.2.0", "place")
    assert context.run.id == "this-run"
    if own is not None:
        assert tuple(given) == own
    if "--stages" in arguments:
        assert [stage.weight for stage in context.release.rollout.stages] == [100]
    if "--yes" in arguments:
        assert context.people.person.approves("?")
        assert not context.people.person.attended
        (steps, _) = given
        assert callable(steps.verify)
        assert isinstance(steps.evidence, EvidenceFile)


@pytest.mark.parametrize(
    ("left_out", "reason"),
    [((), "no production_validation_suite.py"), (("--leave-out", "validate=it is late"), "late")],
)
def test_a_run_without_its_suite_says_so(
    left_out: tuple[str, ...], reason: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Outcome] = []

    def day(_: object, steps: ReleaseSteps, __: object) -> Outcome:
        found.append(result_of(SystemClock(), steps.validate()))
        return outcome()

    monkeypatch.setattr("tarsrelease.wiring.context.connect", stand_in)
    monkeypatch.setattr("tarsrelease.steps.run.run_release", day)
    assert run("run", *WHAT, *PLACE, "--yes", "--quiet", *left_out) == 0
    assert [check.status for check in found[0].checks] == ["skipped"]
    assert reason in found[0].summary


def test_a_step_is_left_out_with_a_reason_only(project: Path) -> None:
    assert run("run", *WHAT, *PLACE, "--leave-out", "validate=") == 2
    assert run("run", *WHAT, *PLACE, "--leave-out", "preflight=it is late") == 2


@pytest.mark.parametrize("stage", ["0", "101", "-1", "ten", "", "25", "1.5"])
def test_a_stage_that_is_none_is_refused(
    stage: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run("canary", "gate", f"--stage={stage}", *WHAT, *PLACE, "--format", "json")
    assert code == 2
    assert "--stage" in Outcome.model_validate_json(capsys.readouterr().out).summary


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--wait", "--observe"), "one of them"),
        (("--stage", "10", "--lifted-by", "Ada"), "--reason TEXT"),
        (("--stage", "10", "--reason", "why"), "--lifted-by NAME"),
        (("--stage", "10", "--lifted-by", "two\nlines", "--reason", "why"), "one line"),
        (("--stage", "10", "--lifted-by", "Ada", "--reason", " "), "one line"),
        (("--wait", "--lifted-by", "Ada", "--reason", "why"), "--stage only"),
        (("--stage", "10", "--for", "5m"), "--for with --wait or --observe"),
        (("--wait", "--for", "5"), "30m"),
        (("--observe", "--for", "0s"), "more than 0s"),
    ],
)
def test_flags_of_the_gate_that_do_not_go_together(
    flags: tuple[str, ...], said: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("canary", "gate", *flags, *WHAT, *PLACE, "--format", "json") == 2
    outcome = Outcome.model_validate_json(capsys.readouterr().out)
    assert outcome.error is not None
    assert said in f"{outcome.error.found}, {outcome.error.expected}"


def test_no_kubernetes_is_a_clear_message(project: Path) -> None:
    path = project / "environments/place.yaml"
    path.write_text(path.read_text().replace("{namespace: demo}", "{namespace: demo, context: c}"))
    done = process("status", *PLACE, "--format", "json", KUBECONFIG=str(project / "none"))
    assert done.returncode == 2
    assert "kubeconfig" in json.loads(done.stdout)["error"]["doing"]


def test_rehearse_hands_everything_to_the_day(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    got: dict[str, Any] = {}

    def play(day: Any, _progress: Any) -> Outcome:
        got.update(asdict(day))
        return outcome(Verdict.ROLLBACK)

    monkeypatch.setattr("tarsrelease.rehearsal.day.play", play)
    code = run(
        *("rehearse", "--fault", "errors", "--fault", "memory", "--stage-duration", "20s"),
        *("--stages", "1,100", "--name", "x", "--evidence", str(tmp_path), "--context", "kind"),
        "--quiet",
    )
    assert code == 11
    assert got == {
        "name": "x",
        "faults": ("errors", "memory"),
        "stage_duration": 20.0,
        "stages": (1, 100),
        "images": None,
        "previous": None,
        "role": None,
        "paths": (),
        "canary_paths": (),
        "context": "kind",
        "evidence": tmp_path,
        "rate": 300.0,
        "release": None,
        "environment": None,
        "quiet": True,
    }


def test_the_rehearsal_clusters_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[str, str]] = []

    def up(name: str, say: Callable[[str], None]) -> SimpleNamespace:
        say("starting")
        calls.append(("up", name))
        return SimpleNamespace(kubeconfig=Path("kubeconfig"))

    def shell(name: str, argv: list[str] | None) -> int:
        calls.append((f"shell {argv}", name))
        return 7

    monkeypatch.setattr("tarsrelease.rehearsal.commands.up", up)
    monkeypatch.setattr("tarsrelease.rehearsal.commands.shell", shell)
    assert run("rehearse", "up", "--name", "x", "--format", "json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["details"]["context"] == "rehearsal"
    assert "starting" in printed.err
    assert run("rehearse", "shell", "--name", "x", "--", "kubectl", "get", "pods", "-A") == 7
    assert calls == [("up", "x"), ("shell ['kubectl', 'get', 'pods', '-A']", "x")]


def test_a_run_is_named_after_the_ci_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "TARSRELEASE_RUN"):
        monkeypatch.delenv(name, raising=False)
    assert this_run().id != this_run().id
    assert "@" in this_run().owner
    monkeypatch.setenv("GITHUB_RUN_ID", "77")
    monkeypatch.setenv("GITHUB_RUN_ATTEMPT", "2")
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.example")
    monkeypatch.setenv("GITHUB_REPOSITORY", "o/r")
    assert this_run().id == "77-2"
    assert this_run().owner == "https://github.example/o/r/actions/runs/77"
    monkeypatch.setenv("TARSRELEASE_RUN", "mine")
    assert this_run().id == "mine"


def test_a_cancelled_job_ends_as_an_interrupt(project: Path) -> None:
    program = (
        "import sys, time\n"
        "import tarsrelease.wiring.context as wiring, tarsrelease.steps.status as status\n"
        "def wait(*_, **__):\n    print('ready', file=sys.stderr, flush=True)\n"
        "    while True:\n        time.sleep(0.1)\n"  # a signal just before a sleep cannot end it
        "from unittest.mock import MagicMock\n"
        "wiring.connect = lambda *_: MagicMock()\n"
        "status.status = wait\n"
        "from tarsrelease.cli import main\n"
        "main(['status', '--environment', 'place', '--format', 'json'])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        assert running.stderr.readline() == "ready\n"
        running.send_signal(signal.SIGTERM)
        printed, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert Outcome.model_validate_json(printed).exit_code is ExitCode.INTERRUPTED
    assert "Traceback" not in said


def test_a_reader_that_has_seen_enough_is_no_error(project: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "tarsrelease", "verify", "release/v1_2_0"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_help_comes_at_once() -> None:
    """A coarse guard; benchmarks/startup.py measures against the budget of 150 ms."""
    times = []
    for _ in range(3):
        began = time.process_time_ns(), time.perf_counter()
        assert process("--help").returncode == 0
        times.append(time.perf_counter() - began[1])
    assert min(times) < 1.0
