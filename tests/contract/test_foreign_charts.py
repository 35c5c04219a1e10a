"""Charts of kinds that public users have, from `init` over `bundle build` to `verify`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from bundle_samples import commit_all

from tarsrelease.rehearsal.binaries import resolve
from tarsrelease.rehearsal.paths import cache_root

DIGEST = "sha256:" + "5" * 64
PAGE = Path(__file__).parents[1] / "unit/preset_samples/go.prom"
VALUES = """\
httpRoute:
  enabled: true
  hostnames: [shop.example]
  parentRefs: [{name: edge, namespace: gateways, sectionName: http}]
"""
IMAGE = "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
Change = Callable[["Chart"], None]


class Chart:
    """A chart of `helm create` in a folder with a values file and a metrics page."""

    def __init__(self, root: Path, helm: str) -> None:
        self.root, self.helm, self.folder = root, helm, root / "charts/shop"
        self.folder.parent.mkdir()
        subprocess.run([helm, "create", self.folder], check=True, capture_output=True)
        self.change("values.yaml", "repository: nginx", "repository: reg.example/shop")
        (root / "values.yaml").write_text(VALUES)
        (root / "metrics.txt").write_bytes(PAGE.read_bytes())

    def change(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def template(self, text: str) -> None:
        count = len(list(self.folder.glob("templates/more-*.yaml")))
        (self.folder / f"templates/more-{count}.yaml").write_text(text)

    def worker(self, image: str, name: str = "{{ .Release.Name }}-worker", spec: str = "") -> None:
        labels = "{part: worker, release: '{{ .Release.Name }}'}"
        self.template(
            f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: '{name}'}}\n"
            f"spec:\n  selector: {{matchLabels: {labels}}}\n  template:\n"
            f"    metadata: {{labels: {labels}}}\n    spec:\n      {spec}\n"
            f"      containers: [{{name: c, image: '{image}'}}]\n"
        )

    def values(self, text: str) -> None:
        with (self.folder / "values.yaml").open("a") as file:
            file.write(text)

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-m", "tarsrelease", *arguments, "--format", "json"],
            cwd=self.root,
            env={**os.environ, "TARSRELEASE_HELM": self.helm},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, json.loads(done.stdout)

    def init(self, *more: str) -> tuple[int, dict[str, Any]]:
        return self.run(
            *("init", "--chart", "charts/shop", "--values", "values.yaml", "--offline"),
            *("--version", "1.16.0", "--metrics", "metrics.txt", *more),
        )

    def written(self, name: str) -> Any:
        return yaml.safe_load((self.root / "release/v1_16_0" / name).read_text())

    def build(self) -> tuple[int, dict[str, Any]]:
        commit_all(self.root)
        digests = [
            f"{image['service']}={DIGEST}" for image in self.written("bundle.yaml")["images"]
        ]
        return self.run(
            *("bundle", "build", "--source", "charts", "--version", "1.16.0"),
            *("--out", "release/v1_16_0"),
            *(word for each in digests for word in ("--digest", each)),
        )


@pytest.fixture
def chart(tmp_path: Path) -> Chart:
    return Chart(tmp_path, resolve(cache_root(), print).commands["helm"][0])


def one_text(chart: Chart) -> None:
    """`image: repository:tag`, as in many hand-written charts."""
    deployment = chart.folder / "templates/deployment.yaml"
    text = re.sub(
        r"image: \"\{\{ .Values.image.*", "image: {{ .Values.image }}", deployment.read_text()
    )
    deployment.write_text(text.replace("{{ .Values.image.pullPolicy }}", "IfNotPresent"))
    values = chart.folder / "values.yaml"
    text = re.sub(
        r"(?ms)^image:\n.*?(?=^# This is for the secrets)",
        "image: reg.example/shop:1.16.0\n",
        values.read_text(),
    )
    values.write_text(text)


def two_places(chart: Chart) -> None:
    chart.worker("{{ .Values.worker.image.repository }}:{{ .Values.worker.image.tag }}")
    chart.values("worker: {image: {repository: reg.example/shop, tag: '1.16.0'}}\n")


def sidecar_and_init_container(chart: Chart) -> None:
    chart.worker(
        "{{ .Values.proxy }}", spec="initContainers: [{name: i, image: '{{ .Values.wait.image }}'}]"
    )
    chart.values(
        "proxy: docker.io/envoyproxy/envoy:v1.30.1\nwait: {image: 'docker.io/bb/bb:1.36'}\n"
    )


def v_before_the_tag(chart: Chart) -> None:
    chart.change("templates/deployment.yaml", ":{{ .Values.image.tag", ":v{{ .Values.image.tag")


def version_with_v(chart: Chart) -> None:
    chart.change("Chart.yaml", 'appVersion: "1.16.0"', "appVersion: v1.16.0")


def without_app_version(chart: Chart) -> None:
    chart.change("Chart.yaml", 'appVersion: "1.16.0"', "")
    chart.change("values.yaml", 'tag: ""', 'tag: "1.16.0"')


def full_name(chart: Chart) -> None:
    (chart.root / "values.yaml").write_text(VALUES + "fullnameOverride: api\n")
    chart.worker(IMAGE, name='{{ include "shop.fullname" . }}-worker')


def long_name(chart: Chart) -> None:
    (chart.root / "values.yaml").write_text(VALUES + f"nameOverride: {'n' * 60}\n")


def metrics_port_first(chart: Chart) -> None:
    more = "  ports:\n    - {port: 9090, name: metrics, targetPort: http}\n"
    chart.change("templates/service.yaml", "  ports:\n", more)


def headless_first(chart: Chart) -> None:
    text = (chart.folder / "templates/service.yaml").read_text()
    text = text.replace('name: {{ include "shop.fullname" . }}', "name: a-{{ .Release.Name }}")
    chart.template(text.replace("type: {{ .Values.service.type }}", "clusterIP: None"))


def keda(chart: Chart) -> None:
    chart.template(
        "{{- if .Values.keda.enabled }}\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\n"
        "metadata: {name: '{{ .Release.Name }}'}\n"
        "spec: {scaleTargetRef: {name: '{{ .Release.Name }}'}}\n{{- end }}\n"
    )
    chart.values("keda: {enabled: true}\n")


def in_lists(chart: Chart) -> None:
    chart.change(
        "templates/deployment.yaml",
        "      containers:\n",
        "      initContainers: {{- toYaml .Values.waits | nindent 8 }}\n      containers:\n",
    )
    chart.template(
        "{{- range .Values.queues }}\napiVersion: apps/v1\nkind: Deployment\n"
        "metadata: {name: '{{ $.Release.Name }}-{{ .name }}'}\nspec:\n"
        "  selector: {matchLabels: {queue: '{{ $.Release.Name }}'}}\n  template:\n"
        "    metadata: {labels: {queue: '{{ $.Release.Name }}'}}\n    spec: "
        "{containers: [{name: q, image: '{{ .image.repository }}:{{ .image.tag }}'}]}\n{{- end }}\n"
    )
    chart.values(
        "waits: [{name: db, image: 'docker.io/bb/bb:1.36'}]\n"
        "queues:\n  - name: mail # sends\n    image: {repository: reg.example/shop, tag: 1.16.0}\n"
    )


SECRET = """
{{- define "shop.password" -}}
{{- $old := lookup "v1" "Secret" .Release.Namespace "shop" -}}
{{- if $old }}{{ index $old.data "password" }}{{ else }}{{ randAlphaNum 12 }}{{ end }}
{{- end }}
{{- if not .Values.auth.existingSecret }}
apiVersion: v1
kind: Secret
metadata: {name: '{{ .Release.Name }}'}
data: {password: '{{ include "shop.password" . }}'}
{{- end }}
"""


def lookup_that_is_not_called(chart: Chart) -> None:
    chart.template(SECRET)
    chart.values("auth: {existingSecret: shop-secret}\n")


def images(chart: Chart) -> dict[str, Any]:
    return {each["service"]: each.get("values") for each in chart.written("bundle.yaml")["images"]}


def service(chart: Chart) -> tuple[str, int, str]:
    [found] = chart.written("rollout.yaml")["services"]
    return found["stable"]["service"], found["port"], found["canary"]["service"]


PREFIXED = {"repository": "image.repository", "tag": "image.tag", "tag_prefix": "v"}
PLAIN = {"shop": "image"}
SHOP = ("shop", 80, "shop-canary")


@pytest.mark.parametrize(
    ("change", "wanted_images", "wanted_service"),
    [
        (one_text, PLAIN, SHOP),
        *(
            pytest.param(*given, marks=[pytest.mark.slow, pytest.mark.full], id=given[0].__name__)
            for given in (
                (two_places, {"shop": "image", "shop-2": "worker.image"}, SHOP),
                (
                    sidecar_and_init_container,
                    {"shop": "image", "envoy": "proxy", "bb": "wait.image"},
                    SHOP,
                ),
                (v_before_the_tag, {"shop": PREFIXED}, SHOP),
                (version_with_v, PLAIN, SHOP),
                (without_app_version, PLAIN, SHOP),
                (full_name, PLAIN, ("api", 80, "api-canary")),
                (
                    long_name,
                    PLAIN,
                    (f"shop-{'n' * 60}"[:63], 80, f"shop-canary-{'n' * 60}"[:63]),
                ),
                (metrics_port_first, PLAIN, SHOP),
                (headless_first, PLAIN, SHOP),
                (keda, PLAIN, SHOP),
                (
                    in_lists,
                    {"shop": "image", "bb": "waits.0.image", "shop-2": "queues.0.image"},
                    SHOP,
                ),
                (lookup_that_is_not_called, PLAIN, SHOP),
            )
        ),
    ],
)
def test_accepted(
    chart: Chart,
    change: Change,
    wanted_images: dict[str, Any],
    wanted_service: tuple[str, int, str],
) -> None:
    change(chart)
    code, outcome = chart.init()
    assert code == 0, outcome
    assert not [line for line in outcome["details"]["plan"] if line.startswith("to do")]
    assert images(chart) == wanted_images
    assert service(chart) == wanted_service
    code, outcome = chart.build()
    assert code == 0, outcome
    if change is one_text:
        archive = next((chart.root / "release/v1_16_0").glob("*.tgz"))
        shown = subprocess.run(
            [chart.helm, "template", "shop", archive], check=True, capture_output=True, text=True
        )
        assert f"image: reg.example/shop:1.16.0@{DIGEST}" in shown.stdout
    commit_all(chart.root)
    code, outcome = chart.run("verify", "release/v1_16_0", "--offline", "--require", "chart")
    assert code == 0, outcome


def stateful(chart: Chart) -> None:
    chart.change("templates/deployment.yaml", "kind: Deployment", "kind: StatefulSet")


def missing_dependency(chart: Chart) -> None:
    with (chart.folder / "Chart.yaml").open("a") as file:
        file.write(
            "dependencies: [{name: redis, version: 1.0.0, repository: 'https://c.example'}]\n"
        )


def hard_coded(chart: Chart) -> None:
    chart.worker("docker.io/library/busybox:1.36")


def random_secret(chart: Chart) -> None:
    chart.template(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: '{{ .Release.Name }}'}\n"
        "stringData: {password: {{ randAlphaNum 12 }}}\n"
    )


def lookup_that_is_called(chart: Chart) -> None:
    chart.template(SECRET)
    chart.values("auth: {existingSecret: ''}\n")


def tag_as_label(chart: Chart) -> None:
    chart.change(
        "templates/_helpers.tpl",
        "app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}",
        "app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}",
    )


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (stateful, "StatefulSets and DaemonSets cannot have a canary beside them"),
        (missing_dependency, "helm dependency build"),
        (hard_coded, "no value of the chart holds the image docker.io/library/busybox:1.36"),
        (random_secret, "Secret/shop renders differently each time"),
        (lookup_that_is_called, "a value with which it is not called, such as existingSecret"),
        (tag_as_label, "the chart uses the image's tag as a label: give it a value for the digest"),
    ],
)
def test_refused_with_what_to_do(chart: Chart, change: Change, message: str) -> None:
    change(chart)
    code, outcome = chart.init()
    if code == 0 and message not in json.dumps(outcome):
        code, outcome = chart.build()
        assert code == 1
    assert message in json.dumps(outcome)


@pytest.mark.slow
@pytest.mark.full
def test_a_name_that_is_too_long_for_helm_is_named(chart: Chart) -> None:
    code, outcome = chart.init("--application", "s" * 50)
    assert code == 2
    assert "which has 50 letters" in outcome["error"]["found"]


API = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: '{{ .Release.Name }}-api'}
spec:
  selector: {matchLabels: {api: '{{ .Release.Name }}'}}
  template:
    metadata: {labels: {api: '{{ .Release.Name }}'}}
    spec: {containers: [{name: c, image: "IMAGE", ports: [{containerPort: 9000}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: '{{ .Release.Name }}-api'}
spec: {selector: {api: '{{ .Release.Name }}'}, ports: [{port: 81}]}
{{- if .Values.httpRoute.enabled }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: '{{ .Release.Name }}-api'}
spec: {rules: [{backendRefs: [{name: '{{ .Release.Name }}-api', port: 81}]}]}
{{- end }}
"""


