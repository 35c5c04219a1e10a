"""Read stable's recorded requests in pieces, so that 24 h of samples are never in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tarsrelease.context import Context
from tarsrelease.gates.measure import attribution, queries, vocabulary
from tarsrelease.gates.protection import prepare
from tarsrelease.gates.study import recorded_requests, slower_canary
from tarsrelease.gates.study.recorded_requests import Recording
from tarsrelease.model.errors import ReleaseError, UsageError
from tarsrelease.model.format import duration, names
from tarsrelease.model.measurement import Series
from tarsrelease.model.rollout import Rollout, Stage
from tarsrelease.ports.metrics import History
from tarsrelease.ports.people import Progress

_MOMENTS = 240
"""Points per query: with a few hundred series, about ten thousand values."""
PAST = 6 * _MOMENTS
"""Scrapes that a gate reads to measure burstiness: six hours at 15 s, two hours at 5 s."""
PATIENCE = 10.0
"""Seconds after which a gate continues without them."""


Selectors = tuple[str, str, bool]
"""Of an SLI: the selector of all requests, of a part of them, and whether that part is good."""


@dataclass(frozen=True, slots=True)
class RecordedTraffic:
    """Stable's requests from `start` to `end` (Unix times), in slots of `slot` seconds."""

    history: History
    rollout: Rollout
    namespace: str
    start: float
    end: float
    slot: float
    progress: Progress

    @property
    def slots(self) -> tuple[int, int]:
        """The first and the last whole slot."""
        return int(self.start // self.slot) + 1, int(self.end // self.slot) - 1

    def read(
        self, asked: Mapping[str, Selectors]
    ) -> dict[tuple[str, str], list[tuple[float, float]]]:
        """By (name in `asked`, service), the bad requests and all requests of each whole slot.

        Raises UsageError if nothing was recorded.
        """
        found, labels = None, self.rollout.labels
        more = _attributing(self.rollout, self.namespace)
        for so_far, until in _growing(asked, more, self.start, self.end, self.slot, self.history):
            found = so_far
            self.progress.say(f"read {duration(until - self.start)} of requests")
        if found is None or not any(rises.slots for rises in found.rises.values()):
            raise UsageError(
                doing="reading stable's recorded requests",
                found=self._why_nothing(asked),
                expected=f"series of stable's pods ({labels.pod}) or with {labels.track}=stable",
                next_step="choose a period within the metrics server's retention, and compare "
                "the selectors of the slis with its series",
            )
        return {
            (name, service.name): recorded_requests.whole(found, each, service.name, *self.slots)
            for name, each in asked.items()
            for service in self.rollout.services
        }

    def _why_nothing(self, asked: Mapping[str, Selectors]) -> str:
        """Why no series is one of stable: none matches, or whose those are that match."""
        known = attribution.known(self.rollout, self.namespace)
        metrics = names(sorted({vocabulary.metric_of(of) for of, _, _ in asked.values()}))
        sent = [vocabulary.as_sent(of) for of, _, _ in asked.values()]
        answers = self.history.recorded(sent, self.end - 2 * self.slot, self.end, self.slot)
        matching = [series for answer in answers for series in answer]
        if not matching:
            return f"no series of stable in this period: no selector of {metrics} matches any"
        why = attribution.why_nobody(matching[0].labels, self.rollout.labels, known)
        return f"no series of stable in this period: {len(matching)} match, but {why}"

    def buckets(self, selector: str) -> set[str]:
        """The histogram's bucket bounds."""
        [series] = self.history.recorded(
            [slower_canary.every_bound(selector)], self.end - 2 * self.slot, self.end, self.slot
        )
        return {each.labels["le"] for each in series if "le" in each.labels}


_More = Callable[[Recording, Sequence[Sequence[Series]]], Recording]


def _attributing(rollout: Rollout, namespace: str) -> _More:
    """Enters the samples of one more piece."""
    known = attribution.known(rollout, namespace)
    return partial(recorded_requests.more, labels=rollout.labels, known=known)


def _growing(
    asked: Mapping[str, Selectors],
    more: _More,
    start: float,
    end: float,
    slot: float,
    history: History,
) -> Iterator[tuple[Recording, float]]:
    """The recording after each piece, and the Unix time up to which it is read."""
    pairs = [(of, part) for of, part, _ in asked.values()]
    found = recorded_requests.start(dict.fromkeys(name for pair in pairs for name in pair), slot)
    at = start // slot * slot
    while at < end:
        until = min(at + _MOMENTS * slot, end)
        found = more(found, history.recorded(found.asked, at, until, slot))
        yield found, until
        at = until // slot * slot if until < end else end


def read_burstiness(context: Context, stage: Stage) -> recorded_requests.Past:
    """Burstiness of stable's errors in the last PAST scrapes, for the stage's checks on requests.

    If the metrics server does not answer or takes longer than PATIENCE, returns `nothing_known`;
    bursts are then judged from the stage alone.
    """
    environment, history, clock = context.environment, context.metrics.samples, context.clock
    namespace = environment.kubernetes.namespace
    more = _attributing(context.rollout, namespace)
    asked = queries.queries_of(stage, context.rollout, namespace, [""]).proportions
    slot = environment.prometheus.scrape_interval
    started = clock.now()
    whole = None
    try:
        end = history.server_time()
        for found, _ in _growing(asked, more, end - PAST * slot, end, slot, history):
            whole = found
            if (clock.now() - started).total_seconds() > PATIENCE:
                context.say(
                    f"{stage.name}: reading stable's earlier requests took more than "
                    f"{duration(PATIENCE)}; continuing without them"
                )
                return recorded_requests.nothing_known
    except ReleaseError as error:
        context.say(
            f"{stage.name}: cannot read stable's earlier requests: {error}; continuing without them"
        )
        return recorded_requests.nothing_known
    if whole is None:
        return recorded_requests.nothing_known
    past = recorded_requests.past_of(whole, asked)
    for sli in asked:
        for service in context.rollout.services:
            if (known := past(sli, service.name)) is not None:
                prepare(known)
    return past
