"""Charts that nobody changed for tarsrelease: what `helm create` writes, with the real Helm."""

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

from tarsrelease.rehearsal.binaries import resolve
from tarsrelease.rehearsal.paths import cache_root

DIGEST = "sha256:" + "5" * 64
OTHER = "sha256:" + "7" * 64

ROLLOUT = """\
schema: tarsrelease/rollout/v1
application: shop
version: VERSION
chart: shop-VERSION.tgz
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
checks:
  - {kind: proportion, id: canary.error_rate, sli: errors, below: 1%}
stages:
  - {weight: 10, duration: 10m}
  - {weight: 100, duration: 10m, approval: true}
"""

BUNDLE = """\
schema: tarsrelease/bundle/v1
application: shop
version: VERSION
chart: shop
canary_values: values-canary.yaml
images:
  - {service: shop, name: registry.example/shop, tag: TAG, values: image, digest: "DIGEST"}
"""


@pytest.fixture(scope="module")
def helm() -> str:
    return resolve(cache_root(), print).commands["helm"][0]


class Product:
    """A folder with the chart of `helm create` and a release."""

    def __init__(self, root: Path, helm: str, version: str = "1.4.0", tag: str = "") -> None:
        self.root, self.helm, self.version = root, helm, version
        self.chart = root / "charts/shop"
        self.out = root / "release/next"
        self.out.mkdir(parents=True)
        self.chart.parent.mkdir()
        subprocess.run([helm, "create", self.chart], check=True, capture_output=True)
        self.text("rollout.yaml", ROLLOUT)
        tag = tag or version.replace("+", "_")
        self.text("bundle.yaml", BUNDLE.replace("TAG", tag).replace("DIGEST", DIGEST))
        self.text("values-canary.yaml", "replicaCount: 1\n")

    def text(self, name: str, text: str) -> None:
        (self.out / name).write_text(text.replace("VERSION", self.version))

    def add(self, name: str, text: str) -> None:
        path = self.out / name
        path.write_text(path.read_text() + text)

    def run(self, *arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "tarsrelease", *arguments, "--format", "json"],
            cwd=self.root,
            env={**os.environ, "TARSRELEASE_HELM": self.helm},
            capture_output=True,
            text=True,
            check=False,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def build(self, *more: str) -> dict[str, Any]:
        (self.root / "state.txt").write_text(str(more))  # so that there is something to commit
        commit_all(self.root)
        return self.run(
            *("bundle", "build", "--source", "charts", "--version", self.version),
            *("--out", "release/next", *more),
        )

    def values(self) -> dict[str, Any]:
        """The values of the packed chart, as Helm reads them."""
        archive = next(self.out.glob("*.tgz"))
        shown = subprocess.run(
            [self.helm, "show", "values", archive], check=True, capture_output=True, text=True
        )
        found: dict[str, Any] = yaml.safe_load(shown.stdout)
        return found

    def images(self) -> set[str]:
        archive = next(self.out.glob("*.tgz"))
        shown = subprocess.run(
            [self.helm, "template", "shop", archive], check=True, capture_output=True, text=True
        )
        return {
            container["image"]
            for found in yaml.safe_load_all(shown.stdout)
            if found and found["kind"] == "Deployment"
            for container in found["spec"]["template"]["spec"]["containers"]
        }


def statuses(outcome: dict[str, Any]) -> dict[str, str]:
    return {check["id"]: check["status"] for check in outcome["checks"]}


def reason(outcome: dict[str, Any], check_id: str) -> str:
    return " ".join(check["reason"] for check in outcome["checks"] if check["id"] == check_id)


def test_the_chart_of_helm_create_is_released_as_it_is(tmp_path: Path, helm: str) -> None:
    product = Product(tmp_path, helm)
    outcome = product.build()
    assert outcome["verdict"] == "proceed", outcome
    assert product.images() == {f"registry.example/shop:1.4.0@{DIGEST}"}
    assert statuses(outcome)["chart.values"] == "skipped"  # it has no values.schema.json
    verified = product.run("verify", "release/next", "--offline", "--require", "chart")
    assert verified["verdict"] == "proceed", verified
    assert "# Default values for shop" in (tmp_path / "charts/shop/values.yaml").read_text()


def test_a_digest_has_a_place_of_its_own_where_the_chart_has_one(tmp_path: Path, helm: str) -> None:
    product = Product(tmp_path, helm)
    values = product.chart / "values.yaml"
    values.write_text(values.read_text().replace('  tag: ""', '  tag: ""\n  digest: ""'))
    template = product.chart / "templates/deployment.yaml"
    template.write_text(
        template.read_text().replace(
            "| default .Chart.AppVersion }}", "}}@{{ .Values.image.digest }}"
        )
    )
    assert product.build()["verdict"] == "proceed"
    assert product.values()["image"]["digest"] == DIGEST
    assert product.values()["image"]["tag"] == "1.4.0"


