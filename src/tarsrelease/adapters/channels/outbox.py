"""The outbox: notices are delivered in the background, in order on each channel, and once.

What was delivered is stored with the journal, so that another process of the release neither sends
a message again nor loses one that still waits. A store that does not answer delays no message.

One thread a channel delivers; one more, the clerk, asks the store. No call but `close` waits.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from time import monotonic

from tarsrelease.adapters.channels.channels import Channel, Channels
from tarsrelease.adapters.channels.templates import worded
from tarsrelease.model.errors import BusyError, NotLetInError, ReleaseError, UnreachableError
from tarsrelease.model.notice import Message, Notice, Outgoing, Told, message_names
from tarsrelease.model.notifications import Notifications
from tarsrelease.ports.people import OutgoingStore
from tarsrelease.report.notices import outgoing

STORE_ANSWERS = 3.0
"""Seconds for the store; messages are then sent without it, and recorded when it answers."""
PATIENCE = 1.0
"""Seconds that `close` waits for a channel that does not answer."""
ALIVE = 10.0
"""Seconds that `close` waits for channels that answer."""
_ATTEMPT = 6.0
_PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before the next attempt where the provider does not say; the last one from then on."""
_LONGEST_PAUSE = 60.0

Change = outgoing.Change


class Outbox:
    """The port `Outbox` on the channels of an environment file. `close` it at the end.

    `store` connects to it at the first message, None without a cluster. `known` is what jobs
    without a cluster have sent. Channels in `without`, and those whose secrets are not set, get
    nothing.
    """

    def __init__(
        self,
        settings: Notifications,
        store: Callable[[], OutgoingStore | None],
        *,
        known: Outgoing | None = None,
        without: Sequence[str] = (),
    ) -> None:
        self._channels = Channels(settings, deadline=_ATTEMPT, attempts=1)
        self._words, self._connect = settings.templates, store
        self._without = without
        usable = self._channels.usable()
        self._usable = [name for name in usable if name not in without]
        self._sender = secrets.token_hex(8)
        self._recalled = outgoing.recalled(known or Outgoing())
        self._state = known or Outgoing()
        self._lock = threading.Condition()
        self._changes: deque[Change] = deque()
        self._unsaved: list[Change] = []
        self._problems: dict[tuple[str, str], str] = {}
        self._posted: list[str] = []
        self._worded: dict[str, Notice] = {}
        self._stopped = False
        self._busy = False
        self._lines = {
            name: _Line(name, channel, self)
            for name, channel in self._channels.by_name.items()
            if name in self._usable
        }
        self._clerk: threading.Thread | None = None

    @cached_property
    def _store(self) -> OutgoingStore | None:
        return self._connect()

    # Posting

    def post(self, notice: Notice) -> None:
        """See the port."""
        if not self._lines:
            return
        at = datetime.now(UTC)
        names = {name: self._names(line.channel, notice, at) for name, line in self._lines.items()}
        wanted = [each for found in names.values() for each in found]
        with self._lock:
            self._posted.append(notice.key)
            self._add(outgoing.posted(notice, at, wanted, self._sender))

    def _names(self, channel: Channel, notice: Notice, at: datetime) -> list[str]:
        try:
            return message_names(list(channel.messages(notice, at, keys=False)))
        except ReleaseError as error:
            with self._lock:
                self._problems[notice.key, self._name_of(channel)] = str(error)
            return []

    def _name_of(self, channel: Channel) -> str:
        return next(name for name, each in self._channels.by_name.items() if each is channel)

    def _add(self, change: Change) -> None:
        self._changes.append(change)
        if self._clerk is None:
            adopted = outgoing.adopted(self._sender, datetime.now(UTC))
            self._changes.extendleft((adopted, self._recalled))
            self._clerk = threading.Thread(target=self._work, daemon=True, name="outbox")
            self._clerk.start()
        self._lock.notify_all()

    def unset(self, notice: Notice) -> list[str]:
        """See the port."""
        at = datetime.now(UTC)
        return [
            f"{name}: the environment variable {variable} is not set"
            for name, channel in self._channels.by_name.items()
            if name not in self._without and self._names(channel, notice, at)
            for variable in channel.variables
            if variable and not os.environ.get(variable)
        ]

    def threads(self) -> dict[str, str]:
        """See the port."""
        with self._lock:
            return dict(self._channels.threads)

    def known(self, key: str) -> tuple[str, ...]:
        """See the port."""
        if self._store is not None:
            found = self._stored([])
            with self._lock:
                self._state = self._state if found is None else self._recalled(found)
        told = self._state.of(key)
        return told.delivered if told is not None else ()

    # The clerk

    def _work(self) -> None:
        while True:
            with self._lock:
                self._busy = False
                self._lock.notify_all()
                self._lock.wait_for(lambda: self._changes or self._stopped)
                if not self._changes:
                    return
                self._busy = True
                changes = [*self._changes]
                self._changes.clear()
            self._save(changes)
            self._hand_out()

    def _save(self, changes: list[Change]) -> None:
        """Apply the changes here, and in the store if it answers soon; else with the next ones."""
        with self._lock:
            for change in changes:
                self._state = change(self._state)
            self._unsaved += changes
            unsaved = list(self._unsaved)
        found = self._stored(unsaved) if self._store is not None else None
        with self._lock:
            if found is not None or self._store is None:
                del self._unsaved[: len(unsaved)]
            if found is not None:
                self._state = found
            self._channels.threads.update(self._state.threads)

    def _stored(self, changes: list[Change]) -> Outgoing | None:
        ended: list[Outgoing] = []

        def work() -> None:
            assert self._store is not None  # noqa: S101
            try:
                ended.append(self._store.change(lambda state: outgoing.all_of(changes, state)))
            except ReleaseError:
                return  # they stay unsaved

        thread = threading.Thread(target=work, daemon=True, name="outbox store")
        thread.start()
        thread.join(STORE_ANSWERS)
        return ended[0] if ended else None

    def _hand_out(self) -> None:
        with self._lock:
            ours = [told for told in self._state.told if told.sender == self._sender]
        for told in ours:
            for line in self._lines.values():
                line.take(told)

    # What the lines ask and report

    def words(self, notice: Notice) -> Notice:
        """The notice in the team's words; a template that cannot be used leaves the usual ones."""
        if notice.key not in self._worded:
            try:
                self._worded[notice.key] = worded(notice, self._words)
            except ReleaseError as error:
                self._worded[notice.key] = notice
                self._problems[notice.key, "templates"] = str(error)
        return self._worded[notice.key]

    def delivered(self, key: str, name: str, threads: Mapping[str, str]) -> None:
        """A message was accepted."""
        with self._lock:
            self._problems.pop((key, name), None)
            self._add(outgoing.delivered(key, name, dict(threads)))

    def refused(self, key: str, name: str, why: str) -> None:
        """A message was not accepted and is not sent again."""
        with self._lock:
            self._problems[key, name] = why
            self._add(outgoing.refused(key, name, why))

    def delayed(self, key: str, name: str, why: str) -> None:
        """A message could not be delivered yet."""
        with self._lock:
            self._problems[key, name] = why

    # The end

    def close(self, seconds: float | None = None) -> tuple[tuple[Told, ...], tuple[str, ...]]:
        """The notices posted here, and a warning for each message that was not delivered.

        Waits `seconds` for all of them. By default ALIVE for channels that answer, and PATIENCE for
        those that do not. What waits is left to the next process.
        """
        if self._clerk is None:
            return (), ()
        begun = monotonic()
        with self._lock:
            while self._outstanding(begun, seconds):
                self._lock.wait(0.05)
            for line in self._lines.values():
                line.stop()
            self._add(outgoing.released(self._sender))
            self._stopped = True
            self._lock.notify_all()
        self._clerk.join(STORE_ANSWERS + PATIENCE)
        with self._lock:
            told = [each for each in self._state.told if each.notice.key in self._posted]
            return tuple(told), tuple(self._warnings())

    def _outstanding(self, begun: float, seconds: float | None) -> bool:
        waited = monotonic() - begun
        pending = bool(self._changes) or self._busy
        if seconds is not None:
            return waited < seconds and (pending or any(x.open for x in self._lines.values()))
        if waited >= ALIVE:
            return False
        if pending and waited < STORE_ANSWERS:  # the store may answer, and the lines begin after it
            return True
        if waited < PATIENCE:
            return any(x.open for x in self._lines.values())
        return any(x.open and x.answers for x in self._lines.values())

    def _warnings(self) -> list[str]:
        found = []
        for told in self._state.told:
            event = told.notice.event + (f" {told.notice.about}" if told.notice.about else "")
            for name in told.waiting:
                if told.notice.key in self._posted or told.sender == self._sender:
                    why = self._problems.get((told.notice.key, name), "no answer yet")
                    found.append(f"{event} to {name}: not delivered yet: {why}")
        keys = {told.notice.key: told.notice for told in self._state.told}
        for (key, name), why in self._problems.items():
            notice = keys.get(key)
            known = self._state.of(key)
            waits = known is not None and name in known.waiting
            if key in self._posted and not waits:
                found.append(f"{notice.event if notice else key} to {name}: {why}")
        return found


