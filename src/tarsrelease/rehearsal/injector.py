"""Injects faults as the canary's weight rises, and records when they begin and end.

Faults of the services are switched through the API server's pod proxy, so they work on any
cluster whose pods enable the switch.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.measurement import Track
from tarsrelease.rehearsal.control import ControlError
from tarsrelease.rehearsal.faults import Fault, PartAction

_POLL = 0.2
_GROWTH = 2.0
"""Seconds between two steps of a fault that grows."""


@dataclass(frozen=True, slots=True)
class PodLife:
    """A running pod and its restarts: a container loses its faults when it restarts."""

    name: str
    service: str
    track: Track
    restarts: int


class Target(Protocol):
    """The cluster and Prometheus, as the injector sees and disturbs them."""

    def canary_weight(self) -> int:
        """The canary's highest weight on any route, in percent."""

    def pods(self) -> Sequence[PodLife]:
        """Running pods of the services of both sides, without those that terminate."""

    def switch(self, pod: str, faults: Mapping[str, object]) -> bool:
        """Send a pod its faults; False if it does not answer, for example while it starts."""

    def disturb_prometheus(self, action: PartAction) -> None:
        """Kill or pause Prometheus, or let it scrape every pod twice."""

    def restore_prometheus(self, action: PartAction) -> None:
        """Undo `disturb_prometheus`."""


class Injector:
    """Polls the canary's weight and injects faults, in its own thread."""

    def __init__(
        self,
        faults: tuple[Fault, ...],
        target: Target,
        say: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
        stages: Mapping[int, float] | None = None,
    ) -> None:
        """`stages`: the planned seconds of each stage, by weight."""
        self._faults = faults
        self._stages = stages or {}
        self._reached: dict[int, float] = {}
        self._target = target
        self._say = say
        self._monotonic = monotonic
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault-injector", daemon=True)
        self._told: dict[PodLife, Mapping[str, object]] = {}
        self._begun: dict[str, float] = {}
        self._off_at: float | None = None
        self._restoring: list[threading.Thread] = []

    def __enter__(self) -> Injector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for thread in self._restoring:
            thread.join()

    def seconds_to_off(self, fault: Fault) -> float | None:
        """Seconds from the fault's beginning to a canary weight of 0; None if never reached."""
        begun = self._begun.get(fault.name)
        if begun is None or self._off_at is None:
            return None
        return max(0.0, self._off_at - begun)

    def set_up(self) -> None:
        """Send the usual faults to the running pods, before there is any traffic."""
        self._tell(self._monotonic(), ())

    def make_stable_ill(self) -> None:
        """Break one pod of stable of each service for a while, before the release begins."""
        for fault in self._faults:
            if fault.stable_pod:
                self._say(f"fault {fault.name} begins: {fault.about}")
                ill = self._first_of_stable()
                self._switch_all(ill, fault.stable_pod)
                self._stop.wait(fault.seconds)
                self._switch_all(ill, {})
                self._say(f"fault {fault.name} ends: stable is well again")

    def _first_of_stable(self) -> list[PodLife]:
        found: dict[str, PodLife] = {}
        for life in sorted(self._target.pods(), key=lambda each: each.name):
            if life.track is Track.STABLE:
                found.setdefault(life.service, life)
        return list(found.values())

    def _switch_all(self, pods: Sequence[PodLife], body: Mapping[str, object]) -> None:
        waiting = list(pods)
        while waiting:
            waiting = [life for life in waiting if not self._target.switch(life.name, body)]
            if waiting and self._stop.wait(_POLL):
                return

    def _run(self) -> None:
        while not self._stop.wait(_POLL):
            try:
                self.strike(self._target.canary_weight())
            except (ReleaseError, ControlError, OSError, subprocess.TimeoutExpired) as problem:
                self._say(f"fault injection: {problem}")

    def strike(self, weight: int) -> None:
        """Begin the faults that are due at this weight, and send every pod its current faults."""
        now = self._monotonic()
        self._reached.setdefault(weight, now)
        due = tuple(
            fault
            for fault in self._faults
            if weight >= fault.at_weight and not fault.before_the_release
            if now >= self._begins(fault)
        )
        if weight == 0 and self._begun and self._off_at is None:
            self._off_at = now
        elif weight:
            self._off_at = None
        for fault in due:
            if fault.name in self._begun:
                continue
            self._begun[fault.name] = now
            if fault.pods or fault.prometheus:
                self._say(f"fault {fault.name} begins at weight {weight}: {fault.about}")
            if fault.prometheus is not None:
                self._disturb(fault.name, fault.prometheus, fault.seconds)
        self._tell(now, due)

    def _begins(self, fault: Fault) -> float:
        """When the fault is due, once its weight is reached."""
        reached = min(
            (at for weight, at in self._reached.items() if weight >= fault.at_weight), default=0.0
        )
        planned = min((w for w in self._stages if w >= fault.at_weight), default=None)
        return reached + fault.after * (self._stages[planned] if planned is not None else 0.0)

    def _tell(self, now: float, due: Sequence[Fault]) -> None:
        usual = {key: value for fault in self._faults for key, value in fault.usual.items()}
        if not usual and not any(fault.pods for fault in due):
            return
        for life in self._target.pods():
            body = dict(usual)
            if life.track is Track.CANARY:
                for fault in due:
                    since = now - self._begun[fault.name]
                    body |= fault.body(life.service, since - since % _GROWTH)
            if body != self._told.get(life, {}) and self._target.switch(life.name, body):
                self._told[life] = body

    def _disturb(self, name: str, action: PartAction, seconds: float) -> None:
        def restore() -> None:
            self._stop.wait(min(seconds, threading.TIMEOUT_MAX))
            self._target.restore_prometheus(action)
            self._say(f"fault {name} ends: Prometheus is back")

        self._target.disturb_prometheus(action)
        self._restoring.append(threading.Thread(target=restore, name=f"restore-{name}"))
        self._restoring[-1].start()
