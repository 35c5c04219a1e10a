"""The targets and waves of an environment file, and one outcome for several targets."""

from __future__ import annotations

import gc
import os
import signal
import weakref
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any

import pytest
import yaml

from tarsrelease.adapters.files.configuration import load_environment
from tarsrelease.adapters.files.evidence_file import read_segments
from tarsrelease.adapters.terminal.person import Nobody
from tarsrelease.cli import main
from tarsrelease.cli.fleet import Fleet, everywhere
from tarsrelease.cli.session import Recording, Session, Work
from tarsrelease.cli.settings import Settings
from tarsrelease.evidence.chain import prove
from tarsrelease.model.errors import UsageError
from tarsrelease.model.outcome import Check, ExitCode, Outcome, Status, Verdict
from tarsrelease.rollout.fleet import fleet_outcome

ROOT = Path(__file__).parents[2]
TARGETS: list[dict[str, Any]] = [
    {
        "name": "eu-1",
        "region": "eu",
        "kubernetes": {"context": "eu-1", "namespace": "tars"},
        "helm": {"values": {"replicas": 3, "share": 0.5}, "values_files": ["eu.yaml"]},
    },
    {
        "name": "us-1",
        "kubernetes": {"context": "us-1", "namespace": "tars"},
        "prometheus": {"url": "https://us.example/prometheus", "match": 'cluster="us-1"'},
    },
]
WAVES: list[dict[str, Any]] = [{"targets": ["eu-1"], "bake": "30m"}, {"targets": ["us-1"]}]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """An environment file with two targets."""
    place = yaml.safe_load((ROOT / "environments" / "production.yaml").read_text())
    place |= {"targets": TARGETS, "waves": WAVES}
    (tmp_path / "eu.yaml").write_text("zone: eu\nreplicas: 1\n")
    path = tmp_path / "production.yaml"
    path.write_text(yaml.safe_dump(place))
    return path


def test_a_section_of_a_target_replaces_the_environments(written: Path) -> None:
    found = load_environment(str(written))
    eu, us = (found.at(target) for target in found.targets)
    assert (eu.name, us.name) == ("production/eu-1", "production/us-1")
    assert (eu.kubernetes.context, us.kubernetes.context) == ("eu-1", "us-1")
    assert eu.helm.values == {"zone": "eu", "replicas": 3, "share": 0.5}
    assert us.helm == found.helm
    assert eu.prometheus == found.prometheus
    assert us.prometheus.match == 'cluster="us-1"'
    assert eu.gateway == found.gateway
    assert (eu.targets, eu.waves) == ((), ())
    assert eu.overrides.budget_share == us.overrides.budget_share == 0.25


@pytest.mark.parametrize(
    ("targets", "waves", "said"),
    [
        (TARGETS, WAVES[:1], "no wave has the target us-1"),
        (TARGETS, [*WAVES, {"targets": ["eu-1"]}], "eu-1 is in two waves"),
        (TARGETS, [*WAVES, {"targets": ["eu-2"]}], "eu-2 is not one of the targets"),
        ([*TARGETS, TARGETS[0]], WAVES, "eu-1 is listed twice"),
        (
            [TARGETS[0], {**TARGETS[1], "kubernetes": TARGETS[0]["kubernetes"]}],
            WAVES,
            "two are the namespace tars of the context eu-1",
        ),
        ([], WAVES, "eu-1 is not one of the targets"),
        ([{**TARGETS[0], "kubernets": {}}], WAVES[:1], "did you mean kubernetes?"),
    ],
)
def test_mistakes_are_found_when_the_file_is_read(
    written: Path, targets: list[Any], waves: list[Any], said: str
) -> None:
    place = yaml.safe_load(written.read_text()) | {"targets": targets, "waves": waves}
    written.write_text(yaml.safe_dump(place))
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        load_environment(str(written))


def fleet_of(written: Path, count: int) -> Session:
    """A session on an environment with that many targets in one wave."""
    place = yaml.safe_load(written.read_text())
    names = [f"t{number}" for number in range(count)]
    place["targets"] = [
        {"name": name, "kubernetes": {"context": name, "namespace": "tars"}} for name in names
    ]
    place["waves"] = [{"targets": names}]
    written.write_text(yaml.safe_dump(place))
    return Session(Settings(environment=str(written), evidence=written.parent, quiet=True))


def ended(there: Session) -> Outcome:
    """A step that is done."""
    now = there.clock.now()
    return Outcome(
        step="rollback",
        release="1.0.1",
        environment=there.environment.name,
        verdict=Verdict.PROCEED,
        exit_code=ExitCode.DONE,
        summary="all traffic is on stable",
        started_at=now,
        finished_at=now,
    )


