"""The wanted lines of metrics pages, as clients really write them."""

from __future__ import annotations

from math import inf, isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from tarsrelease.adapters.podmetrics.exposition import Line, wanted_lines
from tarsrelease.adapters.podmetrics.matchers import metric_and_matchers
from tarsrelease.adapters.podmetrics.targets import target_of
from tarsrelease.model.environment import Environment
from tarsrelease.model.metrics_server import PodMetricsEndpoint, PodMetricsEndpoints

TEXT = b"""# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000
\thttp_requests_total { path = "/a{b}\\"c\\\\d\\n#" , } 4.5e+02
http_requests_totally 7
something_weird{problem="division by zero"} +Inf -3982045
http_request_duration_seconds_bucket{le="+Inf"} 144320\r
"""
"""From prometheus.io/docs/instrumenting/exposition_formats, with more blanks and escapes."""

OPENMETRICS = b"""# TYPE foo histogram
foo_bucket{le="0.01"} 0
foo_bucket{le="0.1"} 8 # {} 0.054
foo_bucket{le="1"} 11 # {trace_id="KOO5S4vxi0o"} 0.67
foo_count 17 1520879607.789
foo_created 1520430000.123
# EOF
"""
"""From the OpenMetrics specification, "Exemplars"."""


def test_the_text_format() -> None:
    found = wanted_lines(TEXT, ["http_requests_total", "something_weird"])
    assert found == [
        Line("http_requests_total", {"method": "post", "code": "200"}, 1027),
        Line("http_requests_total", {"method": "post", "code": "400"}, 3),
        Line("http_requests_total", {"path": '/a{b}"c\\d\n#'}, 450),
        Line("something_weird", {"problem": "division by zero"}, inf),
    ]
    [last] = wanted_lines(TEXT, ["http_request_duration_seconds_bucket"])
    assert last.value == 144320


def test_openmetrics_with_exemplars_and_time_stamps() -> None:
    found = wanted_lines(OPENMETRICS, ["foo_bucket", "foo_count"])
    assert [line.value for line in found] == [0, 8, 11, 17]


def test_a_line_that_is_cut_short_is_an_error() -> None:
    with pytest.raises(ValueError, match="no metric"):
        wanted_lines(b'http_requests_total{code="2', ["http_requests_total"])
    with pytest.raises(ValueError, match="could not convert"):
        wanted_lines(b"http_requests_total 1.2.3", ["http_requests_total"])


NAMES = st.from_regex(r"_?[a-z][a-z0-9_]{0,8}", fullmatch=True)
"""Two leading underscores are reserved: the reference parser refuses such a name."""
LABELS = st.dictionaries(NAMES, st.text(st.characters(codec="utf-8"), max_size=12), max_size=4)
VALUES = st.floats(allow_nan=True) | st.integers(0, 10**9).map(float)


def written(lines: list[tuple[str, dict[str, str], float]]) -> str:
    """A page as the format's document says it is written."""
    page = ["# HELP a b", "", "# TYPE a counter"]
    for name, labels, value in lines:
        inside = ",".join(
            '{}="{}"'.format(
                label, text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
            )
            for label, text in labels.items()
        )
        page.append(f"{name}{{{inside}}} {value!r}" if labels else f"{name} {value!r}")
    return "\n".join(page) + "\n"


PAGES = st.lists(st.tuples(st.sampled_from(["hits_total", "hits", "other"]), LABELS, VALUES))


def as_compared(lines: list[tuple[str, dict[str, str], float]]) -> list[object]:
    return [(name, labels, "NaN" if isnan(value) else value) for name, labels, value in lines]


@given(PAGES)
def test_every_written_line_is_found_and_no_other(
    lines: list[tuple[str, dict[str, str], float]],
) -> None:
    wanted = [line for line in lines if line[0] == "hits_total"]
    found = [tuple(line) for line in wanted_lines(written(lines).encode(), ["hits_total"])]
    assert as_compared(found) == as_compared(wanted)  # type: ignore[arg-type]


