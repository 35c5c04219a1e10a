"""The release's lock: every change under it checks it first, and rollbacks take it over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from tarsrelease.context import Context
from tarsrelease.model.errors import LockedError, ReleaseError
from tarsrelease.model.journal import Entry, LockHolder
from tarsrelease.operations.answering import patiently
from tarsrelease.operations.tasks import result_of
from tarsrelease.ports.cluster import Lock
from tarsrelease.rollout import release_journal

_CHANGES = frozenset(
    {
        *("shift", "annotate", "retire"),
        *("scale", "keep_at_least", "remove_leftovers"),
        *("upgrade", "rollback", "uninstall"),
    }
)


@dataclass(frozen=True, slots=True)
class _Checked:
    """A port whose changes check the lock first."""

    port: Any
    lock: Lock

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.port, name)
        if name not in _CHANGES:
            return found

        def change(*args: Any, **named: Any) -> Any:
            self.lock.check()
            return found(*args, **named)

        return change


@dataclass(frozen=True, slots=True)
class _Kept:
    """A lock that the steps of a longer block acquire and release, and that the block keeps."""

    lock: Lock

    def acquire(self, *, preempt: bool = False) -> None:
        self.lock.acquire(preempt=preempt)

    def check(self) -> None:
        self.lock.check()

    def release(self) -> None:
        """Leave it to the block."""

    def holder(self) -> LockHolder | None:
        return self.lock.holder()


@contextmanager
def keeping_lock(context: Context) -> Iterator[Context]:
    """Hold the lock over several steps. Waits for an API server that does not answer.

    The steps run with the context that it yields. Each acquires the lock again, so a step after a
    rollback that took the lock is refused.
    """
    lock = context.cluster.lock
    result_of(context.clock, patiently(context, "lock", lock.acquire))
    try:
        yield replace(context, cluster=replace(context.cluster, lock=_Kept(lock)))
    finally:
        lock.release()


@contextmanager
def under_lock(context: Context) -> Iterator[Context]:
    """Hold the lock for the length of the block. Waits for an API server that does not answer.

    The context that it yields checks the lock before each change of routes, workloads and Helm
    releases, so that a process that lost the lock changes nothing more. A LockedError that leaves
    the block says what the journal knows of the run that took over.
    """
    cluster = context.cluster
    checked: dict[str, Any] = {
        name: cast("Any", _Checked(getattr(cluster, name), cluster.lock))
        for name in ("routes", "workloads", "charts")
    }
    result_of(context.clock, patiently(context, "lock", cluster.lock.acquire))
    try:
        yield replace(context, cluster=replace(cluster, **checked))
    except LockedError as error:
        raise _explained(context, error) from error
    finally:
        cluster.lock.release()


def refuse_overtaken(context: Context) -> None:
    """Raise LockedError if another process took the lock. An API server that is away has not."""
    try:
        context.cluster.lock.check()
    except LockedError:
        raise
    except ReleaseError:
        return


def refuse_ended_since(context: Context, began: datetime) -> None:
    """Raise LockedError if another run rolled the release back or aborted it after `began`.

    A run that began before that must not start the release again.
    """
    entries, version = context.cluster.journal.entries(), context.release.version
    ended = release_journal.ended_since(entries, version, began, context.run.id)
    if ended is not None:
        raise _ended_by(context, ended, f"releasing {version}")


def _explained(context: Context, error: LockedError) -> LockedError:
    """The error with the rollback that took over, if the journal has one."""
    try:
        entries = context.cluster.journal.entries()
    except ReleaseError:
        return error
    ended = release_journal.ended_by_person(entries, context.release.version)
    if ended is None or ended.run == context.run.id:
        return error
    return _ended_by(context, ended, error.detail.doing)


def _ended_by(context: Context, ended: Entry, doing: str) -> LockedError:
    how = "aborted" if ended.action == release_journal.ABORT else "rolled back"
    reason = getattr(ended.facts, "reason", None)
    return LockedError(
        doing=doing,
        found=f"run {ended.run} {how} {context.release.version} meanwhile"
        + (f": {reason}" if reason else ""),
        expected=f"run {context.run.id} to hold the release's lock until it ends",
        next_step="nothing is to be done here; `tarsrelease status` shows where the release is",
    )


@contextmanager
def taking_over(context: Context) -> Iterator[None]:
    """Hold the lock during the block, also if another run holds it.

    Failures are only reported: a rollback continues without the lock.
    """
    lock = context.cluster.lock
    try:
        lock.acquire(preempt=True)
    except ReleaseError as error:
        context.say(f"lock: cannot be acquired ({error}); continuing without it")
    try:
        yield
    finally:
        try:
            lock.release()
        except ReleaseError as error:
            context.say(f"lock: cannot be released ({error}); it will expire")
