"""The faults of a rehearsal, and the verdict that each should lead to.

A fault begins when the canary's weight reaches 10 percent, so that the canary has traffic;
``errors@25`` begins it at 25 percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Literal

from tarsrelease.model.errors import UsageError
from tarsrelease.model.outcome import Verdict

if TYPE_CHECKING:
    from tarsrelease.rehearsal.receivers import Trouble

PartAction = Literal["kill", "pause", "scrape-twice"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of the pods, of Prometheus, of the traffic or of the release's selectors.

    `pods` is the request body for the fault switch of the canary's services, `of` the affected
    services (empty: all), `usual` the body for every pod of both sides from the start, such as a
    usual error rate. `grows` is added to the number of the same name in `pods` every second, up to
    `most`. `after` is the part of the stage's planned duration after which it begins.
    `stable_pod` is the body for one pod of stable of each service, for `seconds` before the
    release. `prometheus` is disturbed for `seconds`; `channels` is what
    all receivers of messages do; `rate` is the requests per second (all
    services) from the start. `limits` are limits of shares that the rehearsal overrides, as text
    with a unit. `selectors` are replacements in the rollout.yaml of a copy of the bundle.
    `expected` is the verdict of the release.
    """

    name: str
    about: str
    pods: Mapping[str, object] = field(default_factory=dict)
    expected: Verdict = Verdict.ROLLBACK
    of: tuple[str, ...] = ()
    usual: Mapping[str, object] = field(default_factory=dict)
    grows: Mapping[str, float] = field(default_factory=dict)
    most: Mapping[str, float] = field(default_factory=dict)
    after: float = 0.0
    stable_pod: Mapping[str, object] = field(default_factory=dict)
    prometheus: PartAction | None = None
    channels: Trouble | None = None
    seconds: float = 30.0
    rate: float | None = None
    limits: Mapping[str, str] = field(default_factory=dict)
    selectors: Mapping[str, str] = field(default_factory=dict)
    at_weight: int = 10

    @property
    def before_the_release(self) -> bool:
        """Whether the fault is over, or complete, before the release begins."""
        return bool(self.stable_pod or self.selectors)

    def body(self, service: str, since: float) -> dict[str, object]:
        """The request body for a canary pod of this service `since` seconds into the fault."""
        if self.of and service not in self.of:
            return {}
        body = dict(self.pods)
        for key, each_second in self.grows.items():
            begun = body.get(key, 0)
            grown = (begun if isinstance(begun, (int, float)) else 0) + each_second * since
            body[key] = int(min(grown, self.most.get(key, grown)))
        return body


_BASE_LATENCY = 85
_SHARES = ("canary.error_rate", "canary.availability")

FAULTS = {
    fault.name: fault
    for fault in (
        Fault("none", "nothing goes wrong", expected=Verdict.PROCEED),
        Fault("errors", "the canary answers every request with 500", {"error_share": 1.0}),
        Fault(
            "late-errors",
            "after nine tenths of the stage, the canary fails every second request",
            {"error_share": 0.5},
            after=0.9,
        ),
        Fault(
            "stable-pod-ill",
            "before the release, one of stable's two pods fails every request for 40 s",
            stable_pod={"error_share": 1.0},
            seconds=40.0,
            expected=Verdict.PROCEED,
        ),
        Fault(
            "errors-2x",
            "the canary fails every fifth request; usually every tenth fails",
            {"error_share": 0.2},
            usual={"error_share": 0.1},
            limits=dict.fromkeys(_SHARES, "13%"),
        ),
        Fault(
            "one-service-bad",
            "one of the three services answers every request with 500",
            {"error_share": 1.0},
            of=("insight-engine",),
        ),
        Fault("latency", "the canary answers 150 ms later", {"latency_ms": 150}),
        Fault(
            "latency-1.3x",
            f"the canary takes 1.3 times the usual {_BASE_LATENCY} ms for each response",
            {"latency_ms": 1.3 * _BASE_LATENCY},
            usual={"latency_ms": _BASE_LATENCY},
        ),
        Fault("crashloop", "the canary's processes exit as soon as they run", {"crash": True}),
        Fault("memory", "the canary's processes grow beyond their limit", {"memory_mb": 220}),
        Fault(
            "memory-leak",
            "the canary's processes grow by 8 MB a second",
            {"memory_mb": 20},
            grows={"memory_mb": 8.0},
            most={"memory_mb": 230.0},
        ),
        Fault(
            "websocket-drops",
            "the canary drops its WebSocket sessions and refuses to resume them",
            {"websocket_drop": True},
            of=("orchestration-agent",),
        ),
        Fault(
            "broken-paging",
            "the canary's lists have wrong pages, which only the release's own tests find",
            {"mutation": "paging"},
        ),
        Fault(
            "low-traffic",
            "3 requests per second in total, too few to decide",
            rate=3.0,
            expected=Verdict.HOLD,
        ),
        Fault("no-traffic", "no requests at all", rate=0.0, expected=Verdict.HOLD),
        Fault(
            "metrics-outage",
            "Prometheus is killed for 30 s",
            prometheus="kill",
            expected=Verdict.PROCEED,
        ),
        Fault(
            "metrics-hang",
            "Prometheus hangs for 30 s",
            prometheus="pause",
            expected=Verdict.PROCEED,
        ),
        Fault(
            "duplicate-scrape",
            "a second job of Prometheus scrapes the same pods",
            prometheus="scrape-twice",
            seconds=inf,
            expected=Verdict.PROCEED,
        ),
        Fault(
            "silent-channels",
            "Slack, PagerDuty, Statuspage, mail and webhooks do not answer",
            channels="time-out",
            expected=Verdict.PROCEED,
        ),
        Fault(
            "wrong-selector",
            "the selector of bad requests asks for a label that no series has",
            selectors={'status=~"5.."': 'code=~"5.."'},
            expected=Verdict.NO_GO,
        ),
    )
}

_GRAVITY = (Verdict.PROCEED, Verdict.HOLD, Verdict.ROLLBACK, Verdict.NO_GO)


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
    if weight and fault.before_the_release:
        raise UsageError(
            doing="reading --fault",
            found=f"{text!r}",
            expected=f"{name} without a weight: it happens before the release begins",
            next_step=f"use --fault {name}",
        )
    return replace(fault, at_weight=int(weight)) if weight else fault


def expected_of(faults: Sequence[Fault]) -> Verdict:
    """The verdict that these faults should lead to: the most severe of them."""
    return max((fault.expected for fault in faults), key=_GRAVITY.index, default=Verdict.PROCEED)


def limits_of(faults: Sequence[Fault]) -> dict[str, str]:
    """The limits of shares that these faults require, by check id."""
    return {check: limit for fault in faults for check, limit in fault.limits.items()}


def selectors_of(faults: Sequence[Fault]) -> dict[str, str]:
    """The replacements in rollout.yaml that these faults require."""
    return {old: new for fault in faults for old, new in fault.selectors.items()}


def channels_of(faults: Sequence[Fault]) -> Trouble | None:
    """What all receivers of messages do instead of answering; None if they answer."""
    return next((fault.channels for fault in faults if fault.channels is not None), None)


def rate_of(faults: Sequence[Fault], asked: float) -> float:
    """Requests per second: `asked`, or less if a fault says so."""
    return min([asked, *(fault.rate for fault in faults if fault.rate is not None)])
