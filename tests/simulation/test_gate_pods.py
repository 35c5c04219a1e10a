"""The gate with the pods' own metrics: how soon, and what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from world import World, context, environment, release, rollout

from tarsrelease.context import Context
from tarsrelease.gates.verdict import failed_by_either
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UnreachableError
from tarsrelease.model.measurement import Sample, Series, Track
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.steps.canary_gate import gate

SHORT = rollout(duration="60s", max_extension="60s")


class PodPages:
    """The port DirectMetrics: what each pod's page says now; pods have no labels but their name."""

    interval, complete = 1.0, True

    def __init__(self, world: World) -> None:
        self.world, self.broken = world, False
        self._kept: dict[frozenset[tuple[str, str]], list[Sample]] = {}

    def server_time(self) -> float:
        return self.world.now

    def recorded(
        self, selectors: Sequence[str], start: float, end: float, step: float
    ) -> list[list[Series]]:
        return [[] for _ in selectors]

    def series(self, selectors: Sequence[str], seconds: float) -> list[list[Series]]:
        if self.broken:
            raise UnreachableError(doing="x", found="refused", expected="pods", next_step="wait")
        for pod in self.world.running():
            for (name, own), value in pod.metrics().items():
                labels = {"__name__": name, "pod": pod.name, **dict(own)}
                kept = self._kept.setdefault(frozenset(labels.items()), [])
                kept.append(Sample(self.world.now, float(value)))
        return [self._selected(selector) for selector in selectors]

    def _selected(self, selector: str) -> list[Series]:
        name = selector.partition("{")[0]
        wanted = {"5..": ("status", "5"), '"0.12"': ("le", "0.12")}
        found = [Series(dict(identity), tuple(kept)) for identity, kept in self._kept.items()]
        found = [each for each in found if each.labels["__name__"] == name]
        for text, (label, start) in wanted.items():
            if text in selector:
                found = [each for each in found if each.labels.get(label, "").startswith(start)]
        return found


def play(world: World, metrics: str, scrape: str = "60s") -> tuple[Outcome, PodPages]:
    """One stage at 10 %, with this source of metrics."""
    pages = PodPages(world)
    env: Environment = environment(scrape).model_copy(update={"metrics": metrics})
    made: Context = context(world, release(SHORT), env)
    direct = None if metrics == "prometheus" else pages
    samples = pages if metrics == "pods" else made.metrics.samples
    sources = replace(made.metrics, samples=samples, direct=direct)
    return gate(replace(made, metrics=sources), 10), pages


def broken(seed: int) -> World:
    world = World(seed=seed, scrape_interval=60.0).populate()
    for pod in world.running(Track.CANARY):
        pod.error_share = 1.0
    return world


@pytest.mark.parametrize("seed", range(3))
def test_a_total_failure_costs_seconds_whatever_the_scrape_interval(seed: int) -> None:
    soon, _ = play(broken(seed), "both")
    assert soon.verdict is Verdict.ROLLBACK
    seconds = soon.details.seconds_from_shift_to_verdict
    assert isinstance(seconds, float)
    assert seconds <= 3.5


def test_without_the_pods_pages_it_costs_a_scrape() -> None:
    late, _ = play(broken(1), "prometheus")
    assert late.verdict is Verdict.ROLLBACK
    seconds = late.details.seconds_from_shift_to_verdict
    assert isinstance(seconds, float)
    assert seconds > 3.5


def test_with_pods_a_gate_needs_no_metrics_server() -> None:
    world = World(seed=2).populate()
    world.metrics_state = "down"
    outcome, _ = play(world, "pods", "5s")
    assert outcome.verdict is Verdict.PROCEED, outcome.summary


def test_with_both_pages_that_cannot_be_read_are_no_failure() -> None:
    world = World(seed=3).populate()
    pages = PodPages(world)
    pages.broken = True
    env = environment("5s").model_copy(update={"metrics": "both"})
    made = context(world, release(SHORT), env)
    outcome = gate(replace(made, metrics=replace(made.metrics, direct=pages)), 10)
    assert outcome.verdict is Verdict.PROCEED, outcome.summary


def check(status: Status, service: str = "a") -> Check:
    return Check(id="canary.errors", status=status, service=service, expected="", reason="")


@pytest.mark.parametrize("status", [Status.PASS, Status.ERROR, Status.INCONCLUSIVE])
def test_the_second_source_adds_failures_and_nothing_else(status: Status) -> None:
    first = (check(Status.INCONCLUSIVE), check(Status.PASS, "b"))
    assert failed_by_either(first, (check(status),)) == first
    failed = check(Status.FAIL, "b")
    assert failed_by_either(first, (check(status), failed)) == (first[0], failed)
