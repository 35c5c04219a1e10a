"""The release's lock: one Lease per application and namespace."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tarsrelease.adapters.kubernetes.client import LEASE, Conflict, KubernetesApi
from tarsrelease.adapters.kubernetes.shape import reads_answers
from tarsrelease.model.errors import LockedError, ReleaseError
from tarsrelease.model.journal import Entry, LockHolder
from tarsrelease.model.release import Run

_OWNER = "tarsrelease.dev/owner"
_PROCESS = "tarsrelease.dev/process"
_DURATION = 20
_RENEWAL = 5.0
"""Seconds between renewals; a run that misses four of them counts as dead."""
_POLL = 0.5
_SKEW = 2.0
"""Seconds by which our clock may differ from the API server's without a correction."""
_UNDER_LOCK = frozenset(
    {"deploy", "shift", "gate", "promote", "rollback", "migrate", "pin", "unpin", "take-off"}
)
"""The actions of which a process that holds the lock, or takes it over, writes entries."""


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@reads_answers
class LeaseLock:
    """A Lease that is renewed by a thread while it is held, as Helm may block for minutes.

    A run that dies stops renewing, and 20 s later anyone may take the Lease; a run that lives is
    told from it within a renewal. The holder is this object, not the run: two processes of one run
    (two jobs of a workflow, or a lost runner's) never hold it together. Times are those of the API
    server's clock, so machines whose clocks differ may share the Lease.
    """

    def __init__(
        self,
        cluster: KubernetesApi,
        application: str,
        run: Run,
        journal: Callable[[], Sequence[Entry]] = tuple,
    ) -> None:
        """`journal` returns all entries of the journal, oldest first."""
        self._cluster = cluster
        self._name = f"tarsrelease-{application}"
        self._run = run
        self._journal = journal
        self._known: Entry | None = None
        self._process = secrets.token_hex(8)
        self._stop: threading.Event | None = None

    def acquire(self, *, preempt: bool = False) -> None:
        """Acquire the lock, or raise LockedError that names the holder. Reentrant.

        If the holder does not renew (it was killed), waits until the Lease expires.
        """
        seen: datetime | None = None
        while True:
            lease = self._cluster.get(LEASE, self._name)
            holder = self._valid(lease)
            if holder is None or self._is_ours(lease) or preempt:
                try:
                    self._write(lease, fresh=holder is None or not self._is_ours(lease))
                except Conflict:
                    continue
                self._known = next(iter(reversed(self._journal())), None)
                self._keep_renewing()
                return
            if seen is not None and holder.expires_at != seen:
                raise self._locked(holder, "taking the release's lock")
            seen = holder.expires_at
            time.sleep(_POLL)

    def check(self) -> None:
        """Raise LockedError if another process has taken the lock; renew it if due.

        A Lease that somebody deleted is taken again, unless the journal shows that another run has
        acted since.
        """
        lease = self._cluster.get(LEASE, self._name)
        if lease is None:
            self._refuse_overtaken()
            try:
                self._write(None, fresh=True)
            except Conflict:
                self.check()
            return
        holder = _holder(lease)  # ours still, even if expired, when nobody took it meanwhile
        if holder is None or not self._is_ours(lease):
            self._stop_renewing()
            raise self._locked(holder, "keeping the release's lock")
        renewed = holder.expires_at - timedelta(seconds=_DURATION)
        if abs(self._now() - renewed) > timedelta(seconds=_RENEWAL):
            try:
                self._write(lease, fresh=False)
            except Conflict:
                self.check()

    def release(self) -> None:
        """Release the lock if it is ours; on a failure it expires."""
        self._stop_renewing()
        try:
            lease = self._cluster.get(LEASE, self._name)
            holder = self._valid(lease)
            if lease is not None and holder is not None and self._is_ours(lease):
                lease["spec"]["holderIdentity"] = None
                self._cluster.replace(LEASE, lease)
        except (Conflict, ReleaseError):
            return

    def holder(self) -> LockHolder | None:
        """The current holder; None if there is none or the Lease has expired."""
        return self._valid(self._cluster.get(LEASE, self._name))

    def _now(self) -> datetime:
        skew = self._cluster.skew
        return datetime.now(UTC) + timedelta(seconds=skew if abs(skew) > _SKEW else 0.0)

    def _valid(self, lease: dict[str, Any] | None) -> LockHolder | None:
        """The holder; None if there is none or the Lease has expired."""
        holder = _holder(lease)
        return None if holder is None or holder.expires_at < self._now() else holder

    def _refuse_overtaken(self) -> None:
        """Raise LockedError if another run has changed something since we acquired the lock."""
        entries = list(self._journal())
        since = entries.index(self._known) + 1 if self._known in entries else 0
        for entry in entries[since:]:
            if entry.run != self._run.id and entry.action in _UNDER_LOCK:
                self._stop_renewing()
                raise LockedError(
                    doing="keeping the release's lock",
                    found=f"its Lease was deleted, and since then run {entry.run} has acted: "
                    f"{entry.step}, {entry.action}",
                    expected=f"run {self._run.id}",
                    next_step="`tarsrelease status` shows where the release is",
                )

    def _write(self, lease: dict[str, Any] | None, *, fresh: bool) -> None:
        now = _written(self._now())
        body: dict[str, Any] = lease or {"metadata": {"name": self._name}, "spec": {}}
        body["metadata"].setdefault("annotations", {}).update(
            {_OWNER: self._run.owner, _PROCESS: self._process}
        )
        spec = body["spec"]
        if fresh:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        spec |= {
            "holderIdentity": self._run.id,
            "leaseDurationSeconds": _DURATION,
            "renewTime": now,
        }
        if lease is None:
            self._cluster.create(LEASE, body)
        else:
            self._cluster.replace(LEASE, body)

    def _is_ours(self, lease: dict[str, Any] | None) -> bool:
        found = lease or {}
        annotations = (found.get("metadata") or {}).get("annotations") or {}
        holds = (found.get("spec") or {}).get("holderIdentity") == self._run.id
        return holds and annotations.get(_PROCESS) == self._process

    def _keep_renewing(self) -> None:
        self._stop_renewing()
        stop = self._stop = threading.Event()

        def renew() -> None:
            while not stop.wait(_RENEWAL):
                try:
                    self.check()
                except LockedError:
                    return  # the next check() in the step's own thread says so
                except ReleaseError:
                    continue  # not answered: tried again, and check() reports it where it matters

        threading.Thread(target=renew, name="lock", daemon=True).start()

    def _stop_renewing(self) -> None:
        if self._stop is not None:
            self._stop.set()
            self._stop = None

    def _locked(self, holder: LockHolder | None, doing: str) -> LockedError:
        if holder is None:
            found, next_step = "nobody holds it any more", "run this command again"
        else:
            who = "another process of this run" if holder.run == self._run.id else "run"
            found = (
                f"{who} {holder.run} of {holder.owner} holds it since "
                f"{_written(holder.acquired_at)}"
            )
            next_step = (
                "wait for that run, or end it: its lock expires at "
                f"{_written(holder.expires_at)} unless it is renewed. `tarsrelease rollback` does "
                "not wait for the lock"
            )
        return LockedError(
            doing=doing, found=found, expected=f"run {self._run.id}", next_step=next_step
        )


def _holder(lease: dict[str, Any] | None) -> LockHolder | None:
    spec = (lease or {}).get("spec") or {}
    if not spec.get("holderIdentity") or not spec.get("renewTime"):
        return None
    renewed = datetime.fromisoformat(spec["renewTime"])
    expires = renewed + timedelta(seconds=spec.get("leaseDurationSeconds") or _DURATION)
    annotations = ((lease or {}).get("metadata") or {}).get("annotations") or {}
    return LockHolder(
        run=spec["holderIdentity"],
        owner=annotations.get(_OWNER, "unknown"),
        acquired_at=datetime.fromisoformat(spec.get("acquireTime") or spec["renewTime"]),
        expires_at=expires,
    )
