"""The rehearsal's faults: what they tell which pods, when, and what the day reports of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tarsrelease.bundle.texts import sha256
from tarsrelease.model.errors import UsageError
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Outcome, Status, Verdict, exit_code_of
from tarsrelease.rehearsal.day import _with_selectors
from tarsrelease.rehearsal.faults import (
    FAULTS,
    Fault,
    PartAction,
    expected_of,
    limits_of,
    parse_fault,
    rate_of,
    selectors_of,
)
from tarsrelease.rehearsal.injector import Injector, PodLife
from tarsrelease.rehearsal.prometheus import configuration, scraped_twice
from tarsrelease.rehearsal.report_day import DayFacts, FaultReport, day_outcome
from tarsrelease.report.markdown import outcome_markdown
from tarsrelease.report.text import outcome_text

T = datetime(2026, 1, 1, tzinfo=UTC)
SERVICES = ("orchestration-agent", "insight-engine", "dashboard-api")


class Rehearsed:
    """A world of pods that remember what they were told, until they restart."""

    def __init__(self) -> None:
        self.lives = [
            PodLife(f"{track}-{service}", service, track, 0)
            for track in Track
            for service in SERVICES
        ]
        self.told: dict[str, dict[str, object]] = {}
        self.calls = 0
        self.deaf: set[str] = set()
        self.prometheus: list[str] = []
        self.now = 100.0

    def canary_weight(self) -> int:
        return 0

    def pods(self) -> Sequence[PodLife]:
        return self.lives

    def switch(self, pod: str, faults: Mapping[str, object]) -> bool:
        self.calls += 1
        if pod in self.deaf:
            return False
        self.told[pod] = dict(faults)
        return True

    def disturb_prometheus(self, action: PartAction) -> None:
        self.prometheus.append(action)

    def restore_prometheus(self, action: PartAction) -> None:
        self.prometheus.append(f"not {action}")

    def injector(self, *names: str) -> Injector:
        faults = tuple(parse_fault(name) for name in names)
        return Injector(faults, self, lambda _: None, monotonic=lambda: self.now)

    def struck(self) -> set[str]:
        return {name for name, body in self.told.items() if body}


def canary(service: str) -> str:
    return f"{Track.CANARY}-{service}"


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.pods])
def test_a_fault_strikes_the_canary_alone_and_only_from_its_weight_on(name: str) -> None:
    world = Rehearsed()
    injector = world.injector(f"{name}@25")
    injector.strike(10)
    before = {pod: dict(body) for pod, body in world.told.items()}
    injector.strike(25)
    changed = {pod for pod, body in world.told.items() if body != before.get(pod)}
    assert changed == {canary(s) for s in FAULTS[name].of or SERVICES}


def test_what_is_usual_is_told_to_both_sides_before_there_is_traffic() -> None:
    world = Rehearsed()
    injector = world.injector("errors-2x")
    injector.set_up()
    assert {tuple(body.items()) for body in world.told.values()} == {(("error_share", 0.1),)}
    assert len(world.told) == 6
    injector.strike(10)
    shares = {pod: body["error_share"] for pod, body in world.told.items()}
    assert {shares[canary(s)] for s in SERVICES} == {0.2}
    assert {shares[f"{Track.STABLE}-{s}"] for s in SERVICES} == {0.1}


def test_a_fault_is_told_once_again_to_a_pod_that_restarted_or_did_not_listen() -> None:
    world = Rehearsed()
    injector = world.injector("errors")
    world.deaf = {canary("dashboard-api")}
    injector.strike(10)
    assert world.calls == 3
    injector.strike(10)
    assert world.calls == 4, "the deaf one alone"
    world.deaf = set()
    injector.strike(10)
    injector.strike(10)
    assert world.calls == 5
    first = world.lives[0]
    life = next(each for each in world.lives if each.track is Track.CANARY)
    world.lives = [PodLife(life.name, life.service, life.track, 1), first]
    injector.strike(10)
    assert world.calls == 6


def test_a_leak_grows_in_steps_and_ends() -> None:
    world = Rehearsed()
    injector = world.injector("memory-leak")
    sizes = []
    for second in range(40):
        world.now = 100.0 + second
        injector.strike(10)
        size = world.told[canary("insight-engine")]["memory_mb"]
        assert isinstance(size, int)
        sizes.append(size)
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[10], sizes[-1]) == (20, 100, 230)
    assert len(set(sizes)) < 20, "a step every two seconds"


def test_the_seconds_run_from_the_fault_to_no_traffic_on_the_canary() -> None:
    world = Rehearsed()
    injector, fault = world.injector("errors"), FAULTS["errors"]
    for now, weight in ((100, 0), (101, 1), (110, 10), (117.5, 0), (130, 0)):
        world.now = float(now)
        injector.strike(weight)
        if weight:
            assert injector.seconds_to_off(fault) is None
    assert injector.seconds_to_off(fault) == 7.5


def test_every_fault_says_what_is_expected_and_worlds_are_put_together() -> None:
    chosen = [parse_fault(name) for name in ("errors-2x", "low-traffic", "metrics-outage")]
    assert expected_of(chosen) is Verdict.ROLLBACK
    assert expected_of(chosen[1:]) is Verdict.HOLD
    assert expected_of([]) is Verdict.PROCEED
    assert limits_of(chosen) == {"canary.error_rate": "13%", "canary.availability": "13%"}
    assert rate_of(chosen, 300.0) == 3.0
    assert rate_of([FAULTS["no-traffic"]], 300.0) == 0.0
    assert rate_of([], 300.0) == 300.0
    for fault in FAULTS.values():
        undone = not (
            fault.pods
            or fault.prometheus
            or fault.channels
            or fault.rate is not None
            or fault.before_the_release
        )
        assert undone is (fault.name == "none")


def test_stable_is_ill_before_the_release_and_well_again() -> None:
    world, said = Rehearsed(), list[str]()
    world.lives += [PodLife(f"{life.name}-2", life.service, life.track, 0) for life in world.lives]
    fault = replace(FAULTS["stable-pod-ill"], seconds=0.0)
    Injector((fault,), world, said.append).make_stable_ill()
    assert set(world.told) == {f"{Track.STABLE}-{service}" for service in SERVICES}
    assert world.calls == 2 * len(SERVICES), "ill, then well"
    assert world.struck() == set()
    assert len(said) == 2


def test_late_errors_begin_at_nine_tenths_of_their_stage() -> None:
    world = Rehearsed()
    fault = parse_fault("late-errors")
    injector = Injector(
        (fault,), world, lambda _: None, monotonic=lambda: world.now, stages={10: 100.0, 50: 10.0}
    )
    for now, weight, struck in ((100, 1, 0), (200, 10, 0), (289, 10, 0), (291, 10, 3)):
        world.now = float(now)
        injector.strike(weight)
        assert len(world.struck()) == struck


def test_a_copy_of_the_bundle_gets_the_wrong_selector_and_stays_whole(tmp_path: Path) -> None:
    bundle = Path(__file__).parents[2] / "release" / "v1_0_1"
    changed = selectors_of([FAULTS["wrong-selector"]])
    copy = Path(_with_selectors(bundle, changed, tmp_path))
    assert 'code=~"5.."' in (copy / "rollout.yaml").read_text()
    assert 'status=~"5.."' not in (copy / "rollout.yaml").read_text()
    for line in (copy / "SHA256SUMS").read_text().splitlines():
        digest, path = line.split(maxsplit=1)
        assert sha256((copy / path).read_bytes()) == digest
    assert _with_selectors(bundle, {}, tmp_path) == str(bundle)


def test_every_pod_is_scraped_by_a_second_job_and_only_pods() -> None:
    configured = configuration(Path("kubeconfig"), 5.0)
    jobs = json.loads(scraped_twice(configured))["scrape_configs"]
    assert [job["job_name"] for job in jobs] == ["pods", "node", "traefik", "pods-again"]
    assert {**jobs[-1], "job_name": "pods"} == jobs[0]


@pytest.mark.parametrize(
    "text", ["", "erors", "stable-pod-ill@10", "errors@0", "errors@101", "errors@x"]
)
def test_an_unknown_fault_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="reading --fault"):
        parse_fault(text)


def rehearsed(verdict: Verdict, *faults: Fault, seconds: float | None = 6.3) -> Outcome:
    run = Outcome(
        step="run",
        release="1.0.1",
        environment="rehearsal",
        verdict=verdict,
        exit_code=exit_code_of(verdict),
        summary="played",
        started_at=T,
        finished_at=T,
    )
    return day_outcome(
        run,
        DayFacts(
            {"sent": 10, "lost": 0, "by_status": {"200": 10}},
            faults=[FaultReport(fault.name, fault.expected, seconds) for fault in faults],
            expected=expected_of(faults),
            overrides=(),
            ready_seconds=1.0,
            evidence="evidence",
        ),
        next_step="",
        started_at=T,
        finished_at=T,
    )


@pytest.mark.parametrize(
    ("verdict", "status"), [(Verdict.ROLLBACK, Status.PASS), (Verdict.PROCEED, Status.FAIL)]
)
def test_the_day_says_whether_it_came_to_what_its_faults_lead_to(
    verdict: Verdict, status: Status
) -> None:
    outcome = rehearsed(verdict, FAULTS["errors-2x"])
    check = next(c for c in outcome.checks if c.id == "rehearsal.expected_verdict")
    assert check.status is status
    for text in (outcome_text(outcome), outcome_markdown(outcome)):
        row = next(line for line in text.splitlines() if line.lstrip(" |").startswith("errors-2x"))
        assert "rollback" in row
        assert str(verdict) in row
        assert ("6.3s" in row) is (verdict is Verdict.ROLLBACK)
