"""What `init` writes passes verify and actionlint at once, and nothing is ever overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from bundle_samples import commit_all

from tarsrelease.adapters.files.configuration import load_environment
from tarsrelease.adapters.podmetrics.exposition import any_lines
from tarsrelease.model.rights import ROLE
from tarsrelease.model.rollout import Rollout
from tarsrelease.rehearsal.binaries import resolve
from tarsrelease.rehearsal.paths import cache_root
from tarsrelease.scaffold.files import _resources
from tarsrelease.scaffold.requests import recognize

SAMPLES = Path(__file__).parents[1] / "unit/preset_samples"
PODINFO = """\
http_request_duration_seconds_bucket{method="GET",path="root",status="200",le="0.05"} 90
http_request_duration_seconds_bucket{method="GET",path="root",status="200",le="0.1"} 100
http_request_duration_seconds_bucket{method="GET",path="root",status="200",le="+Inf"} 100
http_request_duration_seconds_count{method="GET",path="root",status="200"} 100
http_request_duration_seconds_count{method="GET",path="healthz",status="200"} 3
http_requests_total{status="200"} 103
promhttp_metric_handler_requests_total{code="200"} 9000
"""
MORE = """
{{- $tag := .Values.image.tag | default .Chart.AppVersion }}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: "{{ .Release.Name }}-night"}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
            - name: night
              image: "{{ .Values.image.repository }}:{{ $tag }}"
