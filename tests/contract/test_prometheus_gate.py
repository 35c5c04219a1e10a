"""A whole stage before each way in which metrics can fail: what its checks say, and that it never
goes on. The samples are a real Prometheus'; in front of it stands a proxy that fails."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_front import Behaviour, Form, Front, Headers, Reply, front
from prometheus_rig import Server, Target, scrapes
from suite_samples import bundle

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

from world import NEW, SERVICES, World, context, environment, release, rollout

from tarsrelease.adapters.background import Background
from tarsrelease.adapters.clock import SystemClock
from tarsrelease.adapters.prometheus.samples import PrometheusMetrics
from tarsrelease.adapters.pytest.suite import PytestSuite
from tarsrelease.model.cluster import DeploymentState, PodState
from tarsrelease.model.environment import Environment, Limits
from tarsrelease.model.measurement import Track
from tarsrelease.model.metrics_server import Prometheus
from tarsrelease.model.outcome import Check, Status, Verdict
from tarsrelease.operations.evaluation import StageEvaluation, evaluate_stage
from tarsrelease.operations.observation import Observation
from tarsrelease.ports.metrics import ExternalAnswers, NoExternalAnswers

CHECKS = [{"kind": "proportion", "id": "canary.error_rate", "sli": "errors", "below": "1.5%"}]
METRIC = "http_requests_total"


class Pods:
    """One ready canary pod a service."""

    def deployments(self) -> list[DeploymentState]:
        return []

    def pods(self) -> list[PodState]:
        return [
            PodState(
                name=f"{service}-1",
                owner=f"tars-canary-{service}",
                track=Track.CANARY,
                version=NEW,
                ready=True,
                terminating=False,
                phase="Running",
                started_at=None,
                containers=(),
            )
            for service in SERVICES
        ]


class Silent:
    def say(self, line: str) -> None: ...
    def evaluated(self, *said: object, checks: Iterable[Check]) -> None: ...


def count(target: Target, good: float | str, bad: float | str, metric: str = METRIC) -> None:
    """What the canary's pods have counted so far."""
    for service in SERVICES:
        own = {"namespace": "tars", "service": service, "deployment": "canary", "version": NEW}
        own |= {"pod": f"{service}-1"}
        said = ",".join(f'{name}="{text}"' for name, text in own.items())
        target.lines[f'{metric}{{{said},status="200"}}'] = good
        target.lines[f'{metric}{{{said},status="500"}}'] = bad


@pytest.fixture(autouse=True)
def fresh(target: Target) -> None:
    target.lines = {}
    target.up = True


def stage_of(
    server: Server,
    target: Target,
    behave: Behaviour = lambda own, form, headers: own.forward(form),
    meanwhile: Callable[[], None] = lambda: None,
    patience: float = 0.5,
    more: Sequence[Mapping[str, object]] = (),
    elsewhere: ExternalAnswers | None = None,
) -> Observation:
    """One stage of 1.5 s with `more` checks; `meanwhile` comes after the shift.

    It ends `patience` seconds later where it cannot be decided. A stage that is to be decided
    gets plenty: it ends as soon as it is, and a busy machine is no reason to hold.
    """
    count(target, 10_000, 0)
    scrapes(target, 2)
    plan = rollout(
        [*CHECKS, *more], weights=(100,), duration="1500ms", max_extension=f"{patience}s"
    )
    with front(server.settings.url, behave) as own:
        where: Environment = environment("500ms").model_copy(
            update={
                "prometheus": Prometheus(url=own.url, scrape_interval=0.5, timeout=1.0),
                "limits": Limits(metrics_outage=2.0 + patience),
            }
        )
        metrics = PrometheusMetrics(where.prometheus)
        since = datetime.now(UTC)
        meanwhile()
        try:
            onto = context(
                World(),
                release(plan),
                where,
                samples=metrics,
                workloads=Pods(),
                clock=SystemClock(),
                progress=Silent(),
                external=elsewhere or NoExternalAnswers(),
            )
            return evaluate_stage(
                onto, StageEvaluation(stage=plan.stages[0], since=since, weight=100)
            )
        finally:
            metrics.close()


