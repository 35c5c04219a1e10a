"""What was not measured is never a pass and never a failure: selectors, series and collectors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsrelease.gates.measure import presence, queries
from tarsrelease.gates.measure.counting import PRECISE
from tarsrelease.gates.measure.vocabulary import (
    TELLING_LABELS,
    any_spelling,
    as_sent,
    is_probe,
)
from tarsrelease.model import promql
from tarsrelease.model.measurement import Counts, Sample, Series, Track, Unmeasured
from tarsrelease.model.rollout import MetricLabels

SHIFT, EVERY = 1000.0, 5.0
OF, BAD = "http_requests_total{}", 'http_requests_total{code=~"5.."}'
NUMBER, BOUND = "http_seconds_count{}", 'http_seconds_bucket{le="0.12"}'

Found = Mapping[str, list[Series]]


def series(rises: list[float], track: Track = Track.CANARY, **labels: str) -> Series:
    """A counter from 0 at the shift on, with these rises from scrape to scrape."""
    samples, value = [Sample(SHIFT, 0.0)], 0.0
    for number, rise in enumerate(rises, start=1):
        value += rise
        samples.append(Sample(SHIFT + EVERY * number, value))
    said = {"service": "api", "deployment": str(track), "version": "1.0.1", "pod": f"{track}-1"}
    return Series({**said, **labels}, tuple(samples))


def measurements(
    found: Found, part: str, of: str = OF, *, good: bool = False, absent: bool = False
) -> Any:
    asked = queries.Queries(
        {"e": (of, part, good)}, {}, None, may_be_absent=frozenset({"e"} if absent else ())
    )
    versions = {Track.CANARY: "1.0.1", Track.STABLE: None}
    empty = queries.open_measurements(asked, MetricLabels(), versions, SHIFT, EVERY)
    once = queries.enter(empty, [found.get(each, []) for each in asked.selectors], 1060.0, {})
    return queries.enter(once, [found.get(each, []) for each in asked.selectors], 1061.0, {})


def measure(found: Found, part: str, of: str = OF, **how: bool) -> Counts | Unmeasured:
    counted = queries.counts(measurements(found, part, of, **how), ["api"], None)
    return counted["e"]["api", Track.CANARY]


def test_a_label_that_no_series_has_is_not_measured() -> None:
    """`code` where the label is `status`: a canary that only fails passed with 0 bad."""
    everything = [series([23.0] * 10, status="500"), series([9.0] * 10, Track.STABLE, status="200")]
    measured = measure({OF: everything}, BAD)
    assert isinstance(measured, Unmeasured)
    assert "code" in measured.reason
    assert "status" in measured.reason


def test_a_label_that_no_series_has_is_no_failure_either() -> None:
    """`code!~"2.."` matches every series without the label: all requests would be bad."""
    negated = 'http_requests_total{code!~"2.."}'
    healthy = [series([23.0] * 10, status="200")]
    assert isinstance(measure({OF: healthy, negated: healthy}, negated), Unmeasured)


def test_a_healthy_canary_without_a_bad_series_has_no_bad_request() -> None:
    healthy = [series([5.0] * 10, code="200")]
    assert measure({OF: healthy}, BAD) == Counts(bad=0, total=50, newest=1050)


def test_a_label_that_only_bad_requests_have_counts_where_the_other_side_shows_it() -> None:
    """OpenTelemetry's error_type is set on failures only."""
    part = 'http_requests_total{error_type!=""}'
    failed = series([1.0] * 10, Track.STABLE, error_type="500")
    everything = [series([5.0] * 10), series([9.0] * 10, Track.STABLE), failed]
    assert measure({OF: everything, part: [failed]}, part) == Counts(0, 50, 1050)
    without = {OF: everything[:2]}
    assert isinstance(measure(without, part), Unmeasured)
    assert measure(without, part, absent=True) == Counts(0, 50, 1050)


@pytest.mark.parametrize(
    ("has", "asked"),
    [
        ("500 Internal Server Error", 'code=~"5.."'),
        ("500.0", 'code=~"5.."'),
        ("INTERNAL", 'code=~"Internal|Unknown"'),
        ("Error", 'code="error"'),
    ],
)
def test_values_that_are_written_otherwise_are_not_measured(has: str, asked: str) -> None:
    """A canary that fails every request would have no bad one."""
    part = f"http_requests_total{{{asked}}}"
    measured = measure({OF: [series([5.0] * 10, code=has)]}, part)
    assert isinstance(measured, Unmeasured)
    assert has in measured.reason


