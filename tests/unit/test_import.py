"""Objects of other canary tools become a rollout that loads; what is left out is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tarsrelease.adapters.clock import SystemClock
from tarsrelease.adapters.files.objects import objects_in
from tarsrelease.adapters.promql import parse_promql
from tarsrelease.cli import main
from tarsrelease.model.errors import UsageError
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.step_details import ImportDetails
from tarsrelease.steps.import_ import import_objects

RATE = 'sum(rate(http_hits_total{{app="{{{{args.app}}}}"{more}}}[{{{{ interval }}}}]))'

ALL, BAD, GOOD = (RATE.format(more=more) for more in ("", ',code=~"5.."', ',code!~"5.."'))

READY = [{"id": "canary.ready", "kind": "ready"}]


def imported(tool: str, *objects: dict[str, Any], name: str | None = None) -> ImportDetails:
    outcome = import_objects(tool, objects, parse_promql, name=name, clock=SystemClock())
    details = ImportDetails.of(outcome.details)
    assert details is not None
    if {"stages", "slis"} <= set(details.document):
        Rollout.model_validate(details.document)
    return details


def rollout(*steps: dict[str, Any], **canary: Any) -> dict[str, Any]:
    spec = {"strategy": {"canary": {"steps": list(steps), **canary}}}
    return {"kind": "Rollout", "metadata": {"name": "shop"}, "spec": spec}


def template(query: str, success: str = "", **metric: Any) -> dict[str, Any]:
    one = {
        "name": "Success rate",
        "successCondition": success,
        "provider": {"prometheus": {"query": query}},
        **metric,
    }
    spec = {"args": [{"name": "app"}], "metrics": [one]}
    return {"kind": "AnalysisTemplate", "metadata": {"name": "ok"}, "spec": spec}


def test_weights_pauses_and_analyses_become_stages() -> None:
    found = imported(
        "argo-rollouts",
        rollout(
            {"setWeight": 5},
            {"pause": {"duration": "90s"}},
            {"analysis": {"templates": [{"templateName": "ok"}]}},
            {"pause": {}},
            {"setWeight": 50},
            {"pause": {"duration": 600}},
            {"setCanaryScale": {"weight": 50}},
            stableService="shop-stable",
            canaryService="shop-new",
            trafficRouting={"plugins": {"argoproj-labs/gatewayAPI": {"httpRoute": "front"}}},
        ),
        template(f"{GOOD} / {ALL}", "result[0] >= .99"),
    )
    first, second, last = found.document["stages"]
    assert (first["weight"], first["duration"]) == (5, "1m30s")
    assert [check["at_least"] for check in first["checks"]] == ["99%"]
    assert second == {"weight": 50, "duration": "10m", "approval": True}
    assert last == {"weight": 100, "duration": "5m"}
    (service,) = found.document["services"]
    assert (service["route"], service["canary"]["service"]) == ("front", "shop-new")
    assert {one.what for one in found.missing} == {"setCanaryScale", "duration of 100 %"}


@pytest.mark.parametrize(
    ("query", "success", "sli", "limit"),
    [
        ("{bad} / {all}", "result[0] < 0.02", "bad", {"below": "2%"}),
        ("{bad} / {all} * 100", "result[0] < 2", "bad", {"below": "2%"}),
        ("100 * ({bad} / {all})", "result <= 2", "bad", {"below": "2%"}),
        ("1 - {bad} / {all}", "result[0] >= 0.98", "bad", {"at_least": "98%"}),
        ("100 - {good} / {all} * 100", "result[0] < 2", "good", {"below": "2%"}),
        ("{good} / {all}", "result[0] >= 0.98", "good", {"at_least": "98%"}),
        ("({bad} / {all}) or on() vector(0)", "default(result, 0) < 0.02", "bad", {"below": "2%"}),
        ("{bad} / {all}", "isNaN(result[0]) || result[0] < 0.02", "bad", {"below": "2%"}),
    ],
)
def test_a_share_is_read_however_it_is_written(
    query: str, success: str, sli: str, limit: dict[str, str]
) -> None:
    parts = {"all": ALL, "bad": BAD, "good": GOOD}
    found = imported("argo-rollouts", rollout(), template(query.format(**parts), success))
    assert found.document["checks"] == READY
    found = imported("argo-rollouts", template(query.format(**parts), success))
    _, check = found.document["checks"]
    assert {key: check[key] for key in ("below", "at_least") if key in check} == limit
    (made,) = found.document["slis"].values()
    assert made["of"] == "http_hits_total{}"
    assert set(made) == {"kind", "of", sli}


def test_a_failure_condition_is_turned_around() -> None:
    found = imported(
        "argo-rollouts", template(f"{BAD} / {ALL}", failureCondition="result[0] > 0.03")
    )
    _, check = found.document["checks"]
    assert check["below"] == "3%"


@pytest.mark.parametrize(
    ("query", "success", "why"),
    [
        ("avg(cpu_usage)", "result[0] < 1", "neither a share of requests"),
        ("sum(rate(a[1m])", "result[0] < 1", "unexpected|expected|unclosed"),
        ("sum(rate(a[1m])) / sum(b)", "result[0] < 0.1", "two sums of rates"),
        ("sum(rate(a[1m])) / sum(rate(b[1m]))", "result[0] > 0.1 && result[0] < 0.9", "one compar"),
        ("sum(rate(a[1m])) / sum(rate(b[1m]))", "result[0] < 0", "between 0 % and 100 %"),
        ("histogram_quantile(0.9, sum(rate(x_bucket[1m])) by (le))", "result[0] < 1", "the unit"),
        ("histogram_quantile(0.9, sum(rate(x_ms_bucket[1m])))", "result[0] > 1", "no lower limit"),
        ("(" * 30_000, "result[0] < 1", "30000 characters"),
    ],
)
def test_what_has_no_counterpart_is_named_with_the_reason(
    query: str, success: str, why: str
) -> None:
    found = imported("argo-rollouts", template(query, success))
    assert found.document["checks"] == READY
    (missing,) = [one for one in found.missing if one.what == "metric Success rate"]
    assert any(part in missing.why for part in why.split("|")), missing.why


def canary(**analysis: Any) -> dict[str, Any]:
    spec = {
        "provider": "istio",
        "targetRef": {"name": "shop"},
        "service": {"name": "front", "port": 8080},
        "analysis": {"interval": "1m", **analysis},
    }
    return {"kind": "Canary", "metadata": {"name": "shop"}, "spec": spec}


def test_flaggers_weights_metrics_and_confirmations() -> None:
    found = imported(
        "flagger",
        canary(
            stepWeight=20,
            maxWeight=60,
            threshold=5,
            stepWeightPromotion=50,
            metrics=[
                {"name": "request-success-rate", "thresholdRange": {"min": 99.5}},
                {"name": "request-duration", "thresholdRange": {"max": 500}},
            ],
            webhooks=[
                {"name": "ask", "type": "confirm-promotion"},
                {"name": "load", "type": "rollout"},
            ],
        ),
    )
    stages = [(s["weight"], s["duration"], s.get("approval")) for s in found.document["stages"]]
    assert stages == [(20, "1m", None), (40, "1m", None), (60, "1m", None), (100, "1m", True)]
    assert found.document["promotion"] == {"weights": [50, 0]}
    assert found.document["slis"]["request_duration"] == {"preset": "istio", "slower_than": "500ms"}
    limits = [check.get("at_least") or check["below"] for check in found.document["checks"][1:]]
    assert limits == ["99.5%", "1%"]
    assert [one.what for one in found.missing] == [
        "promotion at 60 %",
        "webhook load (rollout)",
        "threshold 5",
    ]


def test_a_metric_template_is_attributed_by_the_label_of_its_pods() -> None:
    pods = 'ns="{{ namespace }}",k8s_pod=~"{{ target }}-[0-9a-z]+"'
    buckets = f"sum(rate(hits_seconds_bucket{{{pods}}}[{{{{ interval }}}}])) by (le)"
    made = {
        "kind": "MetricTemplate",
        "metadata": {"name": "slow"},
        "spec": {
            "provider": {"type": "prometheus"},
            "query": f"histogram_quantile(0.95, {buckets})",
        },
    }
    metric = {"name": "p95", "templateRef": {"name": "slow"}, "thresholdRange": {"max": 0.25}}
    found = imported("flagger", canary(stepWeights=[10], metrics=[metric]), made)
    assert found.document["labels"] == {"pod": "k8s_pod"}
    assert found.document["slis"]["p95"] == {
        "kind": "proportion",
        "of": "hits_seconds_count{}",
        "good": 'hits_seconds_bucket{le=~"0[.]25"}',
    }
    assert found.document["checks"][1]["below"] == "5%"


def test_blue_green_becomes_one_stage_with_both_analyses_and_the_approval() -> None:
    given = rollout()
    given["spec"] = {
        "workloadRef": {"kind": "Deployment", "name": "shop-web"},
        "rollbackWindow": {"revisions": 3},
        "strategy": {
            "blueGreen": {
                "activeService": "shop-active",
                "previewService": "shop-preview",
                "autoPromotionEnabled": False,
                "previewReplicaCount": 1,
                "prePromotionAnalysis": {"templates": [{"templateName": "ok"}]},
                "postPromotionAnalysis": {"templates": [{"templateName": "all"}]},
            }
        },
    }
    slow = "histogram_quantile(0.9, sum(rate(hits_seconds_bucket[1m])) by (le))"
    inner = template(slow, "result[0] < 0.25", name="slow")
    inner["metadata"] = {"name": "fast"}
    outer = template(f"{BAD} / {ALL}", "result[0] < 0.02")
    outer["metadata"] = {"name": "all"}
    outer["spec"] |= {"templates": [{"templateName": "fast"}, {"templateName": "all"}]}
    found = imported(
        "argo-rollouts", given, template(f"{GOOD} / {ALL}", "result[0] >= .99"), outer, inner
    )
    assert found.document["stages"] == [{"weight": 100, "duration": "5m", "approval": True}]
    limits = [check.get("at_least") or check.get("below") for check in found.document["checks"]]
    assert limits == [None, "2%", "10%", "99%"]
    (service,) = found.document["services"]
    assert service["stable"] == {"deployment": "shop-web", "service": "shop-active"}
    assert service["canary"] == {"deployment": "shop-web-canary", "service": "shop-preview"}
    assert {one.what for one in found.missing} == {
        "rollbackWindow",
        "strategy blueGreen",
        "previewReplicaCount",
        "duration of 100 %",
    }


def test_nothing_that_is_set_is_left_out_in_silence() -> None:
    """Keys with one reason share a line; templates that nothing names are listed."""
    shop = rollout({"setWeight": 5}, maxSurge=1, maxUnavailable=0, pingPong={"pingService": "a"})
    shop["spec"] |= {"newKey": {"a": 1}, "paused": False}
    found = imported("argo-rollouts", shop, template(f"{BAD} / {ALL}", "result[0] < 0.02"))
    said = {(one.object, one.what) for one in found.missing}
    assert said >= {
        ("Rollout shop", "maxSurge, maxUnavailable"),
        ("Rollout shop", "pingPong"),
        ("Rollout shop", "newKey"),
        ("AnalysisTemplate ok", "metrics"),
    }
    made = {
        "kind": "MetricTemplate",
        "metadata": {"name": "slow"},
        "spec": {"provider": {"type": "prometheus"}, "query": "sum(rate(a[1m]))"},
    }
    shop = canary(stepWeights=[10], primaryReadyThreshold=50)
    shop["spec"] |= {"autoscalerRef": {"name": "shop"}}
    shop["spec"]["service"] |= {"targetPort": 80, "retries": {"attempts": 3}, "timeout": "5s"}
    said = {(one.object, one.what) for one in imported("flagger", shop, made).missing}
    assert said >= {
        ("Canary shop", "autoscalerRef"),
        ("Canary shop", "primaryReadyThreshold"),
        ("Canary shop, service", "targetPort"),
        ("Canary shop, service", "retries, timeout"),
        ("MetricTemplate slow", "query"),
    }
    alone = imported("flagger", made)
    assert [one.object for one in alone.missing] == ["MetricTemplate slow"]


def test_a_metric_that_counts_no_requests_is_named_and_the_rest_is_imported() -> None:
    """Flagger's documentation has such a query for Traefik."""
    series = "traefik_service_request_duration_seconds_bucket"
    made = {
        "kind": "MetricTemplate",
        "metadata": {"name": "rate"},
        "spec": {
            "provider": {"type": "prometheus"},
            "query": f'sum(rate({series}{{code!="404"}}[1m])) / sum(rate({series}[1m])) * 100',
        },
    }
    metric = {"name": "rate", "templateRef": {"name": "rate"}, "thresholdRange": {"max": 5}}
    found = imported("flagger", canary(stepWeights=[10], metrics=[metric]), made)
    (missing,) = [one for one in found.missing if one.what == "metric rate"]
    assert "several buckets" in missing.why
    assert len(found.document["stages"]) == 2


