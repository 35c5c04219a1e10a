"""Whose requests a series counts: by the cluster's pods, by a label's values, by labels."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gates_samples import deployment, pod
from pydantic import ValidationError

from tarsrelease.gates.measure import attribution, queries
from tarsrelease.gates.measure.attribution import Known, known, owners, reading_of
from tarsrelease.gates.measure.counting import Owner
from tarsrelease.gates.measure.served import served
from tarsrelease.model.measurement import Counts, Gauges, Sample, Series, Track, Unmeasured
from tarsrelease.model.rollout import MetricLabels, Rollout

CANARY, STABLE = ("shop", Track.CANARY), ("shop", Track.STABLE)
VERSIONS = {Track.CANARY: "1.0.1", Track.STABLE: None}


def rollout(**changes: object) -> Rollout:
    """One service whose metrics have nothing but what podinfo has."""
    sli = {
        "kind": "proportion",
        "of": 'http_requests_total{namespace="$namespace"}',
        "bad": 'http_requests_total{namespace="$namespace",status=~"5.."}',
    }
    return Rollout.model_validate(
        {
            "schema": "tarsrelease/rollout/v1",
            "application": "shop",
            "version": "1.0.1",
            "chart": "shop-1.0.1.tgz",
            "canary_values": "values-canary.yaml",
            "services": [
                {
                    "name": "shop",
                    "port": 9898,
                    "stable": {"deployment": "shop", "service": "shop"},
                    "canary": {"deployment": "shop-canary", "service": "shop-canary"},
                    "route": "shop",
                    "hosts": ["web"],
                    "paths": ["/"],
                    "smoke": [{"path": "/"}],
                }
            ],
            "slis": {"errors": sli},
            "stages": [
                {
                    "weight": 100,
                    "duration": "1m",
                    "checks": [
                        {"kind": "proportion", "id": "canary.e", "sli": "errors", "below": "1%"}
                    ],
                }
            ],
        }
        | changes
    )


def on_cluster(of: Rollout | None = None) -> Known:
    """Three pods: stable's, the canary's, and one of the canary's predecessor."""
    nothing = known(of or rollout(), "prod")
    pods = [
        pod("shop-1", owner="shop", version="1.0.0", track=Track.STABLE, address="10.1.0.1"),
        pod("shop-canary-1", owner="shop-canary", version="1.0.1", address="10.1.0.2"),
        pod("shop-canary-0", owner="shop-canary", version="1.0.0", address="10.1.0.3"),
        pod("other-1", owner="other", version="7"),
    ]
    stable = deployment().model_copy(update={"name": "shop", "version": "1.0.0"})
    canary = deployment().model_copy(update={"name": "shop-canary", "version": "1.0.1"})
    return replace(nothing, pods=nothing.pods.seen(pods, [stable, canary]))


def gauge_of(sides: dict[str, str] | None) -> Rollout:
    sli = {"kind": "gauge", "value": 'connections{namespace="$namespace"}', "unit": "count"}
    own = {} if sides is None else {"sides": sides}
    plain = rollout().slis["errors"].model_dump(exclude_none=True)
    return rollout(slis={"errors": plain, "open": {**sli, **own}})


def test_a_gauge_of_a_mesh_is_one_reading_of_each_side() -> None:
    of_mesh = {"__name__": "connections", "destination_workload": "shop-canary", "pod": "gateway-1"}
    by_label = {"label": "destination_workload"}
    for of in (gauge_of(by_label), rollout(sides=by_label)):
        assert reading_of(of_mesh, MetricLabels(), on_cluster(of)) == "shop-canary"
    own = {"__name__": "memory", "pod": "shop-canary-1"}
    assert reading_of(own, MetricLabels(), on_cluster(rollout(sides=by_label))) == "shop-canary-1"
    of_others = {**of_mesh, "destination_workload": "other"}
    assert reading_of(of_others, MetricLabels(), on_cluster(gauge_of(by_label))) == ""


def owner(found: dict[str, str], of: Rollout | None = None) -> Owner | None:
    return owners(MetricLabels(), VERSIONS, on_cluster(of))(found)


def test_a_pod_label_is_enough() -> None:
    assert owner({"pod": "shop-canary-1"}) == Owner(CANARY, "shop-canary-1")
    assert owner({"pod": "shop-1"}) == Owner(STABLE, "shop-1")


