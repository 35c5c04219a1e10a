"""What breaks on the rehearsal cluster in the middle of a release, and how it is mended."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import yaml
from tars_day import NAMESPACE, Day

from tarsrelease.rehearsal import world

OUTAGE = 60.0
CANARY = "tars-canary-dashboard-api"
STABLE = "tars-dashboard-api"
_QUOTA = "nothing-more"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One trouble that begins while the canary is evaluated at 50 percent.

    `codes` are the exit codes of the gate that are right, `says` what its report must contain.
    `lasts`: it ends after `seconds`. `away`: the API server does not answer meanwhile. `loses`:
    clients lose requests, because the trouble takes the gateway's backends away at once.
    """

    begin: Callable[[Day], None]
    end: Callable[[Day], None] = lambda _: None
    codes: tuple[int, ...] = (0,)
    says: tuple[str, ...] = ()
    lasts: bool = False
    seconds: float = OUTAGE
    away: bool = False
    loses: bool = False


def _part(verb: str, name: str) -> Callable[[Day], None]:
    def act(day: Day) -> None:
        day.cluster.control({"do": verb, "part": name})

    return act


def _restart_postgres(day: Day) -> None:
    day.inside(
        *("kubectl", "--namespace", world.PRODUCTION, "delete", "pod", "--selector"),
        *("app.kubernetes.io/name=tars-postgres", "--wait=false"),
    )


def _evict(day: Day) -> None:
    for name in pods(day, "deployment=canary,service"):
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": NAMESPACE},
        }
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
        script = f"echo '{json.dumps(body)}' | kubectl create --raw {path} -f -"
        day.inside("bash", "-c", script)


def pods(day: Day, selector: str) -> list[str]:
    """The names of the pods that a selector matches."""
    found = day.kubectl(
        "get", "pods", "--selector", selector, "--output", "jsonpath={.items[*].metadata.name}"
    )
    return found.split()


def _fill_quota(day: Day) -> None:
    number = len(day.names("pods"))
    day.kubectl("create", "quota", _QUOTA, f"--hard=pods={number}")
    name = pods(day, "deployment=canary,service=dashboard-api")[0]
    day.kubectl("delete", "pod", name, "--wait=false")
    # Its successor must be refused: something else takes the place that it leaves.
    day.kubectl(
        "patch", "quota", _QUOTA, "--patch", f'{{"spec":{{"hard":{{"pods":"{number - 1}"}}}}}}'
    )


def _empty_quota(day: Day) -> None:
    day.kubectl("delete", "quota", _QUOTA, "--ignore-not-found")


def _forget_image(day: Day) -> None:
    container = day.kubectl(
        *("get", "deployment", CANARY, "--output"),
        "jsonpath={.spec.template.spec.containers[0].name}",
    )
    missing = "ghcr.io/tars-ai/nothing:0@sha256:" + "0" * 64
    day.kubectl("set", "image", f"deployment/{CANARY}", f"{container}={missing}")


def _weigh(weight: int) -> Callable[[Day], None]:
    def act(day: Day) -> None:
        rules = json.loads(day.kubectl("get", "httproute", "tars-dashboard-api", "-o", "json"))
        rules = rules["spec"]["rules"]
        for rule in rules:
            for backend in rule["backendRefs"]:
                canary = backend["name"] == CANARY
                backend["weight"] = weight if canary else 100 - weight
        patch = json.dumps({"spec": {"rules": rules}})
        day.kubectl(
            *("patch", "httproute", "tars-dashboard-api", "--type", "merge", "--patch", patch),
            *("--field-manager", "bob-by-hand"),
        )

    return act


def _upgrade_stable(day: Day) -> None:
    chart = Path(__file__).parents[2] / "release" / "v1_0_0" / "tars-1.0.0.tgz"
    day.inside(
        *("helm", "upgrade", "tars", str(chart), "--namespace", NAMESPACE, "--reuse-values"),
        *("--description", "hot fix"),
    )


def _scale(number: int) -> Callable[[Day], None]:
    def act(day: Day) -> None:
        day.kubectl("scale", "deployment", STABLE, f"--replicas={number}")

    return act


def _delete(kind: str) -> Callable[[Day], None]:
    def act(day: Day) -> None:
        day.kubectl("delete", kind, "tarsrelease-tars")

    return act


# 12 where the API server goes away while the routes are written: the stage can be run again.
TROUBLES = {
    "API server stopped for 60 s": Trouble(
        *(_part("kill", "kube-apiserver"), _part("start", "kube-apiserver"), (0, 10, 12)),
        lasts=True,
        away=True,
    ),
    "etcd paused for 30 s": Trouble(
        *(_part("pause", "etcd"), _part("resume", "etcd"), (0, 10)),
        lasts=True,
        seconds=30.0,
        away=True,
    ),
    "etcd paused for 60 s": Trouble(
        *(_part("pause", "etcd"), _part("resume", "etcd"), (0, 10, 11)),
        lasts=True,
        away=True,
    ),
    "Prometheus killed": Trouble(
        *(_part("kill", "prometheus"), _part("start", "prometheus"), (0, 10)), lasts=True
    ),
    "PostgreSQL restarted": Trouble(_restart_postgres),
    "node NotReady": Trouble(
        *(_part("pause", "agent"), _part("resume", "agent"), (0, 10, 11, 12)),
        lasts=True,
        loses=True,
    ),
    "pods evicted": Trouble(_evict, codes=(0, 10, 11), loses=True),
    "quota full": Trouble(_fill_quota, _empty_quota, (11,), ("0 of 1 pods ready",), loses=True),
    "image missing": Trouble(_forget_image, codes=(10,), says=("by kubectl-set",)),
    "weight by hand, 90": Trouble(_weigh(90), codes=(0,), says=("bob-by-hand",)),
    "weight by hand, 0": Trouble(_weigh(0), codes=(10,), says=("bob-by-hand",)),
    "Helm release by hand": Trouble(_upgrade_stable, codes=(10,), says=("revision 2 of tars",)),
    "replicas by hand": Trouble(_scale(1), codes=(10,), says=("was scaled to 1 by kubectl",)),
    "journal deleted": Trouble(_delete("configmap"), codes=(0,)),
    "Lease deleted": Trouble(_delete("lease"), codes=(0,)),
}


def later(seconds: float, act: Callable[[], None]) -> Thread:
    """A thread, already started, that acts then."""

    def wait() -> None:
        time.sleep(seconds)
        act()

    thread = Thread(target=wait)
    thread.start()
    return thread


def wrong_clock(folder: Path, seconds: int) -> list[str]:
    """The beginning of a command line whose clock is wrong by so many seconds; needs a compiler."""
    compiler = shutil.which("cc")
    assert compiler, "a C compiler is needed"
    library = folder / "wrong_clock.so"
    source = Path(__file__).parent / "wrong_clock.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return ["env", f"LD_PRELOAD={library}", f"WRONG_CLOCK={seconds}"]


def shorter(day: Day) -> None:
    """Stages and evaluations of a few seconds."""
    content = yaml.safe_load(day.environment.read_text())
    content["overrides"] |= {
        "confidence": "20%",
        "promotion_look": "3s",
        "promotion_bake": "2s",
        "max_extension": "30s",
    }
    day.environment.write_text(yaml.safe_dump(content))
