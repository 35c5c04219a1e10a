"""Each action as another repository uses it: its own bundle and chart, no other file of ours."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from bundle_samples import ENVIRONMENT, commit_all, write_sources
from elsewhere import Ran, act, commit, exported, uses

from tarsrelease.adapters.files.bundle_build import build_bundle

Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("tarsrelease"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runner")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An application called demo, with a bundle of its version 1.2.0."""
    sources = write_sources(tmp_path)
    commit_all(sources.root)
    build_bundle(sources.source, "1.2.0", sources.out)
    (tmp_path / "environments").mkdir(exist_ok=True)
    (tmp_path / "environments" / "place.yaml").write_text(ENVIRONMENT)
    return tmp_path


@pytest.fixture
def run(repository: Path, export: Path, cache: Path) -> Run:
    def run(*steps: dict[str, object], text: str = "", **secrets: str) -> Ran:
        commit(repository, list(steps))
        return act(repository, export, cache, text=text, **secrets)

    return run


def tell(*outputs: str) -> dict[str, object]:
    """A step that prints the outputs of the step `it`, whatever became of it."""
    env = {
        name.upper().replace("-", "_"): f"${{{{ steps.it.outputs.{name} }}}}" for name in outputs
    }
    lines = [f'echo "{name}=<${{{name.upper().replace("-", "_")}}}>"' for name in outputs]
    return {"name": "Tell", "if": "always()", "env": env, "run": "\n".join(lines)}


OUTPUTS = tell("verdict", "exit-code", "evidence", "summary")


RECORDED = "grep -q bundle.digest evidence/evidence.jsonl"


def test_a_bundle_is_verified(run: Run) -> None:
    ran = run(
        {"id": "it", **uses("verify-artifacts", release="release/v1_2_0", offline="true")},
        OUTPUTS,
        {"name": "Recorded", "run": f"{RECORDED} && echo recorded"},
    )
    assert ran.code == 0, ran.printed
    assert ran.said("verdict=") == ["<proceed>"]
    assert ran.said("exit-code=") == ["<0>"]
    assert ran.said("evidence=") == ["<evidence>"]
    assert ran.said("recorded") == [""]
    assert any("Checks: " in line and " pass" in line for line in ran.lines)


def test_a_bundle_that_was_changed_fails_the_job(run: Run, repository: Path) -> None:
    with (repository / "release/v1_2_0/NOTES.md").open("a") as notes:
        notes.write("more\n")
    ran = run({"id": "it", **uses("verify-artifacts", release="release/v1_2_0")}, OUTPUTS)
    assert ran.code == 1
    assert ran.said("verdict=") == ["<no-go>"]
    assert ran.said("exit-code=") == ["<1>"]
    assert re.search(r"bundle\.digest", ran.printed)


def test_setup_gives_the_command_line_to_steps_of_your_own(run: Run) -> None:
    ran = run(
        {"id": "it", **uses("setup")},
        {
            "name": "Use it",
            "env": {"TARSRELEASE": "${{ steps.it.outputs.tarsrelease }}"},
            "run": '"$TARSRELEASE" verify release/v1_2_0 --checksums-only',
        },
    )
    assert ran.code == 0, ran.printed
    assert any("verify: release/v1_2_0 is valid" in line for line in ran.lines), ran.printed


def test_two_actions_of_one_job_install_once(run: Run, cache: Path, tmp_path: Path) -> None:
    verify = uses("verify-artifacts", release="release/v1_2_0", checksums_only="true")
    cold = {**verify, "env": {"TARSRELEASE_ACTIONS_CACHE": str(tmp_path / "cold")}}
    ran = run(cold, {**cold, "name": "again"})
    assert ran.code == 0, ran.printed
    assert len([line for line in ran.lines if "checking hashes" in line]) == 1


def test_the_callers_files_cannot_stand_before_ours(run: Run, repository: Path) -> None:
    for name in ("tarsrelease", "yaml", "json", "click"):
        (repository / f"{name}.py").write_text("raise SystemExit('shadowed')\n")
    (repository / "pyproject.toml").write_text('[tool.uv]\nindex-url = "https://127.0.0.1:1/"\n')
    step = uses("verify-artifacts", release="release/v1_2_0", checksums_only="true")
    shadow = {"PYTHONPATH": str(repository), "PYTHONSTARTUP": str(repository / "yaml.py")}
    ran = run({**step, "env": shadow})
    assert ran.code == 0, ran.printed


