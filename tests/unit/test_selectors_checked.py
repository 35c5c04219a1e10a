"""What preflight and `canary plan` say of stable's series before a release depends on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from gates_samples import deployment
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from test_gates_attribution import rollout

from tarsrelease.adapters.kubernetes.workloads import _probe_paths, _probes
from tarsrelease.adapters.podmetrics.matchers import metric_and_matchers
from tarsrelease.adapters.terminal.progress import NoProgress
from tarsrelease.gates.study import recorded_requests
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.measurement import Sample, Series
from tarsrelease.model.outcome import Check, Status
from tarsrelease.model.rollout import Rollout
from tarsrelease.operations.past_requests import RecordedTraffic
from tarsrelease.operations.selectors_checked import FITS, WINDOW, check_selectors

NOW = 100_000.0
ENVIRONMENT = Environment.model_validate(
    {
        "schema": "tarsrelease/environment/v1",
        "name": "production",
        "kubernetes": {"namespace": "prod"},
        "gateway": {
            "name": "g",
            "namespace": "g",
            "address": "http://127.0.0.1:1",
            "hostnames": {"web": "shop.example"},
        },
        "prometheus": {"url": "http://127.0.0.1:2", "scrape_interval": "15s"},
    }
)
POD = "shop-7d9fcb5bf4-abcde"


class Store:
    """A metrics server's past: these series, as its grammar selects them."""

    def __init__(self, *found: Series) -> None:
        self._found = found

    def server_time(self) -> float:
        return NOW

    def recorded(
        self, selectors: Sequence[str], start: float, end: float, step: float
    ) -> list[list[Series]]:
        del start, end, step
        answers = []
        for selector in selectors:
            metric, fits = metric_and_matchers(selector, frozenset())
            answers.append(
                [
                    each
                    for each in self._found
                    if each.labels["__name__"] == metric and fits(each.labels)
                ]
            )
        return answers

    def between(self, selectors: Sequence[str], start: float, end: float) -> list[list[Series]]:
        """The same without samples before `start`."""
        return [
            [Series(each.labels, fresh) for each in series if (fresh := _since(each, start))]
            for series in self.recorded(selectors, start, end, 1.0)
        ]


class Pages(Store):
    """Pods' own pages: no past, and one sample of each series, read after the question."""

    def recorded(
        self, selectors: Sequence[str], start: float, end: float, step: float
    ) -> list[list[Series]]:
        del start, end, step
        return [[] for _ in selectors]

    def between(self, selectors: Sequence[str], start: float, end: float) -> list[list[Series]]:
        """The samples that were read, if `end` has not passed by then."""
        read = NOW + 2.0
        found = super().recorded(selectors, start, end, 1.0)
        return [
            [Series(each.labels, (Sample(read, each.samples[-1].value),)) for each in series]
            if start <= read <= end
            else []
            for series in found
        ]


def _since(series: Series, start: float) -> tuple[Sample, ...]:
    return tuple(sample for sample in series.samples if sample.time >= start)