def test_a_rollback_goes_to_all_targets_at_once_however_many_they_are(written: Path) -> None:
    count = 150
    session, together = fleet_of(written, count), Barrier(count)

    def act(there: Session) -> Outcome:
        together.wait(60)  # breaks unless all of them are at work
        return ended(there)

    outcome = everywhere(session, Work("rollback", act, Recording.ALWAYS))
    assert outcome.exit_code is ExitCode.DONE, outcome.summary
    assert len(outcome.details.targets) == count
    (chain,) = prove(read_segments(written.parent))
    assert (chain.status, chain.samples) == (Status.PASS, count)


@pytest.mark.parametrize(("count", "lines"), [(10, 10), (150, 1)])
def test_the_progress_of_many_targets_is_summed_up(
    written: Path, count: int, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = fleet_of(written, count).settings
    session = Session(replace(settings, quiet=False))

    def act(there: Session) -> Outcome:
        there.progress.say("removing the canary")
        return ended(there)

    everywhere(session, Work("rollback", act, Recording.ALWAYS))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == lines
    assert all(line.endswith(": removing the canary") for line in said)
    assert ("and 145 more" in said[0]) is (lines == 1)


def test_files_are_read_once_for_all_targets(written: Path) -> None:
    session = Session(Settings(environment=str(written), evidence=written.parent, quiet=True))
    assert session.environment.name == "production"
    written.unlink()
    fleet = Fleet(session, Nobody())
    found = fleet.each(["eu-1", "us-1"], Work("rollback", ended, Recording.ALWAYS), 2)
    assert [one.environment for one in found.values()] == ["production/eu-1", "production/us-1"]


def test_a_target_that_is_rolled_back_interrupts_the_others(written: Path) -> None:
    session = Session(Settings(environment=str(written), evidence=written.parent, quiet=True))
    moved: list[str] = []

    def act(there: Session) -> Outcome:
        now = there.clock.now()
        if there.settings.target == "eu-1":
            return Outcome(
                step="run",
                release="1.0.1",
                environment=there.environment.name,
                verdict=Verdict.ROLLBACK,
                exit_code=ExitCode.ROLLBACK,
                summary="bad",
                started_at=now,
                finished_at=now,
            )
        try:
            there.clock.sleep(600)
        except KeyboardInterrupt:
            there.clock.sleep(0.01)  # moving the traffic may wait
            moved.append(there.environment.name)
            raise
        raise AssertionError("it was not interrupted")

    work = Work("run", act, Recording.ALWAYS)
    found = Fleet(session, Nobody()).each(["eu-1", "us-1"], work, 2)
    codes = [outcome.exit_code for outcome in found.values()]
    assert codes == [ExitCode.ROLLBACK, ExitCode.INTERRUPTED]
    assert moved == ["production/us-1"]
    outcome = fleet_outcome("production", found, *([datetime.now(UTC)] * 2))
    assert outcome.exit_code is ExitCode.INTERRUPTED


def test_a_proven_failure_interrupts_the_others_and_not_the_rollbacks_that_have_begun(
    written: Path,
) -> None:
    session, others_are = fleet_of(written, 4), Event()
    rolling_back = Barrier(2)

    def act(there: Session) -> Outcome:
        try:
            if there.settings.target in ("t0", "t1"):
                assert there._others is not None
                there._others.fails()
                rolling_back.wait(60)  # both at once
                assert others_are.wait(60)
                there.clock.sleep(0.5)
                return ended(there)
            there.clock.sleep(60)
        except KeyboardInterrupt:
            others_are.set()
            raise
        raise AssertionError("it was not interrupted")

    names = [target.name for target in session.environment.targets]
    found = Fleet(session, Nobody()).each(names, Work("run", act, Recording.ALWAYS), 4)
    codes = [found[name].exit_code for name in names]
    assert codes == [ExitCode.DONE] * 2 + [ExitCode.INTERRUPTED] * 2


def test_two_signals_in_a_row_interrupt_every_target(written: Path) -> None:
    count = 40
    session, together = fleet_of(written, count), Barrier(count + 1)

    def act(there: Session) -> Outcome:
        together.wait(60)
        there.clock.sleep(60)
        raise AssertionError("it was not interrupted")

    def ends_it() -> None:
        together.wait(60)
        for number in (signal.SIGINT, signal.SIGTERM) * 50:
            os.kill(os.getpid(), number)

    sender = Thread(target=ends_it)
    sender.start()
    fleet = Fleet(session, Nobody())
    names = [target.name for target in session.environment.targets]
    found = fleet.each(names, Work("run", act, Recording.ALWAYS), count)
    sender.join()
    assert {one.exit_code for one in found.values()} == {ExitCode.INTERRUPTED}


def test_a_signal_that_comes_too_late_for_the_targets_is_not_lost(written: Path) -> None:
    session = Session(Settings(environment=str(written), evidence=written.parent, quiet=True))

    def act(there: Session) -> Outcome:
        if there.settings.target == "us-1":
            os.kill(os.getpid(), signal.SIGINT)
        return ended(there)

    with pytest.raises(KeyboardInterrupt):
        Fleet(session, Nobody()).each(["eu-1", "us-1"], Work("watch", act, Recording.ALWAYS), 2)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (["--target", "eu-1", "--wave", "1"], "both --wave 1 and the target eu-1"),
        (["--wave", "1"], "--wave 1, but the environment production has no targets"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["hold", "--reason", "a reason"],
        ["rollback", "--reason", "a reason"],
        ["canary", "gate", "--stage", "10"],
        ["promote"],
        ["check", "preflight"],
        ["measure", "baseline"],
        ["migrate", "status"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_a_choice_of_targets_that_makes_no_sense_is_refused(
    written: Path,
    command: list[str],
    where: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(written.parent)
    if "--target" not in where:
        place = yaml.safe_load(written.read_text())
        del place["targets"], place["waves"]
        written.write_text(yaml.safe_dump(place))
    release = ["--release", str(ROOT / "release" / "v1_0_1")]
    with pytest.raises(SystemExit) as done:
        main([*command, *release, "--environment", str(written), *where, "--quiet"])
    assert done.value.code == ExitCode.USAGE
    assert said in capsys.readouterr().out


def test_a_target_that_is_misspelled_is_named_without_all_the_others(
    written: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(written.parent)
    fleet_of(written, 300)
    with pytest.raises(SystemExit) as done:
        main(["status", "--environment", str(written), "--target", "t2999", "--quiet"])
    assert done.value.code == ExitCode.USAGE
    said = capsys.readouterr().out
    assert "t19 and 280 more" in said
    assert "--target t299\n" in said


def test_validate_says_how_one_of_the_targets_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["validate", "--target", "eu-1", "--environment", "production"])
    assert done.value.code == ExitCode.USAGE
    assert "--at eu-1 chooses one of the environment's targets" in capsys.readouterr().err


def test_what_a_target_leaves_behind_is_collected_while_the_others_go_on(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tarsrelease.cli.fleet._COLLECTED_EVERY", 0.0)
    session = Session(Settings(environment=str(written), evidence=written.parent, quiet=True))
    gone = Event()

    class Samples:
        def __init__(self) -> None:
            self.me = self

    def act(there: Session) -> Outcome:
        if there.settings.target == "eu-1":
            weakref.finalize(Samples(), gone.set)
        elif not gone.wait(60):
            raise AssertionError("it is still there")
        return ended(there)

    gc.disable()
    try:
        work = Work("run", act, Recording.ALWAYS)
        found = Fleet(session, Nobody()).each(["eu-1", "us-1"], work, 2)
    finally:
        gc.enable()
    assert {one.exit_code for one in found.values()} == {ExitCode.DONE}


def checked(name: str, *checks: Check) -> Outcome:
    """A preflight at a target with these results."""
    now = datetime.now(UTC)
    return Outcome(
        step="check preflight",
        release="1.0.1",
        environment=f"production/{name}",
        verdict=Verdict.NO_GO if checks else Verdict.PROCEED,
        exit_code=ExitCode.NO if checks else ExitCode.DONE,
        summary="no-go",
        checks=checks,
        started_at=now,
        finished_at=now,
    )


def test_the_outcome_of_several_targets_says_which_checks_failed_where() -> None:
    quota = {"id": "preflight.quota", "expected": "", "source": ""}
    failed = Check(status=Status.FAIL, reason="2 CPUs are missing\nof 8", **quota)
    unknown = Check(status=Status.ERROR, reason="no answer", **quota)
    found = {f"t{number}": checked(f"t{number}", failed, failed) for number in range(7)}
    found["t7"], found["t8"] = checked("t7", unknown), checked("t8")
    outcome = fleet_outcome("production", found, *([datetime.now(UTC)] * 2))
    assert outcome.details.table is not None
    assert outcome.details.table.rows == (
        ("FAIL", "preflight.quota", "", "t0, t1, t2, t3, t4 and 2 more", "2 CPUs are missing"),
        ("ERROR", "preflight.quota", "", "t7", "no answer"),
    )
    well = fleet_outcome("production", {"t8": found["t8"]}, *([datetime.now(UTC)] * 2))
    assert well.details.table is None


def test_the_dashboard_of_a_fleet_shows_targets_that_do_not_answer(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = {"server": "http://127.0.0.1:1"}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "away", "cluster": server}],
        "users": [{"name": "one", "user": {"token": "a-token"}}],
        "contexts": [
            {"name": name, "context": {"cluster": "away", "user": "one"}}
            for name in ("eu-1", "us-1")
        ],
    }
    (written.parent / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(written.parent / "kubeconfig"))
    monkeypatch.chdir(written.parent)
    out = written.parent / "fleet.html"
    asked = ["dashboard", "--environment", str(written), "--out", str(out), "--quiet"]
    with pytest.raises(SystemExit) as done:
        main([*asked, "--release", str(ROOT / "release" / "v1_0_1")])
    assert done.value.code == 0
    shown = out.read_text()
    assert "Not in order: 2 of 2" in shown
    assert "Wave 2: 1 targets" in " ".join(shown.split())
    assert not (written.parent / "evidence").exists(), "nothing is recorded"
