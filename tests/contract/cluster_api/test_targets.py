"""Commands on several targets: two namespaces of a real API server, and a cluster that is away."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from bare_api import BareApi

from tarsrelease.adapters.files.configuration import load_environment, load_release
from tarsrelease.adapters.files.evidence_file import outcomes_in
from tarsrelease.adapters.helm.releases import Helm
from tarsrelease.adapters.kubernetes.client import HTTP_ROUTE, SERVICE, KubernetesApi
from tarsrelease.adapters.kubernetes.routes import GatewayRoutes
from tarsrelease.cli import main
from tarsrelease.model.outcome import ExitCode
from tarsrelease.operations.traffic import timestamp

ROOT = Path(__file__).parents[3]
RELEASE = ROOT / "release" / "v1_0_1"


@pytest.fixture
def spaces(api: BareApi) -> list[str]:
    """Two namespaces."""
    names = [f"t-{uuid.uuid4().hex[:10]}" for _ in range(2)]
    for name in names:
        api.kubectl("create", "namespace", name)
        api.kubectl("create", "serviceaccount", "default", "--namespace", name)
    return names


@pytest.fixture
def environment(
    api: BareApi, spaces: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An environment file with the two namespaces as targets, and a cluster that is away."""
    kubeconfig = json.loads(api.kubeconfig().read_text())
    kubeconfig["clusters"].append({"name": "away", "cluster": {"server": "https://127.0.0.1:1"}})
    kubeconfig["contexts"].append(
        {"name": "away", "context": {"cluster": "away", "user": "bearer"}}
    )
    path = tmp_path / "kubeconfig.json"
    path.write_text(json.dumps(kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setenv("TARSRELEASE_HELM", api.programs["helm"][0])
    monkeypatch.chdir(tmp_path)
    place = yaml.safe_load((ROOT / "environments" / "rehearsal.yaml").read_text())
    at = [("bare", spaces[0]), ("bare", spaces[1]), ("away", spaces[0])]
    names = ["one", "two", "away"]
    place["targets"] = [
        {"name": name, "kubernetes": {"context": context, "namespace": namespace}}
        for name, (context, namespace) in zip(names, at, strict=True)
    ]
    place["waves"] = [{"targets": ["one", "two"]}, {"targets": ["away"]}]
    file = tmp_path / "rehearsal.yaml"
    file.write_text(yaml.safe_dump(place))
    return file


def at_ten(environment: Path) -> list[KubernetesApi]:
    """1.0.0 is installed in both namespaces, and the canary gets 10 % of the traffic in both."""
    found, apis = load_environment(str(environment)), []
    release = load_release(RELEASE, found)
    chart = str(RELEASE.parent / "v1_0_0" / "tars-1.0.0.tgz")
    for target in found.targets[:2]:
        namespace = target.kubernetes.namespace
        api = KubernetesApi.connect("bare", namespace)
        Helm("bare", namespace).upgrade(
            "tars", chart, [], values_from=None, deadline=60, wait=False
        )
        for service in release.rollout.services:
            body = {"metadata": {"name": service.canary.service}, "spec": {"ports": [{"port": 80}]}}
            api.create(SERVICE, body)
        until = timestamp(datetime.now(UTC) + timedelta(hours=1))
        GatewayRoutes(api, found.gateway).shift(
            release.rollout.services, 10, {"stage": "canary-10", "traffic-until": until}
        )
        apis.append(api)
    return apis


def run(*arguments: str, environment: Path) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--release", str(RELEASE), "--environment", str(environment), "--quiet"])
    return int(ended.value.code or 0)


def test_status_shows_the_fleet_and_a_cluster_that_is_away(
    environment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at_ten(environment)
    assert run("status", "--format", "json", environment=environment) == ExitCode.UNREACHABLE
    captured = capsys.readouterr()
    assert captured.err == "", "the logs of libraries are for --verbose"
    outcome = json.loads(captured.out)
    rows = {row["target"]: row for row in outcome["details"]["targets"]}
    assert list(rows) == ["one", "two", "away"]
    refused = "no answer from https://127.0.0.1:1: Failed to establish a new connection: "
    assert rows["away"]["summary"] == f"{refused}[Errno 111] Connection refused"
    assert [rows[name].get("weight") for name in rows] == [10, 10, None]
    assert rows["away"]["exit_code"] == ExitCode.UNREACHABLE
    assert "away" in outcome["error"]["doing"]
    assert run("status", "--wave", "1", environment=environment) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert " 10 % █░░░░░░░░░" in shown
    assert "away" not in shown
    assert run("status", "--target", "two", environment=environment) == ExitCode.DONE
    assert "rehearsal/two" in capsys.readouterr().out


def test_abort_moves_the_traffic_in_every_target_that_answers(
    environment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clusters = at_ten(environment)
    release = load_release(RELEASE, None)
    asked = ("abort", "--reason", "wrong totals", "--by", "Ada", "--format", "json")
    assert run(*asked, environment=environment) == ExitCode.STOPPED
    outcome = json.loads(capsys.readouterr().out)
    codes = {row["target"]: row["exit_code"] for row in outcome["details"]["targets"]}
    assert codes == {"one": 0, "two": 0, "away": ExitCode.UNREACHABLE}
    for cluster in clusters:
        for service in release.rollout.services:
            route = cluster.get(HTTP_ROUTE, service.route)
            assert route is not None
            weights = [ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]]
            assert weights == [100, 0], service.name
    recorded = {outcome.environment for outcome in outcomes_in(environment.parent / "evidence")}
    assert recorded == {"rehearsal", *(f"rehearsal/{name}" for name in codes)}


def test_mistakes_in_the_choice_of_targets(
    environment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, said in (
        (("status", "--target", "three"), "one of: one, two, away"),
        (("status", "--wave", "3"), "there are 2 waves, and no wave 3"),
        (("incident", "close", "--reason", "over"), "such as --target one"),
    ):
        assert run(*wrong, environment=environment) == ExitCode.USAGE
        assert said in capsys.readouterr().out