def statuses(seen: Observation) -> set[Status]:
    return {check.status for check in seen.checks if check.id == "canary.error_rate"}


def reasons(seen: Observation) -> str:
    return "; ".join(check.reason for check in seen.checks)


def test_without_a_fault_the_stage_passes(server: Server, target: Target) -> None:
    """What makes the rest of this file mean something."""
    seen = stage_of(server, target, meanwhile=lambda: count(target, 11_000, 1), patience=30)
    assert seen.verdict is Verdict.PROCEED, reasons(seen)
    assert [check.samples for check in seen.checks][:3] == [1001] * 3


SUITE = """
import urllib.request

import pytest

@pytest.mark.canary
def test_the_canary_counts_its_requests():
    with urllib.request.urlopen("http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        assert "http_requests_total" in answer.read().decode()

def test_of_another_mark():
    raise AssertionError("not asked for")
"""


@pytest.mark.parametrize(
    ("wanted", "verdict"),
    [("http_requests_total", Verdict.PROCEED), ("no_such_metric", Verdict.ROLLBACK)],
)
def test_the_releases_own_tests_decide(
    server: Server, target: Target, tmp_path: Path, wanted: str, verdict: Verdict
) -> None:
    """The tests of a mark, run by pytest against a real server, while the stage is looked at."""
    text = SUITE.replace("{port}", str(target.port)).replace("http_requests_total", wanted)
    folder = bundle(tmp_path, text)
    rule = {"kind": "suite", "id": "canary.spot_checks", "marks": ["canary"]}
    seen = stage_of(
        server,
        target,
        meanwhile=lambda: count(target, 11_000, 1),
        patience=60,
        more=[rule],
        elsewhere=Background(lambda _: 0.0, PytestSuite(folder, environment())),
    )
    assert seen.verdict is verdict, reasons(seen)
    check = next(each for each in seen.checks if each.id == "canary.spot_checks")
    assert check.samples == 1
    if verdict is Verdict.ROLLBACK:
        assert "test_the_canary_counts_its_requests" in check.reason


def test_a_bad_canary_is_taken_back(server: Server, target: Target) -> None:
    seen = stage_of(server, target, meanwhile=lambda: count(target, 10_500, 500), patience=30)
    assert seen.verdict is Verdict.ROLLBACK, reasons(seen)


def edited(edit: Callable[[dict[str, Any]], None]) -> Behaviour:
    def behave(own: Front, form: Form, headers: Headers) -> Reply:
        return own.forward(form) if "time()" in form["query"] else own.edited(form, edit)

    return behave


def giving(status: int, kind: str) -> Behaviour:
    body = json.dumps({"status": "error", "errorType": kind, "error": f"no: {kind}"}).encode()
    return lambda own, form, headers: (status, body)


