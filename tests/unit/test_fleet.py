"""The targets and waves of an environment file, and one outcome for several targets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tarsrelease.adapters.files.configuration import load_environment
from tarsrelease.adapters.terminal.person import Nobody
from tarsrelease.cli.fleet import Fleet
from tarsrelease.cli.session import Recording, Session, Work
from tarsrelease.cli.settings import Settings
from tarsrelease.model.errors import UsageError
from tarsrelease.model.outcome import ExitCode, Outcome, Verdict
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