"""


@pytest.fixture(scope="module")
def helm() -> str:
    return resolve(cache_root(), print).commands["helm"][0]


@pytest.fixture
def shop(tmp_path: Path, helm: str) -> Path:
    """A chart of `helm create` with its route, a values file and something that runs at night."""
    chart = tmp_path / "charts/shop"
    chart.parent.mkdir()
    subprocess.run([helm, "create", chart], check=True, capture_output=True)
    values = chart / "values.yaml"
    values.write_text(
        values.read_text().replace("repository: nginx", "repository: reg.example/shop")
    )
    (chart / "templates/night.yaml").write_text(
        "{{- if .Values.night.enabled }}" + MORE + "{{- end }}\n"
    )
    with values.open("a") as file:
        file.write("night: {enabled: true}\n")
    (tmp_path / "values-production.yaml").write_text(
        "httpRoute:\n  enabled: true\n  hostnames: [shop.example, api.shop.example]\n"
        "  parentRefs: [{name: edge, namespace: gateways, sectionName: http}]\n"
        "autoscaling: {enabled: true}\n"
    )
    (tmp_path / "metrics.txt").write_text(PODINFO)
    return tmp_path


def init(root: Path, helm: str, *more: str) -> subprocess.CompletedProcess[str]:
    return run(
        root, helm, "init", "--chart", "charts/shop", "--values", "values-production.yaml",
        "--metrics", "metrics.txt", "--repository", "owner/shop", "--offline", *more,
    )  # fmt: skip


def run(root: Path, helm: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tarsrelease", *arguments, "--format", "json"],
        cwd=root,
        env={**os.environ, "TARSRELEASE_HELM": helm},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_it_wrote_passes_verify_and_actionlint_at_once(shop: Path, helm: str) -> None:
    done = init(shop, helm)
    assert done.returncode == 0, done.stdout + done.stderr
    commit_all(shop)
    build = run(
        shop, helm, "bundle", "build", "--source", "charts", "--version", "1.16.0",
        "--out", "release/v1_16_0", "--digest", "shop=sha256:" + "5" * 64,
    )  # fmt: skip
    assert build.returncode == 0, build.stdout
    commit_all(shop)
    verified = run(shop, helm, "verify", "release/v1_16_0", "--offline", "--require", "chart")
    assert verified.returncode == 0, verified.stdout
    linted = subprocess.run(
        [Path(sys.executable).with_name("actionlint"), *(shop / ".github/workflows").iterdir()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout
    script = subprocess.run(
        # jq's variables stand in single quotes on purpose (SC2016).
        [
            *(Path(sys.executable).with_name("shellcheck"), "--exclude=SC2016"),
            shop / "scripts/github-environments",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert script.returncode == 0, script.stdout


def test_a_registry_with_a_key_of_its_own_is_found(shop: Path, helm: str) -> None:
    """One `global.imageRegistry` for all images, and `name` instead of `repository`."""
    chart = shop / "charts/shop"
    for path in chart.glob("templates/*.yaml"):
        text = path.read_text()
        whole = "{{ .Values.global.imageRegistry }}/{{ .Values.image.name }}"
        path.write_text(text.replace("{{ .Values.image.repository }}", whole))
    values = chart / "values.yaml"
    text = values.read_text().replace("repository: reg.example/shop", "name: shop")
    values.write_text(text + "global: {imageRegistry: reg.example}\n")
    assert init(shop, helm).returncode == 0
    bundle = yaml.safe_load((shop / "release/v1_16_0/bundle.yaml").read_text())
    assert [(each["name"], each["values"]) for each in bundle["images"]] == [
        (
            "reg.example/shop",
            {
                "registry": "global.imageRegistry",
                "repository": "image.name",
                "tag": "image.tag",
            },
        )
    ]
    commit_all(shop)
    build = run(
        shop, helm, "bundle", "build", "--source", "charts", "--version", "1.16.0",
        "--out", "release/v1_16_0", "--digest", "shop=sha256:" + "5" * 64,
    )  # fmt: skip
    assert build.returncode == 0, build.stdout


def test_what_it_saw_is_in_the_files(shop: Path, helm: str) -> None:
    init(shop, helm)
    canary = yaml.safe_load((shop / "release/v1_16_0/values-canary.yaml").read_text())
    assert canary["httpRoute"] == {"enabled": False}
    assert canary["night"] == {"enabled": False}
    assert canary["autoscaling"] == {"enabled": False}
    rollout = Rollout.model_validate(
        yaml.safe_load((shop / "release/v1_16_0/rollout.yaml").read_text())
    )
    [service] = rollout.services
    assert (service.stable.deployment, service.canary.service) == ("shop", "shop-canary")
    assert service.hosts == ("web", "api")
    environment = load_environment(str(shop / "environments/production.yaml"))
    assert environment.gateway.hostnames == {"web": "shop.example", "api": "api.shop.example"}
    assert (environment.gateway.namespace, environment.gateway.name) == ("gateways", "edge")
    assert environment.helm.values["httpRoute"]["enabled"] is True  # of the values file
    assert environment.metrics == "pods"
    assert environment.pod_metrics is not None
    assert len((shop / "release/v1_16_0/rollout.yaml").read_text().splitlines()) <= 30
    role = next(
        found
        for found in yaml.safe_load_all((shop / "rbac/tarsrelease.yaml").read_text())
        if found["kind"] == "Role"
    )
    granted = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert {(r.group, r.resource, r.verb) for r in ROLE} <= granted
    assert ("", "pods/proxy", "get") in granted
    workflow = (shop / ".github/workflows/production_deploy_pipeline.yaml").read_text()
    assert "$/actions" not in workflow
    assert "SHOP_PROMETHEUS_TOKEN" in workflow


def test_nothing_is_ever_overwritten(shop: Path, helm: str) -> None:
    init(shop, helm)
    changed = shop / "environments/production.yaml"
    changed.write_text("# mine\n")
    assert init(shop, helm).returncode == 0
    assert changed.read_text() == "# mine\n"
    again = init(shop, helm, "--version", "1.17.0")  # the next release
    assert "wrote release/v1_17_0/bundle.yaml" in json.loads(again.stdout)["details"]["plan"]


def test_it_asks_only_for_what_it_cannot_see(shop: Path, helm: str) -> None:
    found = run(shop, helm, "init", "--chart", "charts/shop", "--offline")
    error = json.loads(found.stdout)["error"]
    assert found.returncode == 2
    assert error["next"] == "add --gateway"
    found = run(shop, helm, "init", "--chart", "charts/shop", "--offline", "--gateway", "g/edge")
    assert json.loads(found.stdout)["error"]["next"] == "add --metrics"


@pytest.mark.parametrize("name", ["opentelemetry", "opentelemetry-old", "go", "python", "node",
                                  "spring", "grpc", "linkerd"])  # fmt: skip
def test_presets_are_recognized_on_their_own_pages(name: str) -> None:
    found = recognize(any_lines((SAMPLES / f"{name}.prom").read_bytes()))
    assert found is not None
    assert found.errors == {"preset": name}


def test_other_metrics_become_selectors_without_probes() -> None:
    found = recognize(any_lines(PODINFO.encode()))
    assert found is not None
    assert found.source == "http_request_duration_seconds_count by status"
    selectors: dict[str, Any] = found.errors
    assert 'path!~"/?(-/)?(actuator/)?(healthz?|' in selectors["of"]
    assert 'status=~"5..|5xx"' in selectors["bad"]
    assert found.slow is not None
    assert 'le="0.1"' in found.slow["good"]


def test_requests_to_others_are_not_taken_for_the_applications_own() -> None:
    page = b"""http_client_request_duration_seconds_count{http_response_status_code="200"} 9000