@pytest.mark.parametrize(
    ("has", "asked", "fits"),
    [
        ("0", 'code!="OK"', False),
        ("ok", 'code!="OK"', False),
        ("success", 'code!~"2.."', False),
        ("200 OK", 'code!~"2.."', False),
        ("200", 'code!~"success|ok"', False),
        ("Internal", 'code!="OK"', True),
        ("500", 'code!~"2..|3.."', True),
        ("4xx", 'code!~"[23]xx"', True),
        ("timeout", 'code!=""', True),
        ("timeout", 'code!~"|none"', True),
        ("200 OK", 'code!~"2.. .*"', True),
        ("200 OK", 'code!="200 OK"', True),
    ],
)
def test_what_is_left_out_is_of_the_values_kind(has: str, asked: str, fits: bool) -> None:
    """Else a healthy canary would have bad requests only, and be rolled back."""
    part = f"http_requests_total{{{asked}}}"
    found = [series([5.0] * 10, code=has)]
    measured = measure({OF: found, part: found}, part)
    assert isinstance(measured, Counts) is fits, measured


def test_a_canary_whose_label_was_renamed_is_not_measured() -> None:
    stable = [series([9.0] * 10, Track.STABLE, code="200")]
    everything = [series([5.0] * 10, status="500"), *stable]
    assert isinstance(measure({OF: everything}, BAD), Unmeasured)


def test_a_misspelled_metric_of_bad_requests_is_not_measured() -> None:
    part = "http_errors_totl{}"
    measured = measure({OF: [series([5.0] * 10)]}, part)
    assert isinstance(measured, Unmeasured)
    assert "http_errors_totl" in measured.reason


def test_a_canary_without_the_counter_of_bad_requests_that_stable_has_is_not_measured() -> None:
    part = "http_errors_total{}"
    found = {OF: [series([5.0] * 10)], part: [series([0.0] * 10, Track.STABLE)]}
    assert isinstance(measure(found, part), Unmeasured)


def test_a_bucket_that_the_canary_does_not_have_is_no_slow_canary() -> None:
    found = {
        NUMBER: [series([5.0] * 10), series([9.0] * 10, Track.STABLE)],
        BOUND: [series([9.0] * 10, Track.STABLE, le="0.12")],
    }
    measured = measure(found, BOUND, NUMBER, good=True)
    assert isinstance(measured, Unmeasured)
    assert "le=0.12" in measured.reason


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        ("0.12", "0.120"),
        ("0.12", "1.2e-01"),
        ("1", "1.0"),
        ("1.0", "1"),
        ("10", "1e+01"),
        ("0.00005", "5e-05"),
        ("+Inf", "Inf"),
    ],
)
def test_a_bound_is_found_in_every_spelling(asked: str, written: str) -> None:
    sent = any_spelling(f'http_seconds_bucket{{le="{asked}"}}')
    pattern = sent.split('"')[1]
    assert re.fullmatch(pattern, written)
    assert re.fullmatch(pattern, asked)


@given(st.integers(1, 10**7), st.integers(1, 10**7), st.integers(0, 6))
def test_a_spelling_is_never_that_of_another_bound(one: int, other: int, places: int) -> None:
    bounds = [f"{each / 10**places:.6f}" for each in (one, other)]
    pattern = any_spelling(f'x{{le="{bounds[0]}"}}').split('"')[1]
    for spelled in (bounds[1], repr(float(bounds[1])), f"{float(bounds[1]):e}"):
        same = float(spelled) == float(bounds[0])
        assert bool(re.fullmatch(pattern, spelled)) is same


@pytest.mark.parametrize(
    ("rises", "labels", "word"),
    [
        ([3.4] * 10, {}, "recorded rate"),
        ([-2.0] * 10, {}, "recorded rate"),
        ([10.0, -2.0] * 30, {}, "no counter"),
        ([PRECISE, 2.0], {}, "2^53"),
        ([10.0] * 10, {"pod": ""}, "neither a pod nor an instance"),
    ],
)
def test_what_counts_no_single_requests_is_not_measured(
    rises: list[float], labels: dict[str, str], word: str
) -> None:
    measured = measure({OF: [series(rises, code="500", **labels)]}, BAD)
    assert isinstance(measured, Unmeasured)
    assert word in measured.reason


