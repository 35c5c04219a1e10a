"""The rehearsal cluster is a real one, and leaves nothing behind however it ends."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tarsrelease.rehearsal import commands, control, world
from tarsrelease.rehearsal.state import StateFolder

pytestmark = pytest.mark.slow

Kubectl = Callable[..., str]


def _ask(cluster: commands.Cluster, url: str) -> Any:
    done = cluster.run(["curl", "-sS", "--max-time", "5", "--fail", url])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _query(cluster: commands.Cluster, expression: str) -> list[dict[str, Any]]:
    query = urllib.parse.quote(expression)
    reply = _ask(cluster, f"http://{world.PROMETHEUS}/api/v1/query?query={query}")
    assert reply["status"] == "success"
    found: list[dict[str, Any]] = reply["data"]["result"]
    return found


def _until(check: Callable[[], bool], deadline: float = 30.0) -> None:
    end = time.monotonic() + deadline
    while not check():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.05)


def _part(cluster: commands.Cluster, name: str) -> dict[str, Any]:
    reply = cluster.control({"do": "status"})
    return next(part for part in reply["parts"] if part["name"] == name)


def test_the_node_is_ready_in_the_version_that_was_built(kubectl: Kubectl) -> None:
    (node,) = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    conditions = {one["type"]: one["status"] for one in node["status"]["conditions"]}
    assert conditions["Ready"] == "True"
    version = json.loads(kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
    assert version.startswith("v1.3")


def test_the_backing_services_answer_by_name_in_both_namespaces(kubectl: Kubectl) -> None:
    for namespace in (world.PRODUCTION, world.STAGING):
        for name in ("tars-postgres", "tars-redis"):
            kubectl("-n", namespace, "rollout", "status", f"deployment/{name}", "--timeout=5s")


def test_names_are_resolved_inside(cluster: commands.Cluster) -> None:
    found = cluster.run(["getent", "hosts", f"tars-postgres.{world.PRODUCTION}"])
    assert found.stdout.startswith("10.43."), found.stderr


def test_a_deployment_becomes_ready_and_its_log_and_usage_are_read(
    cluster: commands.Cluster, kubectl: Kubectl
) -> None:
    container = {
        "name": "cache",
        "image": "docker.io/valkey/valkey:9.1",
        "readinessProbe": {"tcpSocket": {"port": 6379}, "periodSeconds": 1},
    }
    labels = {"app": "try"}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "try", "namespace": "default"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(deployment))
    try:
        kubectl("rollout", "status", "deployment/try", "--timeout=30s")
        assert "Ready to accept connections" in kubectl("logs", "deployment/try")
        # A new pod's usage takes two readings of its processor time.
        top = ["kubectl", "top", "pods", "-l", "app=try", "--no-headers"]
        _until(lambda: len(cluster.run(top).stdout.splitlines()) == 2)
    finally:
        kubectl("delete", "deployment", "try", "--wait")


def test_the_gateway_is_programmed_and_the_router_answers(
    cluster: commands.Cluster, kubectl: Kubectl
) -> None:
    gateway = ["-n", world.GATEWAY_NAMESPACE, "get", "gateway", world.GATEWAY_NAME]
    ready = '-o=jsonpath={.status.conditions[?(@.type=="Programmed")].status}'
    assert kubectl(*gateway, ready) == "True"
    write = "%{http_code}"
    asked = cluster.run(["curl", "-s", "-o", "/dev/null", "-w", write, f"http://{world.ROUTER}/"])
    assert asked.stdout == "404"  # there is no route yet


def test_prometheus_has_a_day_behind_it_and_nothing_of_it_in_the_present(
    cluster: commands.Cluster,
) -> None:
    rate = "sum(increase(http_requests_total{namespace='tars-production'}[24h])) / 86400"
    (mean,) = _query(cluster, rate)
    assert float(mean["value"][1]) == pytest.approx(94, rel=0.05)
    assert _query(cluster, "http_requests_total") == []
    _until(lambda: len(_query(cluster, "up == 1")) == 2)  # the node and the router


def test_a_pod_that_asks_for_it_is_scraped_under_its_names(
    cluster: commands.Cluster, kubectl: Kubectl
) -> None:
    server = {
        "name": "metrics",
        "image": "docker.io/valkey/valkey:9.1",
        "command": ["sh", "-c"],
        "args": [
            f"echo 'answers_total 7' > metrics.txt && exec {sys.executable} -m http.server"
            ' --bind "$POD_IP" 8080'
        ],
    }
    labels = {"service": "try", "deployment": "canary", "version": "1.0.1", "agent_type": "ppo"}
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}
    annotations["prometheus.io/path"] = "/metrics.txt"  # http.server knows text by its name
    metadata = {"name": "scraped", "labels": labels, "annotations": annotations}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    pod["spec"] = {"containers": [server], "terminationGracePeriodSeconds": 1}
    kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    try:
        _until(lambda: bool(_query(cluster, "answers_total")), deadline=40)
        (series,) = _query(cluster, "answers_total")
        expected = {**labels, "namespace": "default", "pod": "scraped"}
        assert expected.items() <= series["metric"].items()
        assert series["value"][1] == "7"
    finally:
        kubectl("delete", "pod", "scraped", "--wait")


def test_metrics_can_hang_and_die_and_come_back(cluster: commands.Cluster) -> None:
    health = ["curl", "-sS", "--max-time", "1", f"http://{world.PROMETHEUS}/-/ready"]
    refused, timed_out = 7, 28  # curl's exit codes
    cluster.control({"do": "pause", "part": "prometheus"})
    assert cluster.run(health).returncode == timed_out
    cluster.control({"do": "resume", "part": "prometheus"})
    assert cluster.run(health).returncode == 0
    cluster.control({"do": "kill", "part": "prometheus"})
    assert cluster.run(health).returncode == refused
    cluster.control({"do": "start", "part": "prometheus"})
    assert cluster.run(health).returncode == 0


def test_a_part_that_dies_comes_back(cluster: commands.Cluster) -> None:
    before = _part(cluster, "traefik")
    cluster.run(["kill", "-9", str(before["pid"])])
    _until(lambda: _part(cluster, "traefik")["restarts"] == before["restarts"] + 1)
    ping = ["curl", "-sS", f"http://{world.ROUTER_METRICS}/ping"]
    _until(lambda: cluster.run(ping).stdout == "OK")


def test_the_load_generator_is_started_and_stopped(cluster: commands.Cluster) -> None:
    plan = json.dumps([{"host": "tars.ai", "path": "/health", "rate": 20}])
    arguments = ["--target", f"http://{world.ROUTER}", "--report", world.LOAD_REPORT]
    cluster.control({"do": "load-start", "arguments": [*arguments, "--plan", plan]})
    try:
        _until(lambda: _ask(cluster, f"http://{world.LOAD_REPORT}/report")["answered"] > 20)
        with pytest.raises(control.ControlError, match="already"):
            cluster.control({"do": "load-start", "arguments": arguments})
    finally:
        cluster.control({"do": "load-stop"})
    assert _part(cluster, "load")["state"] == "stopped"


def test_what_cannot_be_done_is_said(cluster: commands.Cluster) -> None:
    with pytest.raises(control.ControlError, match=r"there is no part 'nonsense'.*etcd"):
        cluster.control({"do": "kill", "part": "nonsense"})
    with pytest.raises(control.ControlError, match="cannot 'paint'"):
        cluster.control({"do": "paint", "part": "etcd"})
    with pytest.raises(control.ControlError, match="not understood"):
        cluster.control({"dont": 1})


def test_up_twice_says_that_it_is_up(cluster: commands.Cluster) -> None:
    said: list[str] = []
    again = commands.up(cluster.folder.name, said.append)
    assert again.record == cluster.record
    assert any("already up" in text for text in said)


def test_what_runs_inside_keeps_the_callers_folder_and_exit_status(
    cluster: commands.Cluster,
) -> None:
    done = cluster.run(["sh", "-c", "pwd; exit 3"])
    assert (done.returncode, done.stdout) == (3, f"{Path.cwd()}\n")


def test_what_runs_inside_ends_when_its_caller_is_killed(cluster: commands.Cluster) -> None:
    outside = subprocess.Popen(
        cluster.enter_argv(["sh", "-c", "echo $$; exec sleep 1000"]), stdout=subprocess.PIPE
    )
    with outside:
        assert outside.stdout is not None
        pid = outside.stdout.readline().decode().strip()
        outside.kill()
    _until(lambda: cluster.run(["test", "-e", f"/proc/{pid}"]).returncode == 1)


def _namespaces(pid: int) -> set[str]:
    return {str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in ("net", "pid", "ipc")}


def _still_used(namespaces: set[str]) -> list[str]:
    """Processes that are in one of the namespaces."""
    found = []
    for link in Path("/proc").glob("[0-9]*/ns/*"):
        try:
            if str(link.readlink()) in namespaces:
                found.append(str(link))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def test_killing_process_1_ends_everything_and_the_next_up_works(own_name: str) -> None:
    first = commands.up(own_name, lambda _: None)
    namespaces = _namespaces(first.record.process.pid)
    assert len(_still_used(namespaces)) > 20
    assert first.record.process.kill(deadline=20)
    _until(lambda: not _still_used(namespaces))
    assert commands.status(own_name).phase == "dead"
    second = commands.up(own_name, lambda _: None)
    assert second.run(["kubectl", "get", "nodes"]).returncode == 0
    commands.down(own_name, lambda _: None)
    assert not second.record.process.is_running()
    assert [entry.name for entry in second.folder.root.iterdir()] == ["logs"]


_CALLER = """
import sys
from tarsrelease.rehearsal import commands
commands.up(sys.argv[1], lambda text: print(text, flush=True), tied=sys.argv[2] == "tied")
print("up", flush=True)
sys.stdin.read()
"""


def _caller(name: str, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _CALLER, name, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _wait_gone(folder: StateFolder) -> None:
    record = folder.read()
    assert record is not None
    try:
        handle = os.pidfd_open(record.process.pid)
    except ProcessLookupError:
        return
    try:
        if record.process.is_running():
            assert select.select([handle], [], [], 20)[0], "process 1 outlived its caller"
    finally:
        os.close(handle)


def test_a_tied_cluster_ends_when_its_caller_is_killed(own_name: str) -> None:
    with _caller(own_name, "tied") as caller:
        assert caller.stdout is not None
        assert any(line == "up\n" for line in caller.stdout)
        assert commands.status(own_name).phase == "ready"
        caller.kill()
    _wait_gone(commands.folder_of(own_name))


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_start_that_is_cut_off_leaves_nothing(own_name: str, number: signal.Signals) -> None:
    with _caller(own_name, "detached") as caller:
        assert caller.stdout is not None
        assert any("kube-apiserver ready" in line for line in caller.stdout)
        record = commands.folder_of(own_name).read()
        assert record is not None
        caller.send_signal(number)
    _until(lambda: not record.process.is_running())
    assert commands.status(own_name).phase in {"dead", "absent"}


@pytest.mark.full
def test_a_detached_cluster_outlives_its_caller(own_name: str) -> None:
    with _caller(own_name, "detached") as caller:
        assert caller.stdout is not None
        assert any(line == "up\n" for line in caller.stdout)
        caller.kill()
    assert commands.status(own_name).phase == "ready"
    # Nor does it end with somebody who held it for a while.
    commands.up(own_name, lambda _: None, tied=True).close()
    assert commands.status(own_name).phase == "ready"


@pytest.mark.full
def test_two_that_hold_a_cluster_end_it_together(own_name: str) -> None:
    mine = commands.up(own_name, lambda _: None, tied=True)
    with _caller(own_name, "tied") as other:
        assert other.stdout is not None
        assert any(line == "up\n" for line in other.stdout)
        mine.close()
        assert mine.record.process.is_running()
        other.kill()
    _wait_gone(mine.folder)


_ORDINARY_USER = """
import os, sys
from tarsrelease.rehearsal import commands
assert os.geteuid() == 1000
cluster = commands.up(sys.argv[1], lambda text: None)
assert cluster.record.user_namespace
print(cluster.run(["kubectl", "get", "pods", "-A", "--no-headers"]).stdout)
commands.down(sys.argv[1], lambda text: None)
assert not cluster.record.process.is_running()
"""


@pytest.mark.full
@pytest.mark.skipif(os.geteuid() != 0, reason="without root, every other test shows it")
def test_it_needs_no_root(own_name: str) -> None:
    """As user 1000 without any capability, in a user namespace where the files are still ours."""
    ordinary = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    done = subprocess.run(
        [*ordinary, sys.executable, "-c", _ORDINARY_USER, own_name],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split("Running")) == 5, done.stdout  # four pods