def test_a_digest_that_nobody_knows_is_asked_for_and_then_kept(tmp_path: Path, helm: str) -> None:
    product = Product(tmp_path, helm)
    bundle = product.out / "bundle.yaml"
    bundle.write_text(bundle.read_text().replace(f', digest: "{DIGEST}"', ""))
    refused = product.build()
    assert "no digest of shop (registry.example/shop:1.4.0)" in refused["error"]["found"]
    assert "--digest shop=sha256:" in refused["error"]["next"]
    assert product.build("--digest", f"shop={DIGEST}")["verdict"] == "proceed"
    first = (product.out / "SHA256SUMS").read_bytes()
    assert product.build()["verdict"] == "proceed"  # without asking again
    assert (product.out / "SHA256SUMS").read_bytes() == first
    wrong = product.build("--digest", "shop=latest")
    assert wrong["error"]["doing"] == "reading --digest"


def test_several_values_files_are_laid_over_each_other(tmp_path: Path, helm: str) -> None:
    product = Product(tmp_path, helm)
    product.text("values-common.yaml", "replicaCount: 3\nservice: {port: 8080}\n")
    product.text("values-eu.yaml", "service: {type: ClusterIP}\nreplicaCount: 4\n")
    product.add("bundle.yaml", "values_files: [values-common.yaml, values-eu.yaml]\n")
    assert product.build()["verdict"] == "proceed"
    values = product.values()
    assert values["replicaCount"] == 4
    assert values["service"] == {"type": "ClusterIP", "port": 8080}


@pytest.mark.parametrize("packed", [False, True])
def test_the_images_of_subcharts_are_pinned(tmp_path: Path, helm: str, packed: bool) -> None:
    product = Product(tmp_path, helm)
    charts = product.chart / "charts"
    charts.mkdir(exist_ok=True)
    subprocess.run([helm, "create", charts / "cache"], check=True, capture_output=True)
    if packed:
        subprocess.run(
            [helm, "package", charts / "cache", "--destination", charts],
            check=True,
            capture_output=True,
        )
        subprocess.run(["rm", "-r", charts / "cache"], check=True)
    unpinned = product.build()
    assert "Deployment/shop-cache for stable runs nginx:1.16.0" in reason(unpinned, "chart.images")
    product.add(
        "bundle.yaml",
        "  - {service: cache, name: docker.io/library/valkey, tag: '9.1', values: cache.image, "
        f"digest: '{OTHER}', tag_is_version: false}}\n",
    )
    outcome = product.build()
    assert outcome["verdict"] == "proceed", outcome
    assert product.images() == {
        f"registry.example/shop:1.4.0@{DIGEST}",
        f"docker.io/library/valkey:9.1@{OTHER}",
    }


def test_a_version_with_build_metadata(tmp_path: Path, helm: str) -> None:
    product = Product(tmp_path, helm, "1.4.0+build.5")
    outcome = product.build()
    assert outcome["verdict"] == "proceed", outcome
    assert product.images() == {f"registry.example/shop:1.4.0_build.5@{DIGEST}"}
    assert (product.out / "shop-1.4.0+build.5.tgz").exists()


def test_a_record_above_the_limit_of_helms_secret_is_found(tmp_path: Path, helm: str) -> None:
    product = Product(tmp_path, helm)
    (product.chart / "data.bin").write_bytes(os.urandom(900_000))
    outcome = product.build()
    assert statuses(outcome)["chart.record"] == "fail"
    assert "at most 1.05 MB are stored" in reason(outcome, "chart.record")
    (product.chart / "data.bin").write_bytes(os.urandom(400_000))
    assert statuses(product.build())["chart.record"] == "pass"


def test_a_stage_longer_than_its_job_is_found_by_plan(tmp_path: Path, helm: str) -> None:
    product = Product(tmp_path, helm)
    product.build()
    environment = tmp_path / "environments/production.yaml"
    environment.parent.mkdir()
    environment.write_text(
        "schema: tarsrelease/environment/v1\nname: production\nkubernetes: {namespace: shop}\n"
        "gateway: {name: g, namespace: g, address: 'https://shop.example', "
        "hostnames: {web: shop.example}}\n"
        "prometheus: {url: 'http://127.0.0.1:9090'}\n"
        "github: {environments: [{name: production}]}\n"
    )
    plan = ("plan", "--release", "release/next", "--environment", "production")
    assert statuses(product.run(*plan))["plan.job_timeout"] == "pass"
    late = product.run(*plan, "--stage-duration", "3h")
    assert late["verdict"] == "no-go"
    assert "the 10 % stage takes up to 3h10m and 10m for its job" in reason(
        late, "plan.job_timeout"
    )
    environment.write_text(environment.read_text().replace("github: {", "github: {stage_job: 5h, "))
    assert product.run(*plan, "--stage-duration", "3h")["verdict"] == "proceed"