shop_http_requests{code="200"} 5
"""
    found = recognize(any_lines(page))
    assert found is not None
    assert found.source == "shop_http_requests by code"


def test_a_page_with_a_summary_and_exemplars_has_errors_and_no_latency() -> None:
    page = """http_wait_seconds{code="200",quantile="0.99",note="a\u2028b"} 0.1
http_wait_seconds_count{code="200",note="a\u2028b"} 90 # {trace_id="x y"} 0.67 1.7e9
"""
    found = recognize(any_lines(page.encode()))
    assert found is not None
    assert (found.source, found.slow) == ("http_wait_seconds_count by code", None)


def test_a_number_that_is_no_status_is_not_taken_for_one() -> None:
    page = b'shop_http_requests_total{Status_Code="503",customer="404",port="443"} 5\n'
    found = recognize(any_lines(page))
    assert found is not None
    assert found.source == "shop_http_requests_total by Status_Code"


@pytest.mark.parametrize(
    ("page", "source"),
    [
        (
            """rpc_server_duration_milliseconds_count{rpc_grpc_status_code="0",rpc_method="2"} 90
rpc_server_duration_milliseconds_count{rpc_grpc_status_code="13",rpc_method="2"} 1
rpc_server_duration_milliseconds_bucket{rpc_grpc_status_code="0",rpc_method="2",le="75"} 90
rpc_server_duration_milliseconds_bucket{rpc_grpc_status_code="0",rpc_method="2",le="250"} 90
rpc_server_duration_milliseconds_bucket{rpc_grpc_status_code="0",rpc_method="2",le="+Inf"} 90
rpc_client_duration_milliseconds_count{rpc_grpc_status_code="0"} 9000
""",
            "rpc_server_duration_milliseconds_count by rpc_grpc_status_code",
        ),
        (
            """grpc_server_processing_duration_seconds_count{method="Get",statusCode="OK"} 5
grpc_server_processing_duration_seconds_count{method="Get",statusCode="NOT_FOUND"} 5
""",
            "grpc_server_processing_duration_seconds_count by statusCode",
        ),
        (
            'connect_rpc_requests_total{code="deadline_exceeded"} 5\n',
            "connect_rpc_requests_total by code",
        ),
    ],
)
def test_grpc_servers_without_a_preset(page: str, source: str) -> None:
    found = recognize(any_lines(page.encode()))
    assert found is not None
    assert found.source == source
    assert "deadline_exceeded" in found.errors["bad"].lower()
    assert found.slow is None or 'le="250"' in found.slow["good"]  # the least limit is 100 ms


def test_a_page_without_requests_is_not_guessed() -> None:
    page = b'go_goroutines 9\npromhttp_metric_handler_requests_total{code="200"} 1\n'
    assert recognize(any_lines(page)) is None


@pytest.mark.parametrize(
    ("kind", "resource"),
    [
        ("NetworkPolicy", "networkpolicies"),
        ("Gateway", "gateways"),
        ("Ingress", "ingresses"),
        ("IngressClass", "ingressclasses"),
        ("HTTPRoute", "httproutes"),
        ("ConfigMap", "configmaps"),
    ],
)
def test_the_role_names_the_resources_of_kinds(kind: str, resource: str) -> None:
    assert _resources([("a.example/v1", kind)]) == [("a.example", resource)]
