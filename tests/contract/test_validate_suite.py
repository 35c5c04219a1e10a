"""The bundle's suite in a process of its own: what is run, what is said, and what is refused."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from suite_samples import CONFTEST, bundle

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

from contexts import assignment

from tarsrelease.adapters.files.configuration import load_environment, load_release
from tarsrelease.adapters.pytest.suite import PytestSuite
from tarsrelease.model.errors import RefusedError, UsageError
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Outcome, Status, Verdict
from tarsrelease.model.suite import SuiteResult
from tarsrelease.operations.outcome import StepReport
from tarsrelease.report.outcome_html import outcome_html
from tarsrelease.steps.validate import STEP, judged

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "environments" / "rehearsal.yaml"


def run(folder: Path, *marks: str, deadline: float = 60) -> SuiteResult:
    return PytestSuite(folder, load_environment(str(PLACE)), deadline=deadline).run(
        marks, Track.CANARY
    )


def outcome(result: SuiteResult) -> Outcome:
    environment = load_environment(str(PLACE))
    release = load_release(ROOT / "release" / "v1_0_1", environment)
    return judged(StepReport(assignment(release, environment), STEP), result, Track.CANARY, ())


SUITE = """
import os, pytest

@pytest.mark.hotfix
def test_good(record_property, pytestconfig):
    record_property("observed", 0.04)
    record_property("unit", "seconds")
    record_property("expected", "< 0.05 s")
    record_property("service", "web")
    assert pytestconfig.getoption("--deployment") == "canary"
    assert pytestconfig.getoption("--ga_mode")
    assert pytestconfig.getoption("--environment") == "environment.yaml"

@pytest.mark.hotfix
def test_bad():
    assert 2 == 3, "<script>alert(1)</script>"

@pytest.mark.health
def test_skipped():
    pytest.skip("no such thing here")

@pytest.fixture
def broken():
    raise RuntimeError("the fixture broke")

@pytest.mark.health
def test_broken(broken):
    pass
"""


def test_every_test_is_a_check_and_one_failure_is_a_no(tmp_path: Path) -> None:
    folder = bundle(tmp_path, SUITE)
    before = sorted(path.name for path in folder.iterdir())
    result = run(folder)
    assert [test.status for test in result.tests] == [
        Status.PASS,
        Status.FAIL,
        Status.SKIPPED,
        Status.ERROR,
    ]
    good = result.tests[0]
    assert good.observed is not None
    assert (good.observed.value, good.observed.unit) == (0.04, "seconds")
    assert (good.expected, good.service) == ("< 0.05 s", "web")
    assert sorted(path.name for path in folder.iterdir()) == before  # nothing left in the bundle
    ended = outcome(result)
    assert ended.verdict is Verdict.NO_GO
    assert "1 fail" in ended.summary
    page = outcome_html(ended)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_marks_choose_and_all_passed_proceeds(tmp_path: Path) -> None:
    text = SUITE.replace("assert 2 == 3", "assert 2 == 2")
    result = run(bundle(tmp_path, text), "hotfix")
    assert [test.name for test in result.tests] == ["test_good", "test_bad"]
    assert outcome(result).verdict is Verdict.PROCEED
    assert len(run(tmp_path, "hotfix", "health").tests) == 4


def test_no_test_at_all_is_no_pass(tmp_path: Path) -> None:
    result = run(bundle(tmp_path, SUITE), "nothing_has_this")
    assert result.trouble == "no test has any of the marks"
    assert outcome(result).verdict is Verdict.NO_GO


def test_a_skipped_test_is_no_pass(tmp_path: Path) -> None:
    result = run(bundle(tmp_path, SUITE.replace("@pytest.fixture\ndef broken", "def nobody")))
    assert outcome(result).verdict is Verdict.NO_GO
    only = "import pytest\ndef test_a():\n    pytest.skip('x')\ndef test_b():\n    pass\n"
    assert outcome(run(bundle(tmp_path, only))).verdict is Verdict.NO_GO


def test_a_broken_file_is_an_error_with_what_pytest_says(tmp_path: Path) -> None:
    result = run(bundle(tmp_path, "import nothing_of_this_name\n"))
    assert result.trouble is not None
    assert "nothing_of_this_name" in result.trouble
    assert result.status is Status.ERROR


def test_the_deadline_ends_the_suite_and_what_it_started(tmp_path: Path) -> None:
    marker = tmp_path / "alive"
    child = (
        f"import time\nwhile True:\n    open({str(marker)!r}, 'a').write('.')\n    time.sleep(0.1)"
    )
    text = (
        "import subprocess, sys, time\n"
        "def test_first():\n    pass\n"
        "def test_hangs():\n"
        f"    subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "    time.sleep(600)\n"
    )
    for deadline in (8, 55):  # the longer one for a machine that has not started the child in 8 s
        began = time.monotonic()
        result = run(bundle(tmp_path, text), deadline=deadline)
        assert time.monotonic() - began < deadline + 52
        assert result.trouble == f"ended after its deadline of {deadline}s"
        assert outcome(result).verdict is Verdict.NO_GO
        if marker.exists():
            break
    assert marker.exists(), "the child never ran: the machine is too slow for this deadline"
    size = marker.stat().st_size
    time.sleep(0.5)
    assert marker.stat().st_size == size, "a child of the suite outlived it"


def test_a_suite_that_is_not_the_listed_one_is_not_run(tmp_path: Path) -> None:
    folder = bundle(tmp_path, SUITE)
    trace = tmp_path / "ran"
    (folder / "production_validation_suite.py").write_text(f"open({str(trace)!r}, 'w')\n")
    with pytest.raises(RefusedError, match="SHA256SUMS"):
        run(folder)
    bundle(folder, SUITE)
    (folder / "conftest.py").write_text(f"open({str(trace)!r}, 'w')\n" + CONFTEST)
    with pytest.raises(RefusedError):
        run(folder)
    assert not trace.exists()


def test_a_bundle_without_a_suite_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no production_validation_suite"):
        run(tmp_path)


def test_without_pytest_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarsrelease.adapters.pytest.suite.find_spec", lambda name: None)
    with pytest.raises(UsageError) as refused:
        run(bundle(tmp_path, SUITE))
    assert "tarsrelease[validate]" in refused.value.detail.next


def test_the_callers_folder_has_no_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "caller"
    elsewhere.mkdir()
    (elsewhere / "conftest.py").write_text("raise RuntimeError('the caller is loaded')\n")
    (elsewhere / "pytest.py").write_text("raise SystemExit(99)\n")
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("PYTHONPATH", str(elsewhere))
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only")
    folder = tmp_path / "bundle"
    folder.mkdir()
    assert len(run(bundle(folder, SUITE), "hotfix").tests) == 2