def test_a_counter_that_starts_again_is_still_a_counter() -> None:
    found = {OF: [series([100.0, -97.0, 100.0, -97.0, 40.0, -42.0] * 5, code="200")]}
    assert isinstance(measure(found, BAD), Counts)


@pytest.mark.parametrize(
    "twice",
    [
        {"job": "pods"},
        {"prometheus_replica": "b"},
        {"cluster": "eu2"},
        {"job": "services", "instance": "10.0.0.1:9090"},
    ],
)
def test_a_pod_that_is_collected_twice_counts_once(twice: dict[str, str]) -> None:
    once = {"job": "a", "instance": "10.0.0.1:8080", "code": "500"}
    one, other = series([5.0] * 10, **once), series([5.0] * 10, **{**once, **twice})
    found = {OF: [one, other], BAD: [one, other]}
    assert measure(found, BAD) == Counts(50, 50, 1050)
    [said] = presence.findings(
        {"e": (OF, BAD, False)},
        frozenset(),
        measurements(found, BAD).counters,
        [("api", Track.CANARY)],
    )[:1]
    assert "canary-1 is collected several times" in said.text
    assert not said.serious


ANNOTATED = {"job": "kubernetes-pods", "app": "api", "node": "n1", "instance": "10.0.0.1:8080"}
MONITORED = {
    "job": "api",
    "endpoint": "http",
    "container": "api",
    "metrics_service": "api",
    "instance": "10.0.0.1:8080",
}


@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("other", [MONITORED, {**ANNOTATED, "job": "more", "zone": "a"}])
def test_labels_that_one_job_adds_are_no_other_counter(some: bool, other: dict[str, str]) -> None:
    """A job by annotations beside a ServiceMonitor; at first the second has fewer series."""
    fine, broken = [5.0] * 10, [1.0] * 10
    one = [series(fine, code="200", **ANNOTATED), series(broken, code="500", **ANNOTATED)]
    twice = [series(fine, code="200", **other), series(broken, code="500", **other)]
    found = {OF: [*one, *twice[: 1 if some else 2]], BAD: [one[1], *([] if some else twice[1:])]}
    assert measure(found, BAD) == Counts(10, 60, 1050)


@pytest.mark.parametrize("canary", [True, False])
def test_two_services_that_lead_to_one_pod_count_once(canary: bool) -> None:
    """A ServiceMonitor whose labels two Services have: the label is the Service's name."""
    track = Track.CANARY if canary else Track.STABLE
    owned = {"instance": "10.0.0.1:8080", "endpoint": "http", "code": "200"}
    found = [
        Series({**each.labels, "service": name, "job": name, "app_service": "api"}, each.samples)
        for name in ("api", "api-headless")
        for each in [series([5.0] * 10, track, **owned)]
    ]
    labels = MetricLabels(service="app_service")
    asked = queries.Queries({"e": (OF, BAD, False)}, {}, None)
    versions = {Track.CANARY: "1.0.1", Track.STABLE: None}
    empty = queries.open_measurements(asked, labels, versions, SHIFT, EVERY)
    once = queries.enter(empty, [found, []], 1060.0, {})
    read = queries.enter(once, [found, []], 1061.0, {})
    measured = queries.counts(read, ["api"], None)["e"]["api", track]
    assert isinstance(measured, Counts)
    assert measured.total == 50


@pytest.mark.parametrize("label", ["worker", "process"])
def test_a_label_that_all_jobs_have_tells_processes_apart(label: str) -> None:
    """Two workers with a port each, which count at the same pace."""
    found = [
        series([5.0] * 10, code="200", instance=f"10.0.0.1:{n}", **{label: str(n)})
        for n in range(2)
    ]
    assert measure({OF: found}, BAD) == Counts(0, 100, 1050)


def test_two_processes_of_a_pod_count_both() -> None:
    """Two ports, two counters: their values do not rise together."""
    one = series([5.0, 5.0, 5.0, 5.0], instance="10.0.0.1:1", code="200")
    other = series([1.0, 1.0, 1.0, 1.0], instance="10.0.0.1:2", code="200")
    assert measure({OF: [one, other]}, BAD) == Counts(0, 24, 1020)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(2, 4))
