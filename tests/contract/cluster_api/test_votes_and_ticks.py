"""Votes, overrides, a new window and ticks in the journal of a real API server."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from bare_api import BareApi

sys.path.insert(0, str(Path(__file__).parents[2] / "simulation"))

from contexts import context

from tarsrelease.adapters.kubernetes.client import KubernetesApi
from tarsrelease.adapters.kubernetes.journal import ConfigMapJournal
from tarsrelease.cli import main
from tarsrelease.context import Context
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import ForbiddenError
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.people import Answer
from tarsrelease.model.release import Release
from tarsrelease.model.window import FixedWindow
from tarsrelease.readiness import checklists
from tarsrelease.rollout import votes
from tarsrelease.rollout.window import in_force
from tarsrelease.steps.check_readiness import follow_up, tick
from tarsrelease.steps.go_no_go_votes import cast, override, postpone

ROOT = Path(__file__).parents[3]
READ_ONLY = ROOT / "rbac" / "read-only.yaml"
ADA = Lifting(by="Ada", reason="staging is down")
ROLES = ("release-manager", "sre", "qa", "engineering")


def of(cluster: KubernetesApi, release: Release, environment: Environment) -> Context:
    journal = ConfigMapJournal(cluster, release.rollout.application)
    return context(release, environment, journal=journal)


def test_four_people_vote_at_the_same_time_and_another_process_reads_every_vote(
    cluster: KubernetesApi, release: Release, environment: Environment
) -> None:
    mine = release.model_copy(update={"identity": "a" * 64})
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda role: cast(of(cluster, mine, environment), role, Answer.GO, "Ada", ""), ROLES
            )
        )
    override(of(cluster, mine, environment), "staging", ADA, lambda _: ())
    entries = ConfigMapJournal(cluster, release.rollout.application).entries()
    found = votes.votes(entries, release.version, "a" * 64)
    assert {each.role for each in found} == set(ROLES)
    assert all(each.go and each.by == "Ada" and each.at for each in found)
    assert votes.votes(entries, release.version, "b" * 64) == [], "other bytes, other votes"
    assert list(votes.overrides(entries, release.version, "a" * 64)) == ["staging"]


def test_a_new_window_ticks_and_follow_ups_survive_a_restart(
    cluster: KubernetesApi, release: Release, environment: Environment
) -> None:
    ctx = of(cluster, release, environment)
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    window = FixedWindow(starts=start, ends=start + timedelta(hours=4))
    postpone(ctx, window, ADA, lambda _: ())
    tick(ctx, "support-briefed", "Bo", "on Monday")
    item = follow_up(ctx, "raise the limit", "Cy", start.date())
    tick(of(cluster, release, environment), item, "Cy", "done")
    entries = ConfigMapJournal(cluster, release.rollout.application).entries()
    assert in_force(release.rollout, entries).window == window
    ticked = checklists.ticks(entries, release.version)
    assert {name: facts.by for name, (_, facts) in ticked.items()} == {
        "support-briefed": "Bo",
        item: "Cy",
    }
    (task,) = checklists.follow_ups(entries, release.version).values()
    assert (task.owner, task.due) == ("Cy", start.date())


def test_the_role_that_only_reads_cannot_vote(
    api: BareApi,
    cluster: KubernetesApi,
    release: Release,
    environment: Environment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cast(of(cluster, release, environment), "qa", Answer.GO, "Ada", "")
    space = ("--namespace", cluster.namespace)
    api.kubectl("apply", *space, "--filename", "-", stdin=READ_ONLY.read_text())
    token = api.kubectl("create", "token", "tarsrelease-read", *space).strip()
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(token)))
    reader = KubernetesApi.connect("bare", cluster.namespace)
    with pytest.raises(ForbiddenError):
        cast(of(reader, release, environment), "qa", Answer.NO_GO, "Eve", "")
    entries = ConfigMapJournal(reader, release.rollout.application).entries()
    assert [each.by for each in votes.votes(entries, release.version, None)] == ["Ada"]


def test_plan_uses_the_window_of_the_journal(
    cluster: KubernetesApi,
    release: Release,
    environment: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    window = FixedWindow(starts=start, ends=start + timedelta(hours=4))
    postpone(of(cluster, release, environment), window, ADA, lambda _: ())
    place = yaml.safe_load((ROOT / "environments" / "rehearsal.yaml").read_text())
    place["kubernetes"] = {"context": "bare", "namespace": cluster.namespace}
    file = tmp_path / "rehearsal.yaml"
    file.write_text(yaml.safe_dump(place))
    monkeypatch.chdir(ROOT)

    def planned(*more: str) -> object:
        with pytest.raises(SystemExit) as ended:
            main(["plan", "--release", "1.0.1", "--environment", str(file), *more])
        return ended.value.code or 0

    inside = ("--at", (start + timedelta(hours=1)).isoformat())
    assert planned() == 0, "a rehearsal has no window of its own"
    assert planned("--journal") == 1, "it is two days too early"
    assert planned("--journal", *inside) == 0
