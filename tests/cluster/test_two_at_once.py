"""Two whole releases that start within a second: one proceeds, and the audit log has one writer."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from in_background import Running
from tars_day import NAMESPACE, Day
from troubles import shorter

from tarsrelease.model.outcome import ExitCode
from tarsrelease.rehearsal.commands import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(900)]

USERS = ("first", "second")
RUN = ("run", "--yes", "--stages", "10,100")


@pytest.fixture
def day(cluster: Cluster, tmp_path: Path) -> Day:
    day = Day(cluster, tmp_path)
    shorter(day)
    day.install()
    return day


def as_user(day: Day, user: str) -> list[str]:
    """The beginning of a command line that the API server knows by this ServiceAccount."""
    day.kubectl("delete", "serviceaccount", user, "--ignore-not-found")
    day.kubectl("create", "serviceaccount", user)
    binding = f"test-{user}"
    day.kubectl("delete", "clusterrolebinding", binding, "--ignore-not-found")
    day.kubectl(
        *("create", "clusterrolebinding", binding, "--clusterrole", "cluster-admin"),
        f"--serviceaccount={NAMESPACE}:{user}",
    )
    path = day.kubeconfig_of(user)
    evidence = day.folder / f"evidence-{user}"
    return ["env", f"KUBECONFIG={path}", f"TARSRELEASE_RUN={user}", *_with(day, evidence)]


def _with(day: Day, evidence: Path) -> list[str]:
    command = day.command(*RUN)
    command[command.index("--evidence") + 1] = str(evidence)
    return command


def changes(day: Day) -> dict[str, Counter[str]]:
    """By user, how often it changed which kind of object in production, Leases left out."""
    found: dict[str, Counter[str]] = {user: Counter() for user in USERS}
    log = day.cluster.folder.logs / "audit.jsonl"
    for line in log.read_text().splitlines():
        event = json.loads(line)
        user = event.get("user", {}).get("username", "").rpartition(":")[2]
        resource = event.get("objectRef", {}).get("resource")
        if user not in found or resource == "leases" or "dryRun" in event["requestURI"]:
            continue
        if event["stage"] == "ResponseComplete" and event["responseStatus"]["code"] < 300:
            found[user][resource] += 1
    return found


@pytest.mark.parametrize("apart", [0.0, 0.3, 1.0])
def test_of_two_releases_one_proceeds_and_one_says_why_not(day: Day, apart: float) -> None:
    argvs = [as_user(day, user) for user in USERS]
    before = changes(day)
    with day.load(400.0):
        day.wait_until_scraped()
        with Running(day, argv=argvs[0]) as first:
            time.sleep(apart)
            with Running(day, argv=argvs[1]) as second:
                ends = [r.outcome(ExitCode.DONE, ExitCode.LOCKED) for r in (first, second)]
        day.assert_no_client_noticed()
    codes = [end["exit_code"] for end in ends]
    assert sorted(codes) == [ExitCode.DONE, ExitCode.LOCKED], ends
    refused = ends[codes.index(ExitCode.LOCKED)]
    assert "holds it since" in refused["error"]["found"]
    wrote = {user: found - before[user] for user, found in changes(day).items()}
    winner, loser = (USERS[codes.index(code)] for code in (ExitCode.DONE, ExitCode.LOCKED))
    print(f"\n{winner}: {dict(wrote[winner])}; {loser}: {dict(wrote[loser])}")
    assert wrote[winner]["httproutes"] > 3
    assert not wrote[loser]
    journal = json.loads(day.kubectl("get", "configmap", "tarsrelease-tars", "-o", "json"))
    runs = {
        entry["run"] for entry in map(json.loads, journal["data"]["journal.jsonl"].splitlines())
    }
    assert runs == {winner}
    assert day.versions() == {"1.0.1"}
