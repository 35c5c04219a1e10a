"""OpenSSF Scorecard's checks that the repository's files can pass, one test each.

Token-Permissions and Dangerous-Workflow are in tests/workflow/test_workflows_static.py, and
Branch-Protection is what `init --github` prints (tests/contract/test_github_people.py).
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BINARIES = {
    *(".apk", ".bin", ".class", ".com", ".dex", ".dll", ".dylib", ".elf", ".exe", ".jar", ".lib"),
    *(".msi", ".o", ".obj", ".pyc", ".pyo", ".so", ".wasm", ".whl"),
}


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("this is no Git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_binary_artifacts_no_program_is_in_the_repository() -> None:
    files = [path for path in tracked() if path.is_file()]
    assert files
    assert [path for path in files if path.suffix in BINARIES] == []
    magic = (b"\x7fELF", b"MZ", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe", b"\0asm")
    assert [path for path in files if path.read_bytes()[:4].startswith(magic)] == []


def test_pinned_dependencies_every_action_by_its_commit() -> None:
    files = [*ROOT.glob(".github/workflows/*.y*ml"), *ROOT.glob("actions/*/action.y*ml")]
    uses = [
        found
        for file in files
        for found in re.findall(r"^\s*-?\s*uses: (\S+)", file.read_text(), re.M)
    ]
    assert uses
    for each in uses:
        assert re.match(r"(\$|\.)/|[\w./-]+@[0-9a-f]{40}$", each), each


def test_pinned_dependencies_every_package_by_its_hashes() -> None:
    locks = list((ROOT / "requirements").glob("*.txt"))
    assert locks
    for lock in locks:
        text = lock.read_text().replace("\\\n", " ")
        for line in text.splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                assert re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), (lock.name, line)


def test_pinned_dependencies_no_script_installs_what_is_not_hashed() -> None:
    """Our own package is the exception: it is installed from the checkout."""
    files = [*(ROOT / "scripts").iterdir(), *(ROOT / "actions" / "_lib").iterdir()]
    for file in filter(Path.is_file, files):
        text = re.sub(r"\\\n\s*", " ", file.read_text(errors="replace"))
        for line in re.findall(r"^.*\bpip install .*$", text, re.M):
            own = "link[@]" in line or "--no-deps" in line
            assert "--require-hashes" in line or own or line.lstrip().startswith("#"), line
        assert not re.search(r"(curl|wget)[^\n]*\|\s*(ba)?sh", text), file


def test_dependency_update_tool_proposes_actions_and_packages() -> None:
    settings = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())
    assert {each["package-ecosystem"] for each in settings["updates"]} == {"github-actions", "pip"}
    assert all(each["cooldown"]["default-days"] >= 7 for each in settings["updates"])


def test_license_and_security_policy_are_where_they_are_looked_for() -> None:
    assert (ROOT / "LICENSE").read_text().strip()
    policy = (ROOT / "SECURITY.md").read_text()
    assert "Report a vulnerability" in policy
    assert "## OpenSSF Scorecard" in policy


def test_ci_tests_run_on_every_pull_request() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text())
    assert "pull_request" in workflow[True]
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert any("scripts/test" in step or ".ci/run" in step for step in steps)
    assert any("scripts/audit" in step for step in steps), "Vulnerabilities"
