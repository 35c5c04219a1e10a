"""T.A.R.S. on the rehearsal cluster, with load, for the tests of single steps."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tarsrelease.rehearsal import world
from tarsrelease.rehearsal.commands import Cluster

ROOT = Path(__file__).parents[2]
NAMESPACE = "tars-production"
REPORT = "127.0.0.1:9400"
_APPLICATION = ("tars-canary", "tars")
_INSTALL = """
import sys
from tarsrelease.adapters.files.configuration import load_environment, load_release
from tarsrelease.adapters.terminal.person import Nobody
from tarsrelease.adapters.terminal.progress import progress_on
from tarsrelease.adapters.clock import SystemClock
from tarsrelease.context import Assignment, People
from tarsrelease.model.release import Run
from tarsrelease.rehearsal.install import install
from tarsrelease.wiring.context import connect
environment = load_environment(sys.argv[1])
release = load_release(sys.argv[2], environment)
people = People(Nobody(), progress_on(sys.stderr, quiet=True, verbose=False))
run = Run(id="install", owner="test")
install(connect(Assignment(release, environment, run, people, SystemClock())), say=print)
"""


class Day:
    """1.0.0 installed and serving; `tarsrelease` runs a command of the release of 1.0.1."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.environment = folder / "rehearsal.yaml"
        content = yaml.safe_load((ROOT / "environments" / "rehearsal.yaml").read_text())
        content["kubernetes"]["context"] = world.CONTEXT
        content["overrides"] |= {"stage_duration": "10s", "promotion_look": "5s"}
        self.environment.write_text(yaml.safe_dump(content))

    def install(self) -> None:
        """From whatever a test before has left to 1.0.0 with nothing beside it."""
        for name in _APPLICATION:
            self.inside("helm", "uninstall", name, "--namespace", NAMESPACE, "--ignore-not-found")
        self.kubectl("delete", "configmap", "tarsrelease-tars", "--ignore-not-found")
        self.kubectl("delete", "lease", "tarsrelease-tars", "--ignore-not-found")
        self.empty_database()
        self.inside(
            *(sys.executable, "-c", _INSTALL, str(self.environment)),
            str(ROOT / "release" / "v1_0_0"),
        )

    def empty_database(self) -> None:
        """A database without tables, as 1.0.0 finds it at its first start."""
        server = f"{world.dsn(NAMESPACE).rpartition('/')[0]}/postgres"
        argv = ["psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1"]
        for statement in ("DROP DATABASE IF EXISTS tars WITH (FORCE)", "CREATE DATABASE tars"):
            argv += ["-c", statement]
        self.inside(*argv, server)

    def wait_until_scraped(self) -> None:
        """Until Prometheus has a scrape of every pod of the application."""
        query = f'query=up{{namespace="{NAMESPACE}"}}==1'
        end = time.monotonic() + 90
        while True:
            pods = self.kubectl(
                *("get", "pods", "--selector", "app.kubernetes.io/name=tars"),
                *("--output", "jsonpath={.items[*].metadata.name}"),
            )
            answer = self.inside(
                *("curl", "-s", "--data-urlencode", query, "http://127.0.0.1:9090/api/v1/query")
            )
            scraped = {each["metric"].get("pod") for each in json.loads(answer)["data"]["result"]}
            missing = set(pods.split()) - scraped
            if not missing:
                return
            assert time.monotonic() < end, f"never scraped: {missing}"
            time.sleep(0.5)

    def inside(self, *command: str, expected: int | None = 0) -> str:
        """A command inside the cluster: its standard output."""
        done = self.cluster.run(list(command), timeout=300)
        if expected is not None:
            assert done.returncode == expected, f"{command}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def kubectl(self, *arguments: str) -> str:
        return self.inside("kubectl", "--namespace", NAMESPACE, *arguments)

    def command(self, *step: str) -> list[str]:
        return [
            *(sys.executable, "-m", "tarsrelease", *step, "--environment", str(self.environment)),
            *("--release", str(ROOT / "release" / "v1_0_1")),
            *("--evidence", str(self.folder / "evidence")),
        ]

    def tarsrelease(self, *step: str, code: int = 0) -> dict[str, Any]:
        """The Outcome of a step."""
        done = self.cluster.run([*self.command(*step), "--format", "json"], timeout=300)
        assert done.returncode == code, f"{step}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        outcome: dict[str, Any] = json.loads(done.stdout)
        return outcome

    def kubeconfig_of(self, account: str) -> Path:
        """A kubeconfig with a token of this ServiceAccount."""
        config = yaml.safe_load(self.cluster.kubeconfig.read_text())
        token = self.kubectl("create", "token", account, "--duration", "2h").strip()
        for each in config["users"]:
            each["user"] = {"token": token}
        path = self.folder / f"{account}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path

    def sql(self, statement: str) -> str:
        """What psql prints for a statement in the application's database."""
        argv = ["psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", statement]
        return self.inside(*argv, world.dsn(NAMESPACE)).strip()

    def killed(self, at: str, *step: str, delay: float = 0.0, until: str = "") -> None:
        """A step that is killed (SIGKILL) when it says `at`, or `delay` seconds later.

        `until` is a shell command instead, which ends when the moment has come.
        """
        script = str(Path(__file__).parent / "kill_at.py")
        command = [sys.executable, script, at, until or f"sleep {delay}", *self.command(*step)]
        done = self.cluster.run(command, timeout=300)
        assert done.returncode == 137, f"{at!r} was not said: {done.stderr}"

    def fault(self, body: str, selector: str) -> None:
        """Switch a fault on in the pods that a label selector matches."""
        found = self.kubectl(
            *("get", "pods", "--selector", selector),
            *("--output", "jsonpath={.items[*].status.podIP}"),
        )
        assert found, f"no pods match {selector}"
        for address in found.split():
            self.inside("curl", "-sf", "-XPOST", "-d", body, f"http://{address}:8080/_faults")

    @contextmanager
    def load(self, rate: float = 150.0) -> Iterator[None]:
        """Requests to all three services, as clients would make them."""
        paths = ("/api/v1/agents", "/api/v1/traces/stats", "/api/v1/missions?limit=20")
        plan = [{"host": "api.tars.ai", "path": path, "rate": rate / 3} for path in paths]
        argv = [*self.cluster.tool("loadgen"), "--report", REPORT, "--plan", json.dumps(plan)]
        script = f"{shlex.join(argv)} >/dev/null 2>&1 & echo $!"
        number = self.inside("bash", "-c", script).strip()
        try:
            self._wait_for_report()
            self._wait_for_answers()
            yield
        finally:
            self.inside("kill", number, expected=None)

    def _wait_for_report(self) -> None:
        end = time.monotonic() + 20
        while self.cluster.run(["curl", "-sf", f"http://{REPORT}/report"]).returncode != 0:
            assert time.monotonic() < end, "the load generator does not start"
            time.sleep(0.1)

    def _wait_for_answers(self) -> None:
        """Until a span had only good answers; then count anew.

        The router says that a route is accepted a moment before it follows it, and answers 404
        until then.
        """
        end = time.monotonic() + 20
        while True:
            self.forget_clients()
            time.sleep(0.5)  # the span that is looked at, not a wait for something
            seen = self.clients()
            if seen["answered"] > 20 and set(seen["by_status"]) == {"200"} and not seen["lost"]:
                self.forget_clients()
                return
            assert time.monotonic() < end, f"not every request is answered: {seen['by_status']}"

    def clients(self) -> dict[str, Any]:
        """What clients saw so far."""
        report: dict[str, Any] = json.loads(self.inside("curl", "-s", f"http://{REPORT}/report"))
        return report

    def forget_clients(self) -> None:
        """Count anew."""
        self.inside("curl", "-s", "-XPOST", f"http://{REPORT}/reset")

    def names(self, kind: str) -> set[str]:
        """The names of all objects of a kind."""
        found = self.kubectl("get", kind, "--output", "jsonpath={.items[*].metadata.name}")
        return set(found.split())

    def versions(self) -> set[str]:
        """The versions that the application's Deployments run."""
        found = self.kubectl(
            *("get", "deployments", "--selector", "app.kubernetes.io/name=tars"),
            *("--output", "jsonpath={.items[*].spec.template.metadata.labels.version}"),
        )
        return set(found.split())

    def canary_weights(self) -> list[int]:
        """The canary's weight in each route; empty where no route names a canary."""
        routes = json.loads(self.kubectl("get", "httproutes", "--output", "json"))["items"]
        return [
            backend["weight"]
            for route in routes
            if not route["metadata"]["name"].endswith("-by-header")
            for backend in route["spec"]["rules"][-1]["backendRefs"]
            if "canary" in backend["name"]
        ]

    def assert_nothing_of_the_canary_is_left(self) -> None:
        for kind in ("deployments", "services", "configmaps", "serviceaccounts"):
            left = {name for name in self.names(kind) if name.startswith("tars-canary")}
            assert left == set(), f"{kind}: {left}"
        assert self.canary_weights() == []
        releases = json.loads(
            self.inside("helm", "list", "--namespace", NAMESPACE, "--output", "json")
        )
        assert [release["name"] for release in releases] == ["tars"]

    def assert_no_client_noticed(self) -> None:
        seen = self.clients()
        assert seen["sent"] > 500
        assert seen["lost"] == 0, seen
        assert set(seen["by_status"]) == {"200"}, seen