def test_a_pod_of_another_version_or_of_another_deployment_is_left_out() -> None:
    assert owner({"pod": "shop-canary-0"}) is None
    assert owner({"pod": "other-1"}) is None


def test_the_pod_decides_against_labels_that_a_scrape_configuration_adds() -> None:
    assert owner({"pod": "shop-canary-1", "service": "metrics", "deployment": "stable"}) == Owner(
        CANARY, "shop-canary-1"
    )


def test_without_a_pod_label_the_address_tells_the_pod() -> None:
    assert owner({"instance": "10.1.0.2:9898"}) == Owner(CANARY, "shop-canary-1")
    assert owner({"instance": "10.1.0.9:9898"}) is None


def test_a_pod_that_nobody_saw_is_told_by_its_deployments_name() -> None:
    """Yesterday's pods, in the recorded traffic of stable."""
    assert owner({"pod": "shop-7c9d6bb5f4-x2x9q"}) == Owner(STABLE, "shop-7c9d6bb5f4-x2x9q")
    assert owner({"pod": "shop-canary-7c9d6bb5f4-x2x9q"}) == Owner(
        CANARY, "shop-canary-7c9d6bb5f4-x2x9q"
    )
    assert owner({"pod": "shop-worker-7c9d6bb5f4-x2x9q"}) is None


def test_the_series_own_version_counts_where_the_pod_has_none() -> None:
    nothing = known(rollout(), "prod")
    silent = replace(
        nothing, pods=nothing.pods.seen([pod("p1", owner="shop-canary", version="")], [])
    )
    owner_of = owners(MetricLabels(), VERSIONS, silent)
    assert owner_of({"pod": "p1"}) == Owner(CANARY, "p1")
    assert owner_of({"pod": "p1", "version": "v1.0.1"}) == Owner(CANARY, "p1")
    assert owner_of({"pod": "p1", "version": "1.0.0"}) is None


def test_a_mesh_tells_the_sides_by_the_deployments_names() -> None:
    mesh = rollout(sides={"label": "destination_workload"})
    proxy = {"pod": "gateway-1", "destination_workload": "shop-canary"}
    assert owner(proxy, mesh) == Owner(CANARY, "gateway-1")
    assert owner(proxy | {"destination_workload": "shop"}, mesh) == Owner(STABLE, "gateway-1")
    assert owner(proxy | {"destination_workload": "db"}, mesh) is None


def test_a_gateway_tells_the_sides_by_a_pattern() -> None:
    value = r"$namespace-$backend-$port@kubernetesgateway"
    gateway = rollout(sides={"label": "service", "canary": value, "stable": value})
    found = {"service": "prod-shop-canary-9898@kubernetesgateway", "instance": "10.9.0.1:9100"}
    assert owner(found, gateway) == Owner(CANARY, "10.9.0.1:9100")


def test_the_sides_of_one_sli_are_those_of_its_metrics_alone() -> None:
    mesh = {
        "kind": "proportion",
        "of": 'istio_requests_total{reporter="source"}',
        "bad": 'istio_requests_total{reporter="source",response_code=~"5.."}',
        "sides": {"label": "destination_workload"},
    }
    both = rollout(slis={**rollout().model_dump(mode="python")["slis"], "mesh": mesh})
    calls = {"__name__": "istio_requests_total", "pod": "shop-1", "destination_workload": "db"}
    assert owner(calls, both) is None
    assert owner({"__name__": "http_requests_total", "pod": "shop-1"}, both) == Owner(
        STABLE, "shop-1"
    )