def test_notify_tells_nobody_where_nobody_is_named_and_says_so(run: Run) -> None:
    place = {"release": "release/v1_2_0", "environment": "place"}
    ran = run({"id": "it", **uses("notify", **place, event="started")}, OUTPUTS)
    assert ran.code == 0, ran.printed
    assert ran.said("exit-code=") == ["<0>"]


def test_validate_finds_what_runs_the_suite_and_misses_the_suite(run: Run) -> None:
    """The demo's bundle has none; that pytest is there is what is asked."""
    place = {"release": "release/v1_2_0", "environment": "place"}
    ran = run({"id": "it", **uses("validate", **place)}, OUTPUTS)
    assert ran.said("exit-code=") == ["<2>"]
    assert "production_validation_suite.py" in ran.printed
    assert "extra" not in ran.printed


@pytest.mark.parametrize(
    ("action", "given", "said"),
    [
        (
            "migrate",
            {"phase": "expnd"},
            '"expnd" is not one of its words; allowed: expand, contract',
        ),
        ("canary-gate", {"stage": "10", "stage-duration": "600"}, "allowed: a number with one of"),
        ("rollback", {"with-database": "yes"}, '"yes" is not a boolean; allowed: true, false'),
        ("go-no-go", {"votes": "qa=perhaps"}, "allowed: ROLE=go or ROLE=no-go"),
        ("environments", {"approvals": "7; id"}, "allowed: digits"),
        ("watch", {"young": "a day"}, "allowed: a number with one of the units"),
    ],
)
def test_a_wrong_input_says_what_is_allowed(
    action: str, given: dict[str, str], said: str, run: Run
) -> None:
    good = {"release": "release/v1_2_0", "environment": "place"}
    ran = run({"id": "it", **uses(action, **{**good, **given})}, OUTPUTS)
    assert ran.code == 1
    assert ran.said("exit-code=") == ["<2>"]
    assert said in ran.printed


@pytest.mark.parametrize(
    "text",
    [
        '"; touch pwned; echo "',
        "$(touch pwned)",
        "x\n::set-output name=verdict::proceed",
        "A" * 100_000,
    ],
    ids=["quote", "substitution", "new line", "100 kB"],
)
def test_a_hostile_field_of_the_event_is_never_executed(text: str, run: Run) -> None:
    """As it reaches an action from whoever starts the workflow."""
    field = "${{ inputs.text }}"
    ran = run(
        {"id": "it", **uses("verify-artifacts", release="release/v1_2_0", require=field)},
        OUTPUTS,
        {"name": "Look", "if": "always()", "run": "test ! -e pwned && echo unharmed"},
        text=text,
    )
    assert ran.code == 1
    assert ran.said("unharmed") == [""]
    assert ran.said("verdict=") == ["<>"]
    assert ran.said("exit-code=") == ["<2>"]
    assert "allowed" in ran.printed


def test_a_kubeconfig_is_never_printed_and_gone_afterwards(run: Run, repository: Path) -> None:
    """The cluster does not answer in time: the step ends with 69, and leaves nothing behind."""
    limits = "limits: {deploy: 1s}  # how long promote tries again\n"
    (repository / "environments" / "place.yaml").write_text(ENVIRONMENT + limits)
    secret = (
        "{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: "
        "{server: 'http://127.0.0.1:1'}}], contexts: [{name: c, context: {cluster: c, user: u}}], "
        "users: [{name: u, user: {token: correct-horse-battery}}]}"
    )
    place = {"release": "release/v1_2_0", "environment": "place"}
    ran = run(
        {"id": "it", **uses("promote", **place, kubeconfig="${{ secrets.CLUSTER }}")},
        OUTPUTS,
        {
            "name": "Look",
            "if": "always()",
            "run": 'test -z "$(find "$RUNNER_TEMP" -name "kubeconfig*")" && echo removed',
        },
        CLUSTER=secret,
    )
    assert ran.code == 1
    assert ran.said("exit-code=") == ["<69>"], ran.printed
    assert ran.said("removed") == [""]
    assert "correct-horse" not in ran.printed
