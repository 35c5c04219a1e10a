"""Inside the cluster, beside a run: waits for a weight, then disturbs it.

    disturb.py ENVIRONMENT FAULT@WEIGHT

`errors` and the other faults of a rehearsal go to the canary's pods; `quiet` takes the load away
until the next weight; `full` leaves the namespace no room for another pod, as a quota would;
`untraced` stores a trace without an id, which no gate counts and the release's suite finds.
"""

from __future__ import annotations

import subprocess
import sys
import time

import httpx

from tarsrelease.adapters.clock import SystemClock
from tarsrelease.adapters.files.configuration import load_environment, load_release
from tarsrelease.adapters.terminal.person import Nobody
from tarsrelease.adapters.terminal.progress import progress_on
from tarsrelease.context import Assignment, People
from tarsrelease.model.release import Run
from tarsrelease.rehearsal import world
from tarsrelease.rehearsal.faults import parse_fault
from tarsrelease.rehearsal.injector import Injector
from tarsrelease.rehearsal.target import ClusterTarget
from tarsrelease.wiring.context import connect

FEW, MANY = 3.0, 300.0


def main() -> None:
    environment = load_environment(sys.argv[1])
    release = load_release("release/v1_0_1", environment)
    people = People(Nobody(), progress_on(sys.stderr, quiet=True, verbose=False))
    run = Run(id="disturb", owner="test")
    cluster = connect(Assignment(release, environment, run, people, SystemClock())).cluster
    name, _, weight = sys.argv[2].partition("@")
    target = ClusterTarget(
        release.rollout.services,
        environment.kubernetes.namespace,
        cluster=cluster,
        kubectl=["kubectl", "--context", str(environment.kubernetes.context)],
        control=None,
    )

    def wait_while(reached: bool) -> None:
        while (target.canary_weight() >= int(weight)) is not reached:
            time.sleep(0.3)

    def rate(wanted: float) -> None:
        httpx.post(f"http://{world.LOAD_REPORT}/rate", json={"rate": wanted}).raise_for_status()

    if name == "quiet":
        wait_while(reached=True)
        rate(FEW)
        while target.canary_weight() == int(weight):
            time.sleep(0.3)
        rate(MANY)
    elif name == "full":
        wait_while(reached=True)
        quota = ["create", "quota", "full", "--hard=pods=1", "--namespace", world.PRODUCTION]
        subprocess.run(["kubectl", *quota], check=True)
    elif name == "untraced":
        wait_while(reached=True)
        row = "INSERT INTO traces (trace_id, operation) VALUES ('', 'unknown')"
        psql = ["psql", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--command", row]
        subprocess.run([*psql, world.dsn(world.PRODUCTION)], check=True)
    else:
        with Injector((parse_fault(sys.argv[2]),), target, print):
            while True:
                time.sleep(1)


main()