def test_one_of_several_products_is_chosen_by_name() -> None:
    first, second = rollout({"setWeight": 10}), rollout({"setWeight": 20})
    second["metadata"] = {"name": "other"}
    with pytest.raises(UsageError, match="2 Rollouts: shop, other"):
        imported("argo-rollouts", first, second)
    found = imported("argo-rollouts", first, second, name="other")
    assert [stage["weight"] for stage in found.document["stages"]] == [20, 100]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 200) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "spec",
                    "strategy",
                    "canary",
                    "steps",
                    "setWeight",
                    "pause",
                    "duration",
                    "analysis",
                    "metrics",
                    "name",
                    "provider",
                    "stepWeights",
                    "templates",
                    "metadata",
                    "service",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(["argo-rollouts", "flagger"]), JSON)
def test_any_object_is_imported_or_refused(tool: str, spec: object) -> None:
    kind = {"argo-rollouts": "Rollout", "flagger": "Canary"}[tool]
    try:
        imported(tool, {"kind": kind, "metadata": {"name": "x"}, "spec": spec})
    except UsageError as refused:
        assert refused.detail.next  # noqa: PT017 - anything else fails the test


def test_the_command_writes_a_new_file_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "canary.yaml", tmp_path / "rollout.yaml"
    source.write_text(yaml.safe_dump_all([canary(stepWeights=[10]), None]))
    arguments = ["import", "flagger", str(source), "--out", str(out)]
    for expected in (0, 2):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == expected
    assert "it exists" in capsys.readouterr().out
    assert yaml.safe_load(out.read_text())["stages"][0] == {"weight": 10, "duration": "1m"}


@pytest.mark.parametrize("content", [b"a: [", b"- 1", b"\x80abc", b"&a [*a, *a]", b"text"])
def test_a_file_that_has_no_objects_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="reading"):
        objects_in(path)