@given(PAGES)
def test_the_reference_parser_agrees(lines: list[tuple[str, dict[str, str], float]]) -> None:
    page = written(lines)
    reference = [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "other"
    ]
    found = [tuple(line) for line in wanted_lines(page.encode(), ["other"])]
    assert as_compared(found) == as_compared(reference)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("matchers", "labels", "fits"),
    [
        ('status=~"5.."', {"status": "500"}, True),
        ('status=~"5.."', {"status": "200"}, False),
        ('status=~"5"', {"status": "500"}, False),
        ('status!~"5.."', {"status": "200"}, True),
        ('status!="200"', {}, True),
        ('path="/a\\"b"', {"path": '/a"b'}, True),
        ("path=~`/a\\d+`", {"path": "/a12"}, True),
        ('namespace="prod",job="x"', {}, True),
        ('deployment=~"canary|stable"', {}, True),
        ('deployment=~"canary|stable"', {"deployment": "blue"}, False),
    ],
)
def test_selectors_select_as_prometheus_does(
    matchers: str, labels: dict[str, str], fits: bool
) -> None:
    may_lack = frozenset({"namespace", "job", "deployment"})
    name, matches = metric_and_matchers(f"hits_total{{{matchers}}}", may_lack)
    assert name == "hits_total"
    assert matches(labels) is fits


def pod(annotations: dict[str, str] | None = None, ports: object = ()) -> dict[str, object]:
    return {
        "metadata": {"name": "p", "annotations": annotations},
        "spec": {"containers": [{"name": "c", "ports": ports}]},
        "status": {"podIP": "10.1.0.2"},
    }


def test_where_a_pod_has_its_metrics() -> None:
    named = [{"name": "http", "containerPort": 80}, {"name": "metrics", "containerPort": 9000}]
    annotated = {"prometheus.io/port": "9102", "prometheus.io/path": "/m"}
    by_name = target_of(pod(ports=named), "d", None)
    assert by_name is not None
    assert (by_name.resource, by_name.path) == ("p:9000", "/metrics")
    by_annotation = target_of(pod(annotated | {"prometheus.io/scheme": "https"}, named), "d", None)
    assert by_annotation is not None
    assert (by_annotation.resource, by_annotation.path) == ("https:p:9102", "/m")
    by_file = target_of(pod(annotated, named), "d", PodMetricsEndpoint(port=1, path="/x"))
    assert by_file is not None
    assert (by_file.port, by_file.path) == (1, "/x")
    assert target_of(pod(), "d", None) is None


def test_a_service_with_a_port_of_its_own_differs_from_the_others() -> None:
    shared = PodMetricsEndpoints.model_validate(
        {"port": 9898, "path": "/m", "services": {"api": {"port": 8080}}}
    )
    assert shared.of("web") == PodMetricsEndpoint(port=9898, path="/m")
    assert shared.of("api") == PodMetricsEndpoint(port=8080, path="/metrics")
    some = PodMetricsEndpoints.model_validate({"services": {"api": {"port": 8080}}})
    assert some.of("web") is None
    with pytest.raises(ValidationError, match="give port, or services"):
        PodMetricsEndpoints.model_validate({"path": "/m"})


@pytest.mark.parametrize("metrics", ["pods", "both", "prometheus"])
def test_only_with_the_pods_alone_prometheus_may_be_left_out(metrics: str) -> None:
    gateway = {
        "name": "g",
        "namespace": "g",
        "address": "http://gateway.example",
        "hostnames": {"web": "shop.example"},
    }
    written = {
        "schema": "tarsrelease/environment/v1",
        "name": "e",
        "kubernetes": {"namespace": "prod"},
        "gateway": gateway,
        "metrics": metrics,
    }
    if metrics == "pods":
        assert Environment.model_validate(written).prometheus.scrape_interval == 1
    else:
        with pytest.raises(ValidationError, match="prometheus is missing"):
            Environment.model_validate(written)
