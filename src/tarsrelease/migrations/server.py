"""The server, its sessions and its builds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tarsrelease.model.format import duration


@dataclass(frozen=True, slots=True)
class Server:
    """`version` is server_version_num / 10000; `missing` are rights that the role would need.

    `read_only`: transactions of the role are read-only by default. `replaced`: settings of the
    role that do not apply, because the environment sets them.
    """

    version: int
    release: str
    database: str
    role: str
    superuser: bool
    replica: bool
    encrypted: bool
    missing: tuple[str, ...] = ()
    read_only: bool = False
    replaced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LockOwner:
    """Who holds the migrations' lock; None for what another role's session hides."""

    pid: int
    run: str
    owner: str
    since: datetime | None
    doing: str | None = None

    def __str__(self) -> str:
        since = f" since {self.since:%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        doing = f", now: {self.doing}" if self.doing else ""
        return f"run {self.run} of {self.owner}{since} (backend {self.pid}{doing})"


@dataclass(frozen=True, slots=True)
class Session:
    """A session that blocks; `seconds` is how long its transaction has been open."""

    pid: int
    user: str
    application: str
    state: str
    seconds: float | None
    query: str = ""

    def __str__(self) -> str:
        age = f", open for {duration(self.seconds)}" if self.seconds is not None else ""
        application = f" {self.application!r}" if self.application else ""
        query = f": {' '.join(self.query.split())[:80]}" if self.query else ""
        return f"backend {self.pid} of {self.user}{application} ({self.state}{age}){query}"


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """A row of pg_stat_progress_create_index; `share` is the finished part of its phase."""

    pid: int
    index: str
    phase: str
    share: float | None

    def __str__(self) -> str:
        share = f" {self.share:.0%}" if self.share is not None else ""
        return f"{self.index}: {self.phase}{share}"