def counter(
    metric: str = "http_requests_total",
    rate: float = 1.0,
    every: float = 15.0,
    ago: float = 0.0,
    **labels: str,
) -> Series:
    """A counter of stable's pod over the window, one request a second."""
    number = int(WINDOW // every) + 1
    moments = [NOW - ago - WINDOW + every * each for each in range(number)]
    values = [1000.0 + round(rate * (moment - moments[0])) for moment in moments]
    own = {"__name__": metric, "namespace": "prod", "pod": POD}
    return Series({**own, **labels}, tuple(map(Sample, moments, values)))


def checked(
    store: Store, plan: Rollout | None = None, probes: float = 0.0, paths: tuple[str, ...] = ()
) -> Check:
    metrics = "pods" if isinstance(store, Pages) else "prometheus"
    environment = ENVIRONMENT.model_copy(update={"metrics": metrics})
    asked = {"name": "shop", "probes": probes, "probe_paths": paths}
    deployments = [deployment(2, 2).model_copy(update=asked)]
    [check] = check_selectors(plan or rollout(), environment, store, "plan.selectors", deployments)
    return check


def with_bad(bad: str, **changes: Any) -> Rollout:
    sli = {"kind": "proportion", "of": "http_requests_total{}", "bad": bad}
    return rollout(slis={"errors": sli}, **changes)


def test_series_that_fit_are_fine() -> None:
    check = checked(Store(counter(status="200", path="/")))
    assert (check.status, check.reason) == (Status.PASS, FITS)


def test_a_label_that_is_missing_is_named() -> None:
    plan = with_bad('http_requests_total{code=~"5.."}')
    check = checked(Store(counter(status="200", path="/")), plan)
    assert check.status is Status.FAIL
    assert "no series of http_requests_total on stable has the label code" in check.reason


@pytest.mark.parametrize(
    ("has", "fits"),
    [
        ((), None),
        ((counter(status="200", path="/"), counter(status="500", path="/")), True),
        ((counter(code="200", path="/"),), False),
        ((counter(status="200", path="/"), counter("others", status="200")), True),
    ],
)
def test_the_pages_of_pods_are_checked_although_they_have_no_past(
    has: tuple[Series, ...], fits: bool | None
) -> None:
    """Series that were read at once look alike, and their totals are older than the window."""
    check = checked(Pages(*has), with_bad('http_requests_total{status=~"5.."}'), 0.5, ("/",))
    wanted = {None: Status.SKIPPED, True: Status.PASS, False: Status.FAIL}[fits]
    assert check.status is wanted, check.reason
    if fits is False:
        assert "no series of http_requests_total on stable has the label status" in check.reason
    elif fits:
        assert check.reason == FITS


@pytest.mark.parametrize(
    ("has", "asked", "fits"),
    [
        ("success", 'status=~"5.."', False),
        ("OK", 'status=~"[45][0-9]{2}"', False),
        ("200", 'status=~"Internal|Unavailable"', False),
        ("0", 'status=~"Internal|Unavailable"', False),
        ("2xx", 'status=~"500|502|503"', False),
        ("200", 'status="5xx"', False),
        ("200", 'status="error"', False),
        ("success", 'status=~"5..|error"', True),
        ("OK", 'status=~"Internal|Unavailable"', True),
        ("OK", 'status!="OK"', True),
        ("2xx", 'status=~"5.."', True),
        ("2XX", 'status="5XX"', True),
        ("200", 'status=~"5.+"', True),
        ("200", 'status!~"2.."', True),
        ("200", "status=~`5\\d\\d`", True),
        ("0", 'status=~"13|14"', True),
        ("false", 'status="true"', True),
    ],
)
def test_values_of_another_kind_than_those_asked_for_are_named(
    has: str, asked: str, fits: bool
) -> None:
    """A canary that fails every request would have no bad one, and pass."""
    store = Store(counter(status=has, path="/"))
    check = checked(store, with_bad(f"http_requests_total{{{asked}}}"))
    assert (check.status is Status.PASS) == fits, check.reason
    if not fits:
        assert f"on stable, status is {has}, but the selector asks {asked}" in check.reason


@pytest.mark.parametrize("label", ["prom_replica", "ha_replica", "receive_replica"])
def test_replicas_count_once_by_any_name_of_their_label(label: str) -> None:
    store = Store(*(counter(status="200", path="/", **{label: name}) for name in "ab"))
    assert "is collected several times" in checked(store).reason


@pytest.mark.parametrize(
    ("every", "said"), [(15.0, None), (5.0, None), (30.0, None), (60.0, "every 1m"), (45.0, "45s")]
)
def test_samples_that_come_more_seldom_than_the_environment_says(
    every: float, said: str | None
) -> None:
    """A gate would call them too old most of the time."""
    check = checked(Store(counter(status="200", path="/", every=every)))
    assert (check.status is Status.FAIL) == (said is not None)
    if said is not None:
        assert (
            f"http_requests_total: samples come every {said.removeprefix('every ')}" in check.reason
        )
        assert "prometheus.scrape_interval of the environment file is 15s" in check.reason


def test_a_target_that_is_no_longer_scraped_is_named() -> None:
    check = checked(Store(counter(status="200", path="/", ago=3600.0)))
    assert check.status is Status.FAIL
    assert "http_requests_total: the newest sample is 1h" in check.reason


@pytest.mark.parametrize("label", ["scraper", "stage"])
def test_series_that_rise_alike_are_named_with_their_label(label: str) -> None:
    store = Store(*(counter(status="200", path="/", **{label: name}) for name in "ab"))
    assert f"once for each {label} (a, b) and rises alike" in checked(store).reason


@pytest.mark.parametrize(
    "second", [{"path": "/", "status": "200", "method": "POST", "rate": 0.7}, {"path": "/other"}]
)
def test_series_of_their_own_are_not(second: dict[str, Any]) -> None:
    first = counter(status="200", path="/", method="GET")
    other = counter(**{"status": "200", "method": "GET", **second})
    assert checked(Store(first, other)).reason == FITS


def test_bad_requests_that_are_no_part_of_all_are_named() -> None:
    slis = {
        "errors": {
            "kind": "proportion",
            "of": 'http_requests_total{status=~"5.."}',
            "bad": "http_requests_total{}",
        }
    }
    store = Store(counter(status="200", path="/"), counter(status="500", path="/", rate=0.1))
    check = checked(store, rollout(slis=slis))
    assert check.status is Status.FAIL
    assert "counts 660 and that of all requests 60: it selects others, too" in check.reason


@pytest.mark.parametrize("good", ["", 'le=~"0.1|0.25"', 'le!="+Inf"', 'le=~".+"'])
def test_several_buckets_of_one_histogram_are_refused(good: str) -> None:
    """A request is in each of them, so more than all would be good."""
    slis = {
        "fast": {"kind": "proportion", "of": "x_count{}", "good": f"x_bucket{{{good}}}"},
    }
    with pytest.raises(ValidationError, match="each request in several buckets"):
        rollout(slis=slis)


@pytest.mark.parametrize(
    "metric",
    ["http_request_duration_seconds_sum", "http_response_bytes_total", "cpu_seconds_total"],
)
def test_metrics_that_add_up_something_else_are_refused(metric: str) -> None:
    with pytest.raises(ValidationError, match="adds up seconds or bytes and counts no requests"):
        rollout(slis={"errors": {"kind": "proportion", "of": f"{metric}{{}}", "bad": "e_total{}"}})


@pytest.mark.parametrize("metric", ["build_info", "process_start_time_seconds", "heap_bytes"])
def test_metrics_that_are_no_counters_by_their_name_are_refused(metric: str) -> None:
    """The time of the last scrape rises by one each second, like a request a second."""
    with pytest.raises(ValidationError, match=f"{metric} is no counter of requests by its name"):
        rollout(slis={"errors": {"kind": "proportion", "of": f"{metric}{{}}", "bad": "e_total{}"}})


def test_a_metric_of_all_requests_that_is_misspelled_is_named() -> None:
    slis = {
        name: {"kind": "proportion", "of": f"{metric}{{}}", "bad": f'{metric}{{status="500"}}'}
        for name, metric in (("errors", "http_requests_total"), ("other", "http_request_total"))
    }
    checks = [
        {"kind": "proportion", "id": f"canary.{name}", "sli": name, "below": "1%"} for name in slis
    ]
    plan = rollout(slis=slis, checks=checks, stages=[{"weight": 100, "duration": "1m"}])
    check = checked(Store(counter(status="200", path="/")), plan)
    assert check.status is Status.FAIL
    assert "other: http_request_total has no series of stable; is it misspelled?" in check.reason


def test_series_of_nobody_name_the_label_that_would_tell() -> None:
    check = checked(Store(counter(status="200", path="/", pod="unrelated-0")))
    assert check.status is Status.FAIL
    assert "1 series of http_requests_total match, but none of stable" in check.reason
    assert "of no Deployment of this release" in check.reason


def test_nothing_at_all_is_not_checked_and_names_the_metric() -> None:
    check = checked(Store())
    assert check.status is Status.SKIPPED
    assert check.reason == "stable has no series yet of http_requests_total"


def test_duplicates_are_named_and_count_once() -> None:
    store = Store(*(counter(status="200", path="/", job=job) for job in ("pods", "services")))
    check = checked(store)
    assert check.status is Status.PASS
    assert f"http_requests_total of {POD} is collected several times" in check.reason


def test_probes_that_no_label_tells_are_measured_by_what_the_kubelet_sends() -> None:
    """2 pods x (0.2 probes + 1/15 scrapes) a second, of 1 request a second: 53 %."""
    check = checked(Store(counter(status="200")), probes=0.2)
    assert check.status is Status.PASS
    assert "no label (path, route, user_agent) tells probes and scrapes" in check.reason
    assert "up to 53.3 % of http_requests_total may be such" in check.reason


@pytest.mark.parametrize(
    ("path", "rate", "said"),
    [("/internal/ok", 0.4, True), ("/", 0.4, True), ("/", 4.0, False), ("/other", 0.4, False)],
)
def test_probes_of_an_unusual_path_are_named(path: str, rate: float, said: bool) -> None:
    """2 pods x 0.2 probes a second. Where users ask for the path, most of it is theirs."""
    store = Store(
        counter(status="200", path="/orders"), counter(status="200", path=path, rate=rate)
    )
    check = checked(store, probes=0.2, paths=("/internal/ok", "/"))
    assert check.status is Status.PASS
    named = f'are the kubelet\'s probes of {path}; add path!="{path}" to the selectors'
    assert (named in check.reason) is said, check.reason
    assert not said or "28.6 % of http_requests_total" in check.reason


def test_a_port_may_tell_probes() -> None:
    store = Store(counter(status="200", server_port="8080"))
    assert 'if they have a port of their own, add server_port!="PORT"' in checked(store).reason
    slis = {
        "errors": {
            "kind": "proportion",
            "of": 'http_requests_total{server_port!="8081"}',
            "bad": 'http_requests_total{server_port!="8081",status=~"5.."}',
        }
    }
    assert checked(store, rollout(slis=slis)).reason == FITS


@pytest.mark.parametrize("label", ["path", "route", "http_route", "user_agent"])
def test_a_label_that_tells_probes_is_enough(label: str) -> None:
    check = checked(Store(counter(status="200", **{label: "x"})), probes=0.2)
    assert check.reason == FITS


def test_an_sli_that_only_advisory_checks_use_stops_nobody() -> None:
    plan = with_bad('http_requests_total{code=~"5.."}')
    judged = {"kind": "proportion", "id": "canary.e", "sli": "errors", "below": "1%"}
    stage = {
        "weight": 100,
        "duration": "1m",
        "checks": [judged | {"advisory": True}, {"kind": "ready", "id": "canary.ready"}],
    }
    advisory = with_bad('http_requests_total{code=~"5.."}', stages=[stage])
    store = Store(counter(status="200", path="/"))
    assert checked(store, plan).status is Status.FAIL
    check = checked(store, advisory)
    assert check.status is Status.PASS
    assert "label code" in check.reason


@given(
    label=st.sampled_from(["code", "status", "response_code"]),
    asked=st.sampled_from(["code", "status", "response_code"]),
    collectors=st.integers(1, 3),
    probed=st.booleans(),
)
def test_exactly_what_is_wrong_is_found(
    label: str, asked: str, collectors: int, probed: bool
) -> None:
    store = Store(
        *(
            counter(path=path, job=f"job-{number}", **{label: "200"})
            for number in range(collectors)
            for path in ("/", *(("/healthz",) if probed else ()))
        )
    )
    check = checked(store, with_bad(f'http_requests_total{{{asked}=~"5.."}}'))
    assert (check.status is Status.FAIL) == (label != asked)
    if check.status is Status.PASS:
        assert ("collected several times" in check.reason) == (collectors > 1)
        assert ("are of probes" in check.reason) == probed


@pytest.mark.parametrize(
    ("containers", "rate"),
    [
        ([{"readinessProbe": {"httpGet": {}, "periodSeconds": 5}}], 0.2),
        ([{"readinessProbe": {"grpc": {}}, "livenessProbe": {"httpGet": {}}}], 0.2),
        ([{"livenessProbe": {"exec": {}}}, {"readinessProbe": {"tcpSocket": {}}}, {}], 0.0),
    ],
)
def test_how_often_the_kubelet_asks(containers: list[Mapping[str, Any]], rate: float) -> None:
    assert _probes({"containers": containers}) == pytest.approx(rate)


def test_which_paths_the_kubelet_asks_for() -> None:
    own = {"httpGet": {"path": "/internal/ok"}}
    containers = [{"readinessProbe": own, "livenessProbe": own}, {"livenessProbe": {"httpGet": {}}}]
    assert _probe_paths({"containers": containers}) == ("/internal/ok", "/")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "no selector of http_requests_total matches any"),
        ([counter("http_request_total")], "no selector of http_requests_total matches any"),
        (
            [counter(pod="shop-0", status="200")],
            "1 match, but .*shop-0.* of a pod of no Deployment of this",
        ),
    ],
)
def test_a_plan_without_a_series_of_stable_says_which_were_found(
    found: list[Series], said: str
) -> None:
    plan = with_bad('http_requests_total{status=~"5.."}')
    asked = recorded_requests.selectors_of(plan, "prod")
    traffic = RecordedTraffic(Store(*found), plan, "prod", NOW - 900.0, NOW, 30.0, NoProgress())
    with pytest.raises(UsageError, match=said):
        traffic.read(asked)
