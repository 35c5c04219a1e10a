"""Presets on pages as their exporters write them, and a short rollout.yaml."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import get_args

import pytest
from pydantic import ValidationError
from test_gates_attribution import on_cluster, rollout

from tarsrelease.adapters.files.configuration import load_rollout
from tarsrelease.adapters.podmetrics.exposition import wanted_lines
from tarsrelease.adapters.podmetrics.matchers import metric_and_matchers
from tarsrelease.gates.measure.attribution import whose
from tarsrelease.model.errors import UsageError
from tarsrelease.model.measurement import Track
from tarsrelease.model.presets import PRESETS
from tarsrelease.model.rollout import MetricLabels, PresetName, ProportionSli, Rollout

SAMPLES = Path(__file__).parent / "preset_samples"
SLOWER = {"python": "500ms", "node": "300ms", "traefik": "300ms", "linkerd": "200ms"}
"""Limits that are bounds of the samples; 250 ms for all others."""
WITHOUT_LATENCY = {"nginx-gateway-fabric"}
SCRAPED = frozenset({"namespace"})


def with_slis(**slis: object) -> Rollout:
    checks = [
        {"kind": "proportion", "id": f"canary.{name}", "sli": name, "below": "1%"} for name in slis
    ]
    stages = [{"weight": 100, "duration": "1m"}]
    return rollout(slis=slis, checks=checks, stages=stages)


def selected(selector: str, page: bytes) -> float:
    """The sum of the page's lines that the selector selects."""
    name, fits = metric_and_matchers(Template(selector).substitute(namespace="prod"), SCRAPED)
    return sum(line.value for line in wanted_lines(page, [name]) if fits(line.labels))


def test_every_preset_can_be_named_has_a_document_and_a_sample() -> None:
    assert set(get_args(PresetName)) == set(PRESETS)
    assert {path.stem for path in SAMPLES.iterdir()} == set(PRESETS)
    assert all("." in preset.document for preset in PRESETS.values())


@pytest.mark.parametrize("name", PRESETS)
def test_errors(name: str) -> None:
    page = (SAMPLES / f"{name}.prom").read_bytes()
    sli = with_slis(errors={"preset": name}).slis["errors"]
    assert isinstance(sli, ProportionSli)
    assert (selected(sli.of, page), selected(sli.bad or "", page)) == (100, 10)


@pytest.mark.parametrize(
    ("code", "is_bad"),
    [*((code, False) for code in (0, 1, 5, 8, 16)), *((c, True) for c in (2, 4, 12, 13, 14, 15))],
)
def test_grpc_codes_as_numbers(code: int, is_bad: bool) -> None:
    """OK, CANCELLED, NOT_FOUND, RESOURCE_EXHAUSTED and UNAUTHENTICATED are no failures; UNKNOWN,
    DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS are."""
    page = f'grpc_server_handled_total{{grpc_code="{code}",grpc_service="shop.v1.Orders"}} 3\n'
    sli = with_slis(errors={"preset": "grpc"}).slis["errors"]
    assert isinstance(sli, ProportionSli)
    assert selected(sli.bad or "", page.encode()) == (3 if is_bad else 0)


@pytest.mark.parametrize("name", sorted(PRESETS.keys() - WITHOUT_LATENCY))
def test_latency(name: str) -> None:
    page = (SAMPLES / f"{name}.prom").read_bytes()
    asked = {"preset": name, "slower_than": SLOWER.get(name, "250ms")}
    if not PRESETS[name].bounds:
        asked["buckets"] = ["100ms", "250ms"]  # type: ignore[assignment]
    sli = with_slis(slow=asked).slis["slow"]
    assert isinstance(sli, ProportionSli)
    good = 93 if name == "python" else 95
    assert (selected(sli.of, page), selected(sli.good or "", page)) == (100, good)


@pytest.mark.parametrize(
    ("name", "sides"), [(name, p.sides) for name, p in PRESETS.items() if p.sides is not None]
)
def test_meshes_and_gateways_tell_the_sides(name: str, sides: object) -> None:
    plan = with_slis(errors={"preset": name})
    page = (SAMPLES / f"{name}.prom").read_bytes()
    sli = plan.slis["errors"]
    assert isinstance(sli, ProportionSli)
    metric, fits = metric_and_matchers(Template(sli.of).substitute(namespace="prod"), SCRAPED)
    found = {
        (its.key if its else None)
        for line in wanted_lines(page, [metric])
        if fits(line.labels)
        for its in [whose({**line.labels, "__name__": metric}, MetricLabels(), on_cluster(plan))]
    }
    assert found == {("shop", Track.CANARY)}


