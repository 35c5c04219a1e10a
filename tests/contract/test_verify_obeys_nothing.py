"""Nothing in or around a bundle is executed, and no program gets a secret that it does not need."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from suite_samples import bundle as suite_bundle
from verify_tampering import listed_again

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from bundle_samples import commit_all, git, write_sources

from tarsrelease.adapters.files.bundle_build import build_bundle
from tarsrelease.adapters.files.configuration import load_environment
from tarsrelease.adapters.git.commits import commit_of, source_of
from tarsrelease.adapters.http.number import read_number
from tarsrelease.adapters.pytest.suite import PytestSuite
from tarsrelease.cli import main
from tarsrelease.model.bundle import Source
from tarsrelease.model.checks import ExternalCheck, NumberSource
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Status

ROOT = Path(__file__).parents[2]
ABSENT = Source(commit="1" * 40, tag=None, clean=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in a repository, with the bundle committed as it was built."""
    sources = write_sources(tmp_path_factory.mktemp("built") / "project")
    commit_all(sources.root)
    build_bundle(sources.source, "1.2.0", sources.out)
    return sources.root


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A program that leaves a file called `sprung` beside it when it is run."""
    program = tmp_path / "trap"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\nexit 1\n")
    program.chmod(0o755)
    return program


def armed(repository: Path, trap: Path) -> None:
    """Every setting of a repository that makes Git run a program when it reads."""
    for key, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.url": "ssh://nowhere.invalid/x",
        "remote.origin.promisor": "true",
        "remote.origin.uploadPack": str(trap),
        "core.sshCommand": str(trap),
        "core.fsmonitor": str(trap),
        "core.pager": str(trap),
        "core.askPass": str(trap),
        "credential.helper": str(trap),
        "diff.external": str(trap),
        "diff.trap.textconv": str(trap),
        "diff.trap.command": str(trap),
        "log.showSignature": "true",
        "gpg.program": str(trap),
        "filter.a=b.clean.clean": str(trap),
        "filter.a=b.clean.required": "true",
        "filter.trap.process": str(trap),
    }.items():
        git(repository, "config", key, value)
    (repository / ".git/info").mkdir(exist_ok=True)
    (repository / ".git/info/attributes").write_text(
        "* diff=trap filter=a=b.clean\n*.yaml filter=trap\n"
    )
    hook = repository / ".git/hooks/post-index-change"
    hook.parent.mkdir(exist_ok=True)
    shutil.copy(trap, hook)


def verified(capsys: pytest.CaptureFixture[str], folder: Path) -> tuple[int, dict[str, str]]:
    """Exit code, and the reasons of what failed by check."""
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(folder), "--offline", "--format", "json"])
    outcome = json.loads(capsys.readouterr().out)
    failed = {one["id"]: one["reason"] for one in outcome["checks"] if one["status"] == "fail"}
    assert isinstance(ended.value.code, int)
    return ended.value.code, failed


@pytest.mark.parametrize("listed", [False, True], ids=["unlisted", "listed"])
def test_a_repository_inside_the_bundle_is_refused_and_not_asked(
    built: Path, tmp_path: Path, trap: Path, capsys: pytest.CaptureFixture[str], listed: bool
) -> None:
    folder = shutil.copytree(built / "release/v1_2_0", tmp_path / "v1_2_0")
    manifest = json.loads((folder / "manifest.production.json").read_text())
    manifest["source"]["commit"] = ABSENT.commit  # what is missing would be fetched
    (folder / "manifest.production.json").write_text(json.dumps(manifest))
    git(folder, "init", "--quiet")
    armed(folder, trap)
    if listed:
        listed_again(folder)
    code, failed = verified(capsys, folder)
    assert code == 1
    assert "git" in failed["bundle.names"]
    assert ("bundle.completeness" in failed) is not listed
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("absent", [False, True], ids=["there", "absent"])
def test_a_hostile_repository_around_the_bundle_runs_nothing(
    built: Path, tmp_path: Path, trap: Path, monkeypatch: pytest.MonkeyPatch, absent: bool
) -> None:
    project = shutil.copytree(built, tmp_path / "project")
    folder = project / "release/v1_2_0"
    built_from = source_of([project / "release/v1_2_0"], "1.2.0") if not absent else ABSENT
    assert built_from is not None
    armed(project, trap)
    for name in ("GIT_EXTERNAL_DIFF", "GIT_SSH_COMMAND", "GIT_SSH", "GIT_PAGER", "GIT_ASKPASS"):
        monkeypatch.setenv(name, str(trap))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(trap))
    known = commit_of(folder, built_from)
    assert isinstance(known, str) is absent
    if not absent:
        assert source_of([project / "release/v1_2_0"], "1.2.0") == built_from
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("changed", ["own", "submodule", "nothing"])
def test_filters_and_submodules_of_the_inputs_run_nothing(
    built: Path, tmp_path: Path, trap: Path, changed: str
) -> None:
    """Git filters what it compares with the commit, and asks each submodule in its own process."""
    project = shutil.copytree(built, tmp_path / "project")
    inputs = project / "release/v1_2_0"
    inside = inputs / "inside"
    inside.mkdir()
    git(inside, "init", "--quiet")
    (inside / "file").write_text("1")
    commit_all(inside)
    (inputs / "file").write_text("1")
    commit_all(project)
    for repository in (project, inside):
        armed(repository, trap)
    # As long as before, so that Git has to read it.
    if changed != "nothing":
        ((inputs if changed == "own" else inside) / "file").write_text("2")
    found = source_of([inputs], "1.2.0")
    assert found is not None
    assert found.clean is (changed == "nothing")
    assert not (tmp_path / "sprung").exists()


def test_the_traps_are_real(built: Path, tmp_path: Path, trap: Path) -> None:
    """Git itself walks into them; else the tests above would show nothing."""
    project = shutil.copytree(built, tmp_path / "project")
    armed(project, trap)
    subprocess.run(["git", "cat-file", "-e", ABSENT.commit], cwd=project, check=False)
    assert (tmp_path / "sprung").exists()


SECRETS = {
    "KUBECONFIG": "/secret",
    "TARS_DATABASE_DSN": "postgres://u:secret@h/d",
    "GITHUB_ENV": "/secret",
    "GITHUB_TOKEN": "secret",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret",
    "SLACK_WEBHOOK_URL": "https://secret",
}


def test_the_suite_gets_the_metrics_token_and_no_other_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("METRICS_TOKEN", "given")
    place = load_environment(str(ROOT / "environments/rehearsal.yaml"))
    metrics = place.prometheus.model_copy(update={"token_env": "METRICS_TOKEN"})
    folder = suite_bundle(
        tmp_path,
        "import os\n"
        "def test_it():\n"
        f"    assert not set(os.environ) & {set(SECRETS)!r}\n"
        "    assert os.environ['METRICS_TOKEN'] == 'given'\n",
    )
    result = PytestSuite(folder, place.model_copy(update={"prometheus": metrics})).run(
        (), Track.CANARY
    )
    assert [test.status for test in result.tests] == [Status.PASS], result


def test_a_command_of_an_external_check_gets_its_token_and_no_other_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    counted = f"import os; print(len(set(os.environ) & {set(SECRETS)!r}))"

    def asked(**more: str) -> float:
        source = NumberSource(command=(sys.executable, "-c", counted), **more)  # type: ignore[arg-type]
        return read_number(
            ExternalCheck(kind="external", id="a.number", source=source, at_most=1.0)
        )

    assert asked() == 0
    assert asked(token_env="GITHUB_TOKEN") == 1


def test_helm_gets_the_kubeconfig_only_where_it_asks_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tarsrelease.adapters.helm.chart_render import renderer
    from tarsrelease.adapters.helm.releases import Helm

    helm = tmp_path / "helm"
    helm.write_text(f'#!/bin/sh\nenv > {tmp_path}/"$1"\necho "[]"\n')
    helm.chmod(0o755)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_PROFILE", "deployer")
    monkeypatch.setenv("TARSRELEASE_CHILD_ENV", "GITHUB_TOKEN")
    monkeypatch.setenv("TARSRELEASE_HELM", str(helm))
    Helm(None, "tars").history("tars")
    render = renderer()
    assert render is not None
    render("demo", b"", [])

    def given(command: str) -> set[str]:
        lines = (tmp_path / command).read_text().splitlines()
        return {line.partition("=")[0] for line in lines} & {*SECRETS, "AWS_PROFILE"}

    assert given("history") == {"KUBECONFIG", "AWS_PROFILE", "GITHUB_TOKEN"}
    assert given("template") == set()


def test_fifteen_hundred_nested_folders_are_an_answer(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(built / "release/v1_2_0", tmp_path / "v1_2_0")
    deep = "import os\nfor _ in range(1500): os.mkdir('d'); os.chdir('d')\nopen('file', 'w')"
    subprocess.run([sys.executable, "-c", deep], cwd=folder, check=True)
    code, failed = verified(capsys, folder)
    assert code == 1
    assert "is a folder below 64 others" in failed["bundle.links"]
    subprocess.run(["rm", "-rf", folder], check=True)  # shutil and pytest recurse


def test_nothing_is_rendered_or_linted_of_a_bundle_that_is_not_whole(
    built: Path, tmp_path: Path, trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(built / "release/v1_2_0", tmp_path / "v1_2_0")
    (folder / "stranger").write_text("x")
    monkeypatch.setenv("TARSRELEASE_HELM", str(trap))
    with pytest.raises(SystemExit):
        main(["verify", str(folder), "--offline"])
    assert not (tmp_path / "sprung").exists()