@pytest.mark.parametrize(
    ("sides", "said"),
    [
        ({"label": "service", "canary": "shop", "stable": "shop"}, "same value"),
        ({"label": "service", "canary": "$name"}, r"\$deployment"),
        ({"label": "service", "canary": "a(", "stable": "b"}, "no regular expression"),
    ],
)
def test_sides_that_tell_nothing_apart_are_refused(sides: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        rollout(sides=sides)


def counts(labels: dict[str, str], of: Rollout | None = None) -> Counts | Unmeasured:
    """The canary's requests, from series with these labels."""
    plan = of or rollout()
    asked = queries.queries_of(plan.stages[0], plan, "prod", ["1.0.1"])
    opened = queries.open_measurements(asked, plan.labels, VERSIONS, 1000.0, 5.0)
    opened = queries.attribute(opened, on_cluster(plan), VERSIONS)
    named = {"__name__": "http_requests_total", **labels}
    samples = (Sample(995.0, 10.0), Sample(1005.0, 30.0))
    answers = [[Series(named | {"status": "200"}, samples)], []]
    for now in (1006.0, 1007.0):  # bad requests are waited for until the second answer
        opened = queries.enter(opened, answers, now, {})
    return queries.counts(opened, ["shop"], None)["errors"][CANARY]


def test_requests_are_counted_without_any_label_of_the_product() -> None:
    found = counts({"pod": "shop-canary-1"})
    assert isinstance(found, Counts)
    assert (found.bad, found.total) == (0, 20)


@pytest.mark.parametrize(
    ("labels", "of", "said"),
    [
        ({"job": "shop"}, None, 'http_requests_total{job="shop",status="200"} has no label pod'),
        ({"pod": "db-1"}, None, "no Deployment of this release (shop, shop-canary)"),
        ({"pod": "shop-canary-0"}, None, "is of version 1.0.0, which is not judged"),
        (
            {"pod": "shop-canary-1"},
            rollout(sides={"label": "destination_workload"}),
            "has no label, where `sides` expects destination_workload=shop\\-canary|shop",
        ),
        (
            {"destination_workload": "db"},
            rollout(sides={"label": "destination_workload"}),
            "has destination_workload=db, where",
        ),
    ],
)
def test_the_message_names_the_label_that_is_missing_and_the_series(
    labels: dict[str, str], of: Rollout | None, said: str
) -> None:
    found = counts(labels, of)
    assert isinstance(found, Unmeasured)
    assert said in found.reason


def test_the_proof_knows_versions_by_pods_and_by_deployments() -> None:
    samples = (Sample(1000.0, 5.0), Sample(1005.0, 9.0))
    by_pod = served([Series({"pod": "shop-1"}, samples)], MetricLabels(), 999.0, 5.0, on_cluster())
    assert by_pod.total("shop", track=Track.STABLE, version="1.0.0") == 4
    mesh = rollout(sides={"label": "destination_workload"})
    series = [Series({"destination_workload": "shop"}, samples)]
    by_mesh = served(series, MetricLabels(), 999.0, 5.0, on_cluster(mesh))
    assert by_mesh.total("shop", track=Track.STABLE, version="1.0.0") == 4


def test_without_a_cluster_the_labels_decide_as_before() -> None:
    owner_of = attribution.owners(MetricLabels(), VERSIONS)
    found = {"service": "shop", "deployment": "canary", "version": "1.0.1", "pod": "p"}
    assert owner_of(found) == Owner(CANARY, "p")
    assert owner_of({"service": "shop", "deployment": "canary", "pod": "p"}) is None


@pytest.mark.parametrize(
    "labels", [{"pod": "shop-canary-1"}, {"instance": "10.1.0.2:9898"}, {"instance": "10.1.0.2"}]
)
def test_a_gauge_is_of_a_pod_by_its_label_or_its_address(labels: dict[str, str]) -> None:
    memory = {
        "kind": "gauge",
        "value": 'process_resident_memory_bytes{job="shop"}',
        "unit": "bytes",
    }
    check = {"kind": "gauge", "id": "canary.memory", "sli": "memory", "below": "1GB"}
    plan = rollout(
        slis={"memory": memory}, stages=[{"weight": 100, "duration": "1m", "checks": [check]}]
    )
    asked = queries.queries_of(plan.stages[0], plan, "prod", ["1.0.1"])
    opened = queries.open_measurements(asked, plan.labels, VERSIONS, 1000.0, 5.0)
    opened = queries.attribute(opened, on_cluster(plan), VERSIONS)
    named = {"__name__": "process_resident_memory_bytes", **labels}
    stranger = {"__name__": "process_resident_memory_bytes", "instance": "10.9.9.9:1"}
    samples = (Sample(1005.0, 5e8),)
    opened = queries.enter(
        opened, [[Series(named, samples), Series(stranger, samples)]], 1006.0, {}
    )
    found = queries.readings(opened, {"shop-canary-1": "shop-canary"}, ["shop-canary"])
    measured = found["memory"]["shop-canary"]
    assert isinstance(measured, Gauges)
    assert measured.by_pod == {"shop-canary-1": samples}