@pytest.mark.parametrize(
    ("sli", "said"),
    [
        (
            {"preset": "go", "slower_than": "200ms"},
            "200ms is no bucket bound of preset go; the nearest are 100ms and 250ms",
        ),
        ({"preset": "python", "slower_than": "2s"}, "the nearest are 1s"),
        ({"preset": "spring", "slower_than": "250ms"}, "give buckets"),
        ({"preset": "nginx-gateway-fabric", "slower_than": "1s"}, "no latency histogram"),
        ({"preset": "golang"}, "'go'"),
    ],
)
def test_a_limit_that_is_no_bound_is_refused_with_the_nearest(sli: object, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        with_slis(slow=sli)


SHORT = """\
schema: tarsrelease/rollout/v1
application: shop
version: 1.0.1
chart: shop-1.0.1.tgz
canary_values: values-canary.yaml
services:
  - name: shop
    port: 80
    stable: {deployment: shop, service: shop}
    canary: {deployment: shop-canary, service: shop-canary}
    route: shop
    hosts: [web]
    paths: [/]
    smoke: [{path: /}]
slis:
  errors: {preset: go}
  slow: {preset: go, slower_than: 250ms}
checks:
  - {kind: proportion, id: canary.error_rate, sli: errors, below: 1%}
  - {kind: proportion, id: canary.latency, sli: slow, below: 5%}
  - {kind: compare, id: canary.compare, sli: errors}
  - {kind: ready, id: canary.ready}
  - {kind: restarts, id: canary.restarts}
stages:
  - weight: 5
    duration: 5m
    checks: [{kind: proportion, id: canary.error_rate, sli: errors, below: 2%}]
  - {weight: 50, duration: 10m}
  - {weight: 100, duration: 10m, approval: true}
"""


def load(tmp_path: Path, text: str) -> Rollout:
    path = tmp_path / "rollout.yaml"
    path.write_text(text)
    return load_rollout(path)


def test_a_complete_rollout_fits_in_thirty_lines(tmp_path: Path) -> None:
    assert len(SHORT.splitlines()) <= 30
    short = load(tmp_path, SHORT)
    ids = [[check.id for check in stage.checks] for stage in short.stages]
    first = [f"canary.{name}" for name in ("error_rate", "latency", "compare", "ready", "restarts")]
    assert ids == [first, first, [name for name in first if name != "canary.compare"]]
    limits = [stage.checks[0].bad_limit for stage in short.stages]  # type: ignore[union-attr]
    assert limits == [0.02, 0.01, 0.01]


def test_what_is_written_out_stays_the_same(tmp_path: Path) -> None:
    short = load(tmp_path, SHORT)
    assert Rollout.model_validate(short.model_dump(by_alias=True)) == short


@pytest.mark.parametrize(
    ("text", "instead", "said"),
    [
        ("preset: go, slower", "preset: goo, slower", "did you mean go?"),
        ("slower_than: 250ms", "slower_then: 250ms", "did you mean slower_than?"),
        ("{preset: go}", "{of: 'a{}', bad: 'b{}'}", "the key kind is missing"),
        ("{preset: go}", "{kind: proportin, of: 'a{}', bad: 'b{}'}", "did you mean proportion"),
        ("{preset: go}", "{kind: gauge, value: 'a{}', units: bytes}", "did you mean unit"),
        ("checks:\n  -", "other:\n  -", "unknown key"),
    ],
)
def test_mistakes_are_found_with_a_suggestion(
    tmp_path: Path, text: str, instead: str, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, SHORT.replace(text, instead, 1))
    assert said in caught.value.detail.found


def test_a_stage_without_any_check_is_refused(tmp_path: Path) -> None:
    start, end = SHORT.index("checks:\n"), SHORT.index("stages:\n")
    with pytest.raises(UsageError, match="the 50% stage has no checks"):
        load(tmp_path, SHORT[:start] + SHORT[end:])