class _Line:
    """One channel's messages, in their order, by a thread of its own."""

    def __init__(self, name: str, channel: Channel, outbox: Outbox) -> None:
        self._name, self.channel, self._outbox = name, channel, outbox
        self._queue: deque[tuple[Told, str, Message]] = deque()
        self._taken: set[tuple[str, str]] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._attempt_since: float | None = None
        self._failed = self._stopped = False
        self._patience = PATIENCE

    @property
    def open(self) -> bool:
        """Whether something waits here."""
        return bool(self._queue)

    @property
    def answers(self) -> bool:
        """Whether the channel takes what it gets, as far as is known."""
        since = self._attempt_since
        return not self._failed and (since is None or monotonic() - since < self._patience)

    def take(self, told: Told) -> None:
        """Queue what this channel has not got of the notice."""
        try:
            notice = self._outbox.words(told.notice)
            messages = list(self.channel.messages(notice, told.at, keys=True))
        except ReleaseError:
            return
        for name, message in zip(message_names(messages), messages, strict=True):
            if name in told.waiting and (told.notice.key, name) not in self._taken:
                self._taken.add((told.notice.key, name))
                with self._changed:
                    self._queue.append((told, name, message))
                    self._changed.notify_all()
        if self._queue and self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name=self._name)
            self._thread.start()

    def stop(self) -> None:
        """Begin no further attempt."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _work(self) -> None:
        failures = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopped)
                if self._stopped:
                    return
                told, name, message = self._queue[0]
                self._attempt_since = monotonic()
            key = told.notice.key
            try:
                self.channel.deliver(message)
            except (UnreachableError, NotLetInError) as error:
                self._failed = True
                self._attempt_since = None
                self._outbox.delayed(key, name, str(error))
                self._pause(error, failures)
                failures += 1
                continue
            except ReleaseError as error:
                self._outbox.refused(key, name, str(error))
            except Exception as error:  # noqa: BLE001 - a bug must not end the channel
                self._outbox.refused(key, name, type(error).__name__)
            else:
                threads = getattr(self.channel, "threads", {})
                opened = threads.get(message.thread)
                self._outbox.delivered(key, name, {message.thread: opened} if opened else {})
            self._failed, failures, self._attempt_since = False, 0, None
            self._patience = _ATTEMPT  # it has answered; a rate limit may slow the next message
            with self._changed:
                self._queue.popleft()

    def _pause(self, error: ReleaseError, failures: int) -> None:
        asked = error.after if isinstance(error, BusyError) else None
        usual = _PAUSES[min(failures, len(_PAUSES) - 1)]
        ends_at = monotonic() + min(usual if asked is None else asked, _LONGEST_PAUSE)
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, timeout=max(0.0, ends_at - monotonic()))
