"""Journal and lock on a real API server: writers at the same time, expiry, preemption."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tarsrelease.adapters.kubernetes.client import CONFIG_MAP, LEASE, KubernetesApi
from tarsrelease.adapters.kubernetes.journal import ConfigMapJournal, bounded
from tarsrelease.adapters.kubernetes.lock import LeaseLock
from tarsrelease.model.errors import LockedError, UsageError
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.release import Run


def entry(number: int, release: str = "1.0.1") -> Entry:
    return Entry(
        at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
        run="r1",
        release=release,
        step="test",
        action="shift",
        phase=Phase.INTENT,
        facts={"number": number},
    )


def test_entries_come_back_in_order_and_other_keys_are_kept(cluster: KubernetesApi) -> None:
    journal = ConfigMapJournal(cluster, "tars")
    assert journal.entries() == []
    journal.append(entry(1))
    cluster.merge(CONFIG_MAP, "tarsrelease-tars", {"data": {"heads": "abc"}})
    journal.append(entry(2))
    assert journal.entries() == [entry(1), entry(2)]
    found = cluster.get(CONFIG_MAP, "tarsrelease-tars")
    assert found is not None
    assert found["data"]["heads"] == "abc"


def test_an_entry_carries_the_heads_of_the_evidence_when_they_change(
    cluster: KubernetesApi,
) -> None:
    heads = [("a" * 64,), ("a" * 64,), ("b" * 64, "c" * 64)]
    journal = ConfigMapJournal(cluster, "tars", lambda: heads.pop(0))
    for number in range(3):
        journal.append(entry(number))
    found = [each.evidence for each in journal.entries()]
    assert found == [("a" * 64,), (), ("b" * 64, "c" * 64)]


def test_writers_at_the_same_time_lose_nothing(cluster: KubernetesApi) -> None:
    journal = ConfigMapJournal(cluster, "tars")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: journal.append(entry(number)), range(12)))
    assert sorted(str(e.facts.model_dump()["number"]) for e in journal.entries()) == sorted(
        str(number) for number in range(12)
    )


def test_a_broken_journal_is_an_error_and_no_empty_one(cluster: KubernetesApi) -> None:
    body = {"metadata": {"name": "tarsrelease-tars"}, "data": {"journal.jsonl": '{"at": 1}\n'}}
    cluster.create(CONFIG_MAP, body)
    with pytest.raises(UsageError, match="invalid line"):
        ConfigMapJournal(cluster, "tars").entries()


def test_a_full_journal_drops_other_releases_first() -> None:
    old = [entry(number, "1.0.0") for number in range(5)]
    new = [entry(number) for number in range(5, 10)]
    assert bounded([*old, *new], 7) == [*old[3:], *new]
    assert bounded([*old, *new], 3) == new[2:]
    assert bounded([*new, *old], 7) == [*new[3:], *old]


def lease_lock(cluster: KubernetesApi, name: str) -> LeaseLock:
    return LeaseLock(cluster, "tars", Run(id=name, owner=f"{name}@example"))


@pytest.fixture
def locks(cluster: KubernetesApi) -> Iterator[tuple[LeaseLock, LeaseLock]]:
    first, second = lease_lock(cluster, "first"), lease_lock(cluster, "second")
    yield first, second
    first.release()
    second.release()


def test_a_second_run_is_told_who_holds_it(locks: tuple[LeaseLock, LeaseLock]) -> None:
    first, second = locks
    assert first.holder() is None
    first.acquire()
    first.acquire()  # ours already
    holder = second.holder()
    assert holder is not None
    assert (holder.run, holder.owner) == ("first", "first@example")
    with pytest.raises(LockedError, match="run first of first@example"):
        second.acquire()
    first.release()
    assert second.holder() is None
    second.acquire()
    second.check()


def test_a_rollback_preempts_and_the_former_holder_finds_out(
    locks: tuple[LeaseLock, LeaseLock],
) -> None:
    first, second = locks
    first.acquire()
    second.acquire(preempt=True)
    with pytest.raises(LockedError, match="run second"):
        first.check()
    first.release()  # not ours any more: nothing happens
    second.check()


def test_an_expired_lock_may_be_taken(
    cluster: KubernetesApi, locks: tuple[LeaseLock, LeaseLock]
) -> None:
    first, second = locks
    first.acquire()
    long_ago = (datetime.now(UTC) - timedelta(seconds=31)).isoformat().replace("+00:00", "Z")
    cluster.merge(LEASE, "tarsrelease-tars", {"spec": {"renewTime": long_ago}})
    second.acquire()
    with pytest.raises(LockedError):
        first.check()


def test_an_expired_lock_that_nobody_took_is_still_ours(
    cluster: KubernetesApi, locks: tuple[LeaseLock, LeaseLock]
) -> None:
    first, second = locks
    first.acquire()
    long_ago = (datetime.now(UTC) - timedelta(minutes=5)).isoformat().replace("+00:00", "Z")
    cluster.merge(LEASE, "tarsrelease-tars", {"spec": {"renewTime": long_ago}})
    first.check()
    holder = second.holder()
    assert holder is not None
    assert holder.run == "first"


def test_a_holder_that_was_killed_is_waited_for(
    cluster: KubernetesApi, locks: tuple[LeaseLock, LeaseLock]
) -> None:
    first, second = locks
    first.acquire()
    first._stop_renewing()  # as kill -9 does
    nearly = (datetime.now(UTC) - timedelta(seconds=17)).isoformat().replace("+00:00", "Z")
    cluster.merge(LEASE, "tarsrelease-tars", {"spec": {"renewTime": nearly}})
    second.acquire()
    holder = second.holder()
    assert holder is not None
    assert holder.run == "second"


def test_of_two_at_the_same_time_one_gets_it(cluster: KubernetesApi) -> None:
    runs = [lease_lock(cluster, f"run-{number}") for number in range(4)]

    def attempt(lock: LeaseLock) -> bool:
        try:
            lock.acquire()
        except LockedError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(attempt, runs))
    for lock in runs:
        lock.release()
    assert got.count(True) == 1
