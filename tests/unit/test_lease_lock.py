"""The lock on an object store in memory: who holds it, and what a deleted Lease means."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, cast

import pytest

from tarsrelease.adapters.kubernetes.client import Conflict, KubernetesApi
from tarsrelease.adapters.kubernetes.lock import LeaseLock
from tarsrelease.model.errors import LockedError
from tarsrelease.model.release import Run


class Store:
    """Objects by name, with compare-and-swap by resourceVersion as the API server does it."""

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
