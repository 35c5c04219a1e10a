"""What can go wrong on a rehearsed day, and the injector that makes it happen.

A fault begins when the canary's weight reaches a percentage, so that a release is struck while
it carries traffic; ``errors@25`` moves that point. Faults of the services are switched through
the API server's pod proxy, so they work on any cluster whose pods have the switch on.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from tarsrelease.model.errors import ReleaseError, UsageError
from tarsrelease.rehearsal.control import ControlError

PartAction = Literal["kill", "pause"]
_POLL = 0.2


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: what canary pods are told, what happens to Prometheus, how much traffic there is.

    `pods` is the body for the services' fault switch; `prometheus` what is done to it for
    `seconds`; `rate` the requests per second (all services) from the start of the day.
    """

    name: str
    about: str
    pods: Mapping[str, object] = field(default_factory=dict)
    prometheus: PartAction | None = None
    seconds: float = 30.0
    rate: float | None = None
    at_weight: int = 10


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("none", "nothing goes wrong"),
        Fault("errors", "the canary answers every request with 500", {"error_share": 1.0}),
        Fault("latency", "the canary answers 150 ms later", {"latency_ms": 150}),
        Fault("crashloop", "the canary's processes exit as soon as they run", {"crash": True}),
        Fault("memory", "the canary's processes grow beyond their limit", {"memory_mb": 220}),
        Fault("low-traffic", "3 requests a second in all, too few to tell anything", rate=3.0),
        Fault("metrics-outage", "Prometheus is killed for 30 s", prometheus="kill"),
        Fault("metrics-hang", "Prometheus hangs for 30 s", prometheus="pause"),
    )
}


def parse_fault(text: str) -> Fault:
    """The fault that ``NAME`` or ``NAME@WEIGHT`` names. Raises UsageError with the known names."""
    name, _, weight = text.partition("@")
    fault = FAULTS.get(name)
    if fault is None or (weight and not (weight.isdigit() and 1 <= int(weight) <= 100)):
        known = ", ".join(FAULTS)
        raise UsageError(
            doing="reading --fault",
            found=f"{text!r}",
            expected=f"one of {known}, optionally with the weight at which it begins (errors@25)",
            next_step="correct --fault",
        )
    if not weight:
        return fault
    return Fault(
        fault.name,
        fault.about,
        fault.pods,
        fault.prometheus,
        fault.seconds,
        fault.rate,
        int(weight),
    )


class Target(Protocol):
    """What the injector can reach of the world it disturbs."""

    def canary_weight(self) -> int:
        """The canary's highest weight on any route, in percent."""

    def canary_pods(self) -> Mapping[str, int]:
        """Running, not terminating canary pods and the sum of their containers' restarts."""

    def switch(self, pod: str, faults: Mapping[str, object]) -> bool:
        """Tell a pod its faults; False where it did not answer (it may just be starting)."""

    def disturb_prometheus(self, action: PartAction) -> None:
        """Kill or pause Prometheus."""

    def restore_prometheus(self, action: PartAction) -> None:
        """Undo what `disturb_prometheus` did."""


class Injector:
    """Watches the canary's weight and makes faults happen, in a thread of its own.

    A pod that restarted has forgotten its faults, so each life of a pod is told again.
    """

    def __init__(
        self, faults: tuple[Fault, ...], target: Target, say: Callable[[str], None]
    ) -> None:
        self._faults = faults
        self._target = target
        self._say = say
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault-injector", daemon=True)
        self._told: dict[tuple[str, int], Mapping[str, object]] = {}
        self._begun: set[str] = set()
        self._restoring: list[threading.Thread] = []

    def __enter__(self) -> Injector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for thread in self._restoring:
            thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_POLL):
            try:
                self._strike(self._target.canary_weight())
            except (ReleaseError, ControlError, OSError, subprocess.TimeoutExpired) as problem:
                self._say(f"fault injection: {problem}")

    def _strike(self, weight: int) -> None:
        due = [fault for fault in self._faults if weight >= fault.at_weight]
        for fault in due:
            if fault.name not in self._begun and (fault.pods or fault.prometheus):
                self._begun.add(fault.name)
                self._say(f"fault {fault.name} begins at weight {weight}: {fault.about}")
                if fault.prometheus is not None:
                    self._disturb(fault.name, fault.prometheus, fault.seconds)
        body = {key: value for fault in due for key, value in fault.pods.items()}
        if body:
            for life in self._target.canary_pods().items():
                if self._told.get(life) != body and self._target.switch(life[0], body):
                    self._told[life] = body

    def _disturb(self, name: str, action: PartAction, seconds: float) -> None:
        def restore() -> None:
            self._stop.wait(seconds)
            self._target.restore_prometheus(action)
            self._say(f"fault {name} ends: Prometheus is back")

        self._target.disturb_prometheus(action)
        self._restoring.append(threading.Thread(target=restore, name=f"restore-{name}"))
        self._restoring[-1].start()