def test_any_number_of_collectors_counts_like_one(rises: list[int], collectors: int) -> None:
    found = [
        series([float(r) for r in rises], code="500", replica=str(n)) for n in range(collectors)
    ]
    measured = measure({OF: found, BAD: found}, BAD)
    assert isinstance(measured, Counts)
    assert measured.total == measured.bad == sum(rises)


@pytest.mark.parametrize(
    "label",
    [
        {"path": "/healthz"},
        {"route": "/-/ready"},
        {"handler": "/metrics"},
        {"uri": "/actuator/health/liveness"},
        {"grpc_service": "grpc.health.v1.Health"},
        {"endpoint": "/ready"},
        {"user_agent": "kube-probe/1.33"},
        {"http_user_agent": "Prometheus/3.5.0"},
    ],
)
def test_probes_are_no_requests_of_users(label: dict[str, str]) -> None:
    """At night all ten users' requests fail beside 391 probes: 10 of 10, not 10 of 401."""
    [name] = label
    users = series([1.0] * 10, code="500", **{name: "/orders"})
    probes = series([39.0] * 10, code="200", **label)
    found = {OF: [users, probes], BAD: [users]}
    assert measure(found, BAD) == Counts(10, 10, 1050)


def test_the_port_that_a_pod_monitor_scrapes_is_no_path() -> None:
    """kube-prometheus gives every series the label `endpoint`, the name of the scraped port."""
    users = series([1.0] * 10, code="500", endpoint="metrics")
    assert measure({OF: [users], BAD: [users]}, BAD) == Counts(10, 10, 1050)


def test_a_selector_that_asks_for_a_probe_s_path_gets_it() -> None:
    of, bad = (
        'http_requests_total{path="/healthz"}',
        'http_requests_total{path="/healthz",code="5"}',
    )
    found = {of: [series([1.0] * 10, code="200", path="/healthz")]}
    assert measure(found, bad, of) == Counts(0, 10, 1050)


def test_findings_name_the_label_before_a_release() -> None:
    stable = series([9.0] * 10, Track.STABLE, status="200")
    found = presence.findings(
        {"e": (OF, BAD, False)},
        frozenset(),
        measurements({OF: [stable]}, BAD).counters,
        [("api", Track.STABLE)],
    )
    assert [(each.sli, each.service, each.serious) for each in found] == [("e", "api", True)]
    assert "label code" in found[0].text


def said_of(found: list[Series], part: str = BAD, *, good: bool = False) -> list[str]:
    """What is found about the canary's series, none of it serious."""
    wanted = promql.parse(part).matchers
    chosen = [
        each
        for each in found
        if all(promql.holds(asked, each.labels.get(asked.label, "")) for asked in wanted)
    ]
    said = presence.findings(
        {"e": (OF, part, good)},
        frozenset(),
        measurements({OF: found, part: chosen}, part, good=good).counters,
        [("api", Track.CANARY)],
    )
    assert not any(each.serious for each in said)
    return [each.text for each in said]


@pytest.mark.parametrize(
    ("total", "parts", "said"),
    [
        (
            {"handler": "all", "code": "200"},
            [{"handler": "/a", "code": "200"}, {"handler": "/b", "code": "200"}],
            "with handler=all",
        ),
        ({"code": "Total"}, [{"code": "200"}, {"code": "500"}], "with code=Total"),
        ({}, [{"code": "200"}, {"code": "404"}], "without code"),
        ({"path": "/a"}, [{"path": "/a", "code": "200"}], "without code"),
    ],
)
def test_series_that_are_the_sum_of_the_others_are_named(
    total: dict[str, str], parts: list[dict[str, str]], said: str
) -> None:
    """Each request counts twice: a canary at 1.8 times its limit would be within it."""
    found = [series([6.0] * 10, **each) for each in parts]
    found.append(series([6.0 * len(parts)] * 10, **total))
    [text] = [each for each in said_of(found) if "their sum" in each]
    assert said in text


@pytest.mark.parametrize(
    "others", [[{}], [{"handler": "/a"}, {"handler": "/b"}], [{"handler": "all"}]]
)
def test_series_that_are_no_sum_are_not_taken_for_one(others: list[dict[str, str]]) -> None:
    found = [series([6.0 + at] * 10, code="200", **each) for at, each in enumerate(others)]
    found.append(series([20.0] * 10, tenant="overall", handler="/c", code="200"))
    assert not [each for each in said_of(found) if "their sum" in each]


