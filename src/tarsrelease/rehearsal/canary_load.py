"""Requests that only the canary gets, as long as it has traffic."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import httpx

from tarsrelease.model.environment import Gateway
from tarsrelease.model.errors import ReleaseError
from tarsrelease.rehearsal import world
from tarsrelease.rehearsal.load import Aim, Load

SHARE = 0.05
"""Of the whole load: at 10 %, the canary then has less than 15 % of all requests, which agrees with
its weight (`canary.traffic_share`)."""
_LEAST_WEIGHT = 10
_POLL = 0.2


class CanaryLoad:
    """Sends `aims` with the canary's header while the canary has at least 10 % of the traffic.

    Before it is deployed and after it is removed, the header would lead to stable. `program` is the
    load generator; `weight` reads the canary's weight in percent.
    """

    def __init__(
        self,
        program: Sequence[str],
        gateway: Gateway,
        aims: Sequence[Aim],
        weight: Callable[[], int],
        say: Callable[[str], None],
    ) -> None:
        argv = [*program, "--rate", "0", "--header", f"{gateway.canary_header}=always"]
        self._load = Load(argv, gateway.address, aims, world.CANARY_LOAD_REPORT)
        self._rate = sum(aim.rate for aim in aims)
        self._weight, self._say = weight, say
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="canary-load", daemon=True)

    def __enter__(self) -> CanaryLoad:
        self._load.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._load.__exit__(None, None, None)

    def _run(self) -> None:
        now = 0.0
        while not self._stop.wait(_POLL):
            try:
                wanted = self._rate if self._weight() >= _LEAST_WEIGHT else 0.0
                if wanted != now:
                    self._load.rate(wanted)
                    now = wanted
            except (ReleaseError, httpx.HTTPError) as problem:
                self._say(f"requests of the canary alone: {problem}")
