"""The port `LoadGenerator`: k6 where it is installed, else threads that send requests."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import monotonic

from tarsrelease.adapters.child_environment import for_network
from tarsrelease.adapters.child_process import run
from tarsrelease.model.errors import UnreachableError
from tarsrelease.model.load import LoadPlan, LoadReport
from tarsrelease.ports.cluster import Web

_AFTER = 60.0
"""Seconds that k6 may take to start and to end."""
_SCRIPT = """\
import http from 'k6/http';
import { sleep } from 'k6';
const plan = %s;
http.setResponseCallback(http.expectedStatuses({ min: 200, max: 499 }));
export default function () {
  const target = plan.targets[(__VU + __ITER) %% plan.targets.length];
  http.get(target.url, { headers: target.headers, redirects: 0 });
  sleep(plan.pause);
}
"""


class OwnGenerator:
    """One thread a user, each with its own connection."""

    def __init__(self, connect: Callable[[], Web], headers: Mapping[str, str]) -> None:
        self._connect, self._headers = connect, headers

    def run(self, plan: LoadPlan) -> LoadReport:
        """See the port."""
        over = Event()
        found: list[list[tuple[float, bool]]] = [[] for _ in range(plan.users)]
        threads = [
            Thread(target=self._user, args=(number, plan, over, seen), daemon=True)
            for number, seen in enumerate(found)
        ]
        began = monotonic()
        try:
            for thread in threads:
                thread.start()
            over.wait(plan.seconds)
        finally:
            over.set()
        for thread in threads:
            thread.join()
        all_ = [each for seen in found for each in seen]
        times = sorted(seconds for seconds, _ in all_)
        return LoadReport(
            tool="tarsrelease",
            users=plan.users,
            duration_seconds=round(monotonic() - began, 3),
            requests=len(all_),
            failed=sum(failed for _, failed in all_),
            latency_p95_ms=1000 * times[math.ceil(0.95 * len(times)) - 1] if times else None,
        )

    def _user(
        self, number: int, plan: LoadPlan, over: Event, seen: list[tuple[float, bool]]
    ) -> None:
        web, turn = self._connect(), number
        over.wait(plan.pause * number / plan.users)  # users do not come all at once
        while not over.is_set():
            target = plan.targets[turn % len(plan.targets)]
            turn += 1
            began = monotonic()
            try:
                status, _ = web.get(target.host, target.path, self._headers)
            except UnreachableError:
                status = 0
            seen.append((monotonic() - began, status == 0 or status >= 500))
            over.wait(plan.pause)


class K6:
    """The program k6 (grafana/k6), with its summary as JSON."""

    def __init__(self, program: str, address: str, headers: Mapping[str, str]) -> None:
        self._program, self._address, self._headers = program, address.rstrip("/"), headers

    def run(self, plan: LoadPlan) -> LoadReport:
        """See the port."""
        with TemporaryDirectory(prefix="tarsrelease-load-") as folder:
            script, summary = Path(folder) / "users.js", Path(folder) / "summary.json"
            script.write_text(self._script(plan))
            command = [
                *(self._program, "run", "--quiet", "--vus", str(plan.users)),
                *("--duration", f"{plan.seconds:g}s", "--summary-export", str(summary)),
                str(script),
            ]
            try:
                done = run(
                    command, variables=for_network(), seconds=plan.seconds + _AFTER, folder=None
                )
                metrics = json.loads(summary.read_text())["metrics"]
                return _report(plan, metrics)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise _broken(str(error)) from error
            except (ValueError, LookupError, TypeError) as error:
                said = done.err.decode(errors="replace")[-200:].strip()
                raise _broken(
                    f"exit code {done.code}, no summary of its metrics: {said}"
                ) from error

    def _script(self, plan: LoadPlan) -> str:
        targets = [
            {"url": self._address + each.path, "headers": {**self._headers, "Host": each.host}}
            for each in plan.targets
        ]
        return _SCRIPT % json.dumps({"targets": targets, "pause": plan.pause})


def _report(plan: LoadPlan, metrics: Mapping[str, Mapping[str, float]]) -> LoadReport:
    requests = round(metrics["http_reqs"]["count"])
    return LoadReport(
        tool="k6",
        users=plan.users,
        duration_seconds=plan.seconds,
        requests=requests,
        failed=round(metrics["http_req_failed"]["value"] * requests),
        latency_p95_ms=metrics["http_req_duration"]["p(95)"],
    )


def installed() -> str | None:
    """The path of k6."""
    return shutil.which("k6")


def _broken(found: str) -> UnreachableError:
    return UnreachableError(
        doing="running k6",
        found=found,
        expected="a load test with a summary",
        next_step="run the command again with --own-generator",
    )
