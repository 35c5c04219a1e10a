"""Run the release's test suite with pytest in a separate process.

The suite is part of the bundle, so that its bytes are checked like all others: what is not listed
in SHA256SUMS with exactly this content is not run. It runs from a copy, with an isolated
interpreter (`-I`), so that neither the bundle nor the caller's folder is touched or has a say.
Results are read from pytest's own JUnit XML, whose properties carry what a test measured.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tarsrelease.adapters.child_environment import for_network
from tarsrelease.adapters.files.hashing import hash_files
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import RefusedError, UsageError
from tarsrelease.model.format import duration
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Observed, Status
from tarsrelease.model.suite import SuiteResult, SuiteTest
from tarsrelease.ports.clock import Task

SUITE = "production_validation_suite.py"
CONFTEST = "conftest.py"
GROUPS = "validation/"
"""The folder of a large suite's modules; such a suite runs in several processes."""
ENVIRONMENT = "environment.yaml"
"""The environment as the suite gets it: JSON, which is YAML."""
_NO_TESTS = 5
"""pytest's exit code when nothing was selected."""
_EXCERPT = 1500
_POLL = 0.1
"""Seconds between two looks at the suite's process."""
_PROCESSES = 4
"""Most tests wait for an answer, so that two CPUs carry more processes than that."""


class PytestSuite:
    """The port `Suites` for a bundle's suite, which is given the environment as a file."""

    def __init__(self, bundle: Path, environment: Environment, *, deadline: float = 600.0) -> None:
        self._bundle = bundle
        self._environment = environment
        self._deadline = deadline

    def run(self, marks: Sequence[str], target: Track) -> SuiteResult:
        """All tests with one of the marks; see `running`."""
        task = self.running(marks, target)
        while True:
            try:
                time.sleep(next(task))
            except StopIteration as end:
                result: SuiteResult = end.value
                return result

    def running(self, marks: Sequence[str], target: Track) -> Task[SuiteResult]:
        """All tests with one of the marks. Raises UsageError without pytest or without a suite.

        RefusedError where the suite is not the one that the bundle lists. A suite that breaks or
        outlives its deadline is a result with `trouble`, and with what was seen until then. If the
        task is closed, the suite ends.
        """
        need_pytest()
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="tarsrelease-suite-") as folder:
            place = Path(folder)
            names = _listed(self._bundle)
            for name in names:
                (place / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(self._bundle / name, place / name)
            (place / "pytest.ini").write_text("[pytest]\naddopts =\n")
            (place / ENVIRONMENT).write_text(self._environment.model_dump_json(by_alias=True))
            parallel = any(name.startswith(GROUPS) for name in names)
            code, said = yield from self._run(
                place, marks, target, _in_parallel() if parallel else ()
            )
            tests = _results(place / "results.xml")
        seconds = time.monotonic() - began
        return SuiteResult(
            suite=SUITE,
            tests=tests,
            seconds=round(seconds, 3),
            trouble=_trouble(code, said, self._deadline, tests),
        )

    def _run(
        self, place: Path, marks: Sequence[str], target: Track, parallel: Sequence[str]
    ) -> Task[tuple[int | None, str]]:
        """pytest's exit code, None when it was ended, and the end of what it printed."""
        command = [
            *(sys.executable, "-I", "-B", "-m", "pytest", SUITE),
            *("-c", "pytest.ini", "--rootdir", ".", "-p", "no:cacheprovider", "-q"),
            *("--junitxml", "results.xml", "-o", "junit_family=xunit1"),
            *("--environment", ENVIRONMENT),
            *("--deployment", target.value, "--ga_mode"),
            *(("-m", " or ".join(marks)) if marks else ()),
            *parallel,
        ]
        variables = for_network(self._environment.prometheus.secret_variables)
        variables["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        with (place / "output.txt").open("wb+") as output:
            process = subprocess.Popen(
                command,
                cwd=place,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            end = time.monotonic() + self._deadline
            try:
                while (code := process.poll()) is None and time.monotonic() < end:
                    yield _POLL
            finally:
                _end(process)
            output.seek(0)
            return code, output.read().decode(errors="replace")[-_EXCERPT:]


def _in_parallel() -> Sequence[str]:
    """pytest's options for several processes, where pytest-xdist is installed."""
    return ("-p", "xdist.plugin", "-n", str(_PROCESSES)) if find_spec("xdist") else ()


def need_pytest() -> None:
    """Raise UsageError if what runs a suite is not installed."""
    missing = [name for name in ("pytest", "yaml", "httpx") if find_spec(name) is None]
    if missing:
        raise UsageError(
            doing=f"running {SUITE}",
            found=f"{missing[0]} is not installed",
            expected="the extra [validate]",
            next_step="pip install 'tarsrelease[validate]'",
        )


def _listed(bundle: Path) -> tuple[str, ...]:
    """The suite's files, each of which is what SHA256SUMS says."""
    if not (bundle / SUITE).is_file():
        raise UsageError(
            doing="finding the release's suite",
            found=f"no {SUITE} in {bundle}",
            expected="a bundle with a suite",
            next_step=f"write one, and add it to `files` in {bundle}/bundle.yaml",
        )
    lines = (bundle / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    listed = {name.lstrip(" *"): digest for digest, _, name in (x.partition(" ") for x in lines)}
    groups = sorted(name for name in listed if name.startswith(GROUPS) and ".." not in name)
    found = tuple(name for name in (SUITE, CONFTEST, *groups) if (bundle / name).exists())
    for name in found:
        path = bundle / name
        if listed.get(name) != hash_files([(path, path.stat().st_size)])[0]:
            raise RefusedError(
                doing=f"running {SUITE}",
                found=f"{bundle / name} is not the file that SHA256SUMS lists",
                expected="the bundle's own suite, unchanged",
                next_step=f"tarsrelease verify {bundle}",
            )
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started; they share a session of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _trouble(
    code: int | None, said: str, deadline: float, tests: Sequence[SuiteTest]
) -> str | None:
    if code is None:
        return f"ended after its deadline of {duration(deadline)}"
    if code == _NO_TESTS:
        return "no test has any of the marks"
    if code not in (0, 1):
        return f"pytest ended with {code}: {said.strip() or '(nothing said)'}"
    return None if tests else "pytest gave no results"


def _results(path: Path) -> tuple[SuiteTest, ...]:
    if not path.is_file():
        return ()
    root = ET.parse(path).getroot()  # noqa: S314 - written by pytest, in a folder of our own
    return tuple(_test(case) for case in root.iter("testcase"))


def _test(case: ET.Element) -> SuiteTest:
    said = {
        each.get("name", ""): each.get("value", "") for each in case.iterfind("properties/property")
    }
    status, reason = Status.PASS, "passed"
    for tag, found in (
        ("skipped", Status.SKIPPED),
        ("failure", Status.FAIL),
        ("error", Status.ERROR),
    ):
        element = case.find(tag)
        if element is not None:
            status = found
            reason = element.get("message") or (element.text or "").strip() or tag
    return SuiteTest(
        name=case.get("name", ""),
        status=status,
        seconds=float(case.get("time", "0")),
        reason=reason.splitlines()[0][:_EXCERPT],
        service=said.get("service"),
        observed=_observed(said),
        expected=said.get("expected", "passes"),
    )


def _observed(said: dict[str, str]) -> Observed | None:
    if "observed" not in said:
        return None
    text = said["observed"]
    try:
        return Observed(value=float(text), unit=said.get("unit", "count"))
    except ValueError:
        return Observed(value=text, unit=said.get("unit", "text"))