@pytest.mark.slow
@pytest.mark.full
def test_services_whose_pods_have_their_metrics_at_different_ports(chart: Chart) -> None:
    chart.template(API.replace("IMAGE", IMAGE))
    code, outcome = chart.init()
    assert code == 0, outcome
    environment = yaml.safe_load((chart.root / "environments/production.yaml").read_text())
    pages = {"shop": {"port": 80}, "api": {"port": 9000}}
    assert environment["pod_metrics"] == {"services": pages}
    code, outcome = chart.build()
    assert code == 0, outcome
    chart.change(
        "templates/more-0.yaml", "containerPort: 9000", "containerPort: 9000, name: metrics"
    )
    (chart.root / "environments/production.yaml").unlink()
    chart.init()
    environment = yaml.safe_load((chart.root / "environments/production.yaml").read_text())
    assert environment["pod_metrics"] == {"services": {"shop": {"port": 80}}}


WAITS = "waits: [{name: a, image: 'docker.io/bb/bb:1.36'}, {name: b, image: 'a.b/c:1'}]\n"


@pytest.mark.slow
@pytest.mark.full
def test_an_image_in_a_list_of_the_environment_belongs_into_the_bundle(chart: Chart) -> None:
    in_lists(chart)
    (chart.root / "values.yaml").write_text(VALUES + WAITS)
    assert chart.init()[0] == 0
    code, outcome = chart.build()
    assert code == 2
    assert "values.yaml has no waits.1.image" in outcome["error"]["found"]
    assert "a file under `values_files` of bundle.yaml" in outcome["error"]["next"]
    lists = chart.root / "release/v1_16_0/lists.yaml"
    lists.write_text(
        "waits: [{name: a, image: 'docker.io/bb/bb:1.36'}, {name: b, image: a.b/c:1}]\n"
    )
    with (chart.root / "release/v1_16_0/bundle.yaml").open("a") as file:
        file.write("values_files: [lists.yaml]\n")
    code, outcome = chart.build()
    assert code == 0, outcome


