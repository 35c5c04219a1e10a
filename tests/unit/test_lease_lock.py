"""The lock on an object store in memory: who holds it, and what a deleted Lease means."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, cast

import pytest

from tarsrelease.adapters.kubernetes import lock as lock_module
from tarsrelease.adapters.kubernetes.client import Conflict, KubernetesApi
from tarsrelease.adapters.kubernetes.lock import LeaseLock
from tarsrelease.model.errors import LockedError
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.release import Run


class Store:
    """Objects by name, with compare-and-swap by resourceVersion as the API server does it."""

    skew = 0.0

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.version = 0

    def get(self, kind: object, name: str) -> dict[str, Any] | None:
        return copy.deepcopy(self.objects.get(name))

    def create(self, kind: object, body: dict[str, Any]) -> None:
        if body["metadata"]["name"] in self.objects:
            raise Conflict
        self._keep(body)

    def replace(self, kind: object, body: dict[str, Any]) -> None:
        found = self.objects.get(body["metadata"]["name"])
        wanted = body["metadata"].get("resourceVersion")
        if found is None or found["metadata"]["resourceVersion"] != wanted:
            raise Conflict
        self._keep(body)

    def _keep(self, body: dict[str, Any]) -> None:
        self.version += 1
        kept = copy.deepcopy(body)
        kept["metadata"]["resourceVersion"] = str(self.version)
        self.objects[kept["metadata"]["name"]] = kept


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def locks(store: Store) -> Iterator[tuple[LeaseLock, LeaseLock]]:
    """Two processes of one run."""
    run = Run(id="4711-1", owner="https://github.example/run/4711")
    both = tuple(LeaseLock(cast("KubernetesApi", store), "tars", run) for _ in range(2))
    yield both[0], both[1]
    for lock in both:
        lock.release()


def test_two_processes_of_one_run_never_hold_it_together(
    locks: tuple[LeaseLock, LeaseLock],
) -> None:
    first, second = locks
    first.acquire()
    first.acquire()  # ours already
    with pytest.raises(LockedError, match="another process of this run"):
        second.check()
    second.acquire(preempt=True)
    with pytest.raises(LockedError):
        first.check()
    first.release()  # not ours any more
    second.check()


def test_a_deleted_lease_is_taken_again(store: Store, locks: tuple[LeaseLock, LeaseLock]) -> None:
    first, second = locks
    first.acquire()
    store.objects.clear()
    first.check()
    with pytest.raises(LockedError):
        second.check()


def test_a_deleted_lease_that_somebody_else_took_is_lost(
    store: Store, locks: tuple[LeaseLock, LeaseLock]
) -> None:
    first, second = locks
    first.acquire()
    store.objects.clear()
    second.acquire()
    with pytest.raises(LockedError):
        first.check()


def entry(run: str, action: str) -> Entry:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Entry(at=at, run=run, release="1.0.1", step=action, action=action, phase=Phase.RESULT)


@pytest.mark.parametrize(
    ("since", "lost"),
    [([], False), ([("1", "gate")], False), ([("2", "hold")], False), ([("2", "rollback")], True)],
)
def test_a_deleted_lease_is_lost_if_another_run_has_acted_since(
    store: Store, since: list[tuple[str, str]], lost: bool
) -> None:
    entries = [entry("0", "rollback"), entry("0", "deploy")]
    run = Run(id="1", owner="alice")
    lock = LeaseLock(cast("KubernetesApi", store), "tars", run, lambda: entries)
    lock.acquire()
    entries += [entry(*each) for each in since]
    store.objects.clear()
    if lost:
        with pytest.raises(LockedError, match="since then run 2 has acted: rollback"):
            lock.check()
        assert store.objects == {}
    else:
        lock.check()
    lock.release()


def test_a_journal_that_was_deleted_with_the_lease_does_not_end_the_run(store: Store) -> None:
    entries = [entry("0", "deploy")]
    run = Run(id="1", owner="alice")
    lock = LeaseLock(cast("KubernetesApi", store), "tars", run, lambda: entries)
    lock.acquire()
    entries[:] = [entry("1", "gate")]
    store.objects.clear()
    lock.check()
    lock.release()


@pytest.mark.parametrize("apart", [-600.0, 600.0])
def test_a_machine_whose_clock_is_wrong_takes_no_lease_that_is_held(
    store: Store, monkeypatch: pytest.MonkeyPatch, apart: float
) -> None:
    """`apart` is what is wrong with the second machine's clock, which the server's Date shows."""
    first = LeaseLock(cast("KubernetesApi", store), "tars", Run(id="1", owner="alice"))
    first.acquire()

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=apart)

    other = copy.copy(store)
    other.skew = -apart
    second = LeaseLock(cast("KubernetesApi", other), "tars", Run(id="2", owner="bob"))
    monkeypatch.setattr(lock_module, "datetime", Wrong)
    monkeypatch.setattr(lock_module, "_RENEWAL", 0.2)
    held = second.holder()
    assert held is not None
    assert held.run == "1"
    store.objects.clear()
    second.acquire()
    monkeypatch.undo()
    held = first.holder()
    assert held is not None
    assert abs((held.expires_at - datetime.now(UTC)).total_seconds() - 20) < 3
    second.release()
    first.release()