@pytest.mark.parametrize(
    ("part", "good", "code", "kind"),
    [
        ('http_requests_total{code=~"..."}', False, "200", "bad"),
        ('http_requests_total{code=~"5.."}', True, "200", "good"),
        ('http_requests_total{code=~"5.."}', True, "503", None),
        ('http_requests_total{code=~"5.."}', False, "200", None),
    ],
)
def test_a_selector_by_which_every_request_is_bad_is_named(
    part: str, good: bool, code: str, kind: str | None
) -> None:
    """`good` and `bad` mixed up, or a pattern that fits every value."""
    some = [series([1.0] + [0.0] * 9, code="500")] if good else []
    found = [*some, series([9.0] * 10, code=code)]
    said = [each for each in said_of(found, part, good=good) if "count as bad" in each]
    assert [f"select the {kind} ones" in each for each in said] == ([True] if kind else [])


def test_the_store_is_asked_back_to_the_newest_sample_of_the_side_that_is_behind() -> None:
    """Remote write, 45 s late, with 15 s between scrapes."""
    asked = queries.Queries({"e": (OF, BAD, False)}, {}, None)
    book = queries.open_measurements(asked, MetricLabels(), {}, SHIFT, 15.0)
    stable, canary = series([1.0] * 10, Track.STABLE, code="200"), series([1.0] * 4, code="200")
    book = queries.enter(book, [[stable], []], 1095.0, {})
    assert book.lag == 45.0
    assert book.seconds(1096.0) >= 300.0  # nothing is known of the canary yet
    book = queries.enter(book, [[stable, canary], []], 1096.0, {})
    assert 1097.0 - book.seconds(1097.0) <= 1020.0 - 15.0


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("0.25", None),
        ("2", None),
        (
            "0.3",
            "le=0.3 is within a bucket of the native histogram http_seconds, and counts as its "
            "upper bound; 0.25 and 0.5 are exact",
        ),
        (
            "250",
            "le=250 is within a bucket of the native histogram http_seconds, and counts as its "
            "upper bound; 128 and 256 are exact",
        ),
    ],
)
def test_a_limit_within_a_bucket_of_a_native_histogram_is_said(
    limit: str, said: str | None
) -> None:
    of, good = 'http_seconds{le="+Inf"}', f'http_seconds{{le="{limit}"}}'
    assert as_sent(good) == good, "its bounds are numbers, not texts"
    everything = [series([9.0] * 10)]
    found = presence.findings(
        {"slow": (of, good, True)},
        frozenset(),
        measurements({of: everything, good: everything}, good, of, good=True).counters,
        [("api", Track.CANARY)],
    )
    assert [each.text for each in found if "bucket" in each.text] == ([said] if said else [])
    assert not any(each.serious for each in found)


@pytest.mark.parametrize("quote", ['"', "'", "`"])
def test_a_bound_is_respelled_in_any_quotes(quote: str) -> None:
    assert any_spelling(f"x{{le={quote}0.120{quote}}}") == any_spelling('x{le="0.12"}')


PROBES = [
    "/healthz",
    "/livez?verbose",
    "/readyz",
    "/-/healthy",
    "/-/ready",
    "/_health",
    "/_ah/health",
    "/up",
    "/alive",
    "/heartbeat",
    "/actuator/health/readiness",
    "/actuator/prometheus",
    "/q/health/started",
    "/management/health",
    "/internal/ready",
    "/api/v1/health",
    "/healthcheck",
    "/health-check",
    "http://10.0.0.1:8080/metrics",
    "ping",
    "/grpc.health.v1.Health/Check",
    "grpc.health.v1.Health",
]
USERS = [
    "/",
    "/api/v1/agents",
    "/api/v1/healthcare",
    "/users/ready",
    "/uploads",
    "/api/v1/orders/live",
    "/status",
    "/api/",
    "/up/next",
    "/healthy-food",
    "/metrics-dashboard",
    "/prometheus/graph",
    "/api/v1/upgrade",
    "/_",
    "/v1/",
]


@pytest.mark.parametrize("label", ["path", "http_target", "rpc_service", "url_path"])
def test_probes_and_scrapes_are_told_from_users_requests(label: str) -> None:
    assert [path for path in PROBES if not is_probe({label: path}, TELLING_LABELS)] == []
    assert [path for path in USERS if is_probe({label: path}, TELLING_LABELS)] == []