@pytest.mark.slow
@pytest.mark.full
def test_a_route_in_the_gateways_namespace_is_split_there(chart: Chart) -> None:
    """A route of another namespace to a Service of the same name there is not the product's."""
    route = chart.folder / "templates/httproute.yaml"
    text = route.read_text().replace("metadata:\n", "metadata:\n  namespace: gateways\n", 1)
    route.write_text(text.replace("weight: 1", "namespace: {{ $.Release.Namespace }}"))
    others = text.replace("name: {{ $fullName }}", "name: {{ $fullName }}-x", 1)
    chart.template(others.replace("weight: 1", "namespace: gateways"))
    code, outcome = chart.init()
    assert code == 0, outcome
    [found] = chart.written("rollout.yaml")["services"]
    assert found["routes"] == [{"kind": "HTTPRoute", "name": "shop", "namespace": "gateways"}]
    plan = outcome["details"]["plan"]
    assert any("HTTPRoute shop is in the namespace gateways" in line for line in plan)
    role = (chart.root / "rbac/tarsrelease.yaml").read_text()
    assert "referencegrants" in role
    code, outcome = chart.build()
    assert code == 0, outcome
    commit_all(chart.root)
    code, outcome = chart.run("verify", "release/v1_16_0", "--offline", "--require", "chart")
    assert code == 0, outcome