def cut(own: Front, form: Form, headers: Headers) -> Reply:
    status, body = own.forward(form)
    return status, body[: len(body) // 2]


def hanging(own: Front, form: Form, headers: Headers) -> Reply:
    time.sleep(1.5)
    return own.forward(form)


def misread(own: Front, form: Form, headers: Headers) -> Reply:
    """The real server's own refusal of a query that is none."""
    return own.forward(form | {"query": form["query"] + "}"})


AWAY: dict[str, tuple[Behaviour, str]] = {
    "query error": (misread, "parse error"),
    "400": (giving(400, "bad_data"), "no: bad_data"),
    "422": (giving(422, "execution"), "no: execution"),
    "429": (giving(429, "too_many"), "status 429"),
    "500": (giving(500, "internal"), "status 500"),
    "503": (giving(503, "unavailable"), "status 503"),
    "time-out": (hanging, "in time"),
    "truncated JSON": (cut, "not JSON"),
    "warning": (edited(lambda answer: answer.update(warnings=["store b"])), "warning"),
    "partial": (edited(lambda answer: answer.update(isPartial=True)), "incomplete"),
}


@pytest.mark.parametrize("fault", AWAY)
def test_an_answer_that_is_none_holds(server: Server, target: Target, fault: str) -> None:
    """Good counts stand behind each of these answers; still nothing passes."""
    behave, said = AWAY[fault]
    seen = stage_of(server, target, behave, lambda: count(target, 11_000, 0))
    assert statuses(seen) == {Status.ERROR}
    assert seen.verdict is Verdict.HOLD
    assert said in reasons(seen)
    assert seen.evaluations == 0


def renamed(metric: str) -> Behaviour:
    """The canary's requests have another name; under it there is what the test puts there."""

    def behave(own: Front, form: Form, headers: Headers) -> Reply:
        return own.forward(form | {"query": form["query"].replace(METRIC, metric)})

    return behave


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
def test_what_is_no_number_holds(server: Server, target: Target, value: str) -> None:
    metric = f"requests_{value.strip('+-').lower()}_{'minus' if '-' in value else 'plus'}"
    count(target, value, value, metric)
    seen = stage_of(server, target, renamed(metric))
    assert statuses(seen) == {Status.ERROR}
    assert seen.verdict is Verdict.HOLD
    assert "no number" in reasons(seen)


@pytest.mark.parametrize("value", ["NaN", "+Inf"])
def test_a_number_that_becomes_none_holds(server: Server, target: Target, value: str) -> None:
    """The samples before the shift are fine; those after it are not."""
    seen = stage_of(server, target, meanwhile=lambda: count(target, value, value))
    assert statuses(seen) == {Status.INCONCLUSIVE}
    assert seen.verdict is Verdict.HOLD


def test_no_series_at_all_hold(server: Server, target: Target) -> None:
    seen = stage_of(server, target, renamed("requests_of_nobody"))
    assert statuses(seen) == {Status.INCONCLUSIVE}
    assert seen.verdict is Verdict.HOLD
    assert "no series yet" in reasons(seen)
    assert seen.evaluations > 0


def test_no_traffic_holds(server: Server, target: Target) -> None:
    seen = stage_of(server, target)
    assert statuses(seen) == {Status.INCONCLUSIVE}
    assert seen.verdict is Verdict.HOLD
    assert "no requests yet" in reasons(seen)


def test_series_that_ended_hold(server: Server, target: Target) -> None:
    """Prometheus marks them stale; what they had counted before the shift says nothing."""
    seen = stage_of(server, target, meanwhile=target.lines.clear)
    assert statuses(seen) == {Status.INCONCLUSIVE}
    assert seen.verdict is Verdict.HOLD


def test_several_series_that_belong_to_nobody_hold(server: Server, target: Target) -> None:
    """Requests counted without the labels that tell whose they are."""

    def unlabelled(answer: dict[str, Any]) -> None:
        for each in answer["data"]["result"]:
            for label in ("version", "pod"):
                each["metric"].pop(label, None)

    seen = stage_of(server, target, edited(unlabelled), lambda: count(target, 11_000, 0))
    assert statuses(seen) == {Status.ERROR}
    assert seen.verdict is Verdict.HOLD
    assert "has no label version" in reasons(seen)


def test_an_outage_in_between_ends_nothing(server: Server, target: Target) -> None:
    """A few answers are lost; the stage goes on where it was, and passes."""
    lost = 0

    def flaky(own: Front, form: Form, headers: Headers) -> Reply:
        nonlocal lost
        if 3 <= len(own.forms) < 6:
            lost += 1
            return 503, b"not now"
        return own.forward(form)

    seen = stage_of(server, target, flaky, lambda: count(target, 11_000, 1), patience=30)
    assert lost >= 2
    assert seen.verdict is Verdict.PROCEED, reasons(seen)
