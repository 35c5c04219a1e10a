"""Configurations in the style of public projects: read, preflighted, rendered, and split."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from _pytest.mark.structures import ParameterSet
from bare_api import BareApi
from istio_crds import virtual_service_crd
from public_configurations import (
    ACCEPTED,
    FURTHER_ACCEPTED,
    FURTHER_REFUSED,
    REFUSED,
    Configuration,
)

sys.path.insert(0, str(Path(__file__).parents[2] / "simulation"))

from world import World, context

from tarsrelease.adapters.files.configuration import load_rollout
from tarsrelease.adapters.helm.releases import Helm
from tarsrelease.adapters.kubernetes.all_routes import AllRoutes
from tarsrelease.adapters.kubernetes.client import SERVICE, VIRTUAL_SERVICE, Kind, KubernetesApi
from tarsrelease.adapters.kubernetes.routes import KINDS
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.release import Release
from tarsrelease.model.rollout import Rollout
from tarsrelease.operations.canary_render import check_render
from tarsrelease.readiness import preflight

WORKLOAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Release.Name }}"}
spec:
  selector: {matchLabels: {app: "{{ .Release.Name }}"}}
  template:
    metadata: {labels: {app: "{{ .Release.Name }}", app.kubernetes.io/name: shop}}
    spec: {containers: [{name: c, image: "{{ .Values.image }}"}]}
---
apiVersion: v1
kind: Service
metadata: {name: "{{ .Release.Name }}"}
spec: {selector: {app: "{{ .Release.Name }}"}, ports: [{port: 80}]}
---
"""


OPERATORS = (
    ("keda.sh/v1alpha1", "ScaledObject"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("flagger.app/v1beta1", "Canary"),
    ("argoproj.io/v1alpha1", "Rollout"),
    ("serving.knative.dev/v1", "Service"),
)
"""Kinds of operators whose objects charts have; only their names matter here."""


@pytest.fixture(scope="session")
def defined(api: BareApi) -> None:
    api.kubectl("apply", "--server-side", "--filename", "-", stdin=virtual_service_crd())
    name = "crd/virtualservices.networking.istio.io"
    api.kubectl("wait", "--for=condition=Established", "--timeout=30s", name)


@pytest.fixture(scope="session")
def operators(api: BareApi) -> None:
    crds = [_definition(*version.split("/"), kind) for version, kind in OPERATORS]
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": crds})
    api.kubectl("apply", "--server-side", "--filename", "-", stdin=given)
    names = [f"crd/{crd['metadata']['name']}" for crd in crds]
    api.kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)


def _definition(group: str, version: str, kind: str) -> dict[str, Any]:
    plural = f"{kind.lower()}s"
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    of_version = {"name": version, "served": True, "storage": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [{**of_version, "schema": {"openAPIV3Schema": anything}}],
        },
    }


class Product:
    """A configuration in a namespace of its own."""

    def __init__(
        self,
        of: Configuration,
        cluster: KubernetesApi,
        places: tuple[Release, Environment],
        folder: Path,
    ) -> None:
        self.of, self.cluster, self.folder = of, cluster, folder
        self.release, self.environment = places
        self.routes = AllRoutes(cluster, self.environment.gateway)

    def rollout(self) -> Rollout:
        """rollout.yaml as the command reads it."""
        service = {
            "name": "shop",
            "port": 80,
            "stable": {"deployment": "shop", "service": "shop"},
            "canary": {"deployment": "shop-canary", "service": "shop-canary"},
            "route": "shop",
            "hosts": ["web"],
            "paths": ["/"],
            "smoke": [{"path": "/"}],
        } | self.of.service
        content: dict[str, Any] = {
            "schema": "tarsrelease/rollout/v1",
            "application": "shop",
            "version": "1.0.1",
            "chart": "shop-1.0.1.tgz",
            "canary_values": "values-canary.yaml",
            "services": [{key: value for key, value in service.items() if value is not None}],
            "slis": {"errors": {"preset": "go"}},
            "checks": [{"kind": "proportion", "id": "c.e", "sli": "errors", "below": "1%"}],
            "stages": [{"weight": 10, "duration": "5m"}, {"weight": 100, "duration": "5m"}],
        } | self.of.rollout
        file = self.folder / "rollout.yaml"
        file.write_text(yaml.safe_dump(content))
        return load_rollout(file)

    def refusals(self, rollout: Rollout) -> list[str]:
        """What preflight says about the routes."""
        found = {state.service: state for state in self.routes.read(rollout.services)}
        [service] = rollout.services
        owner = preflight.route_owner(service.name, "shop", found.get(service.name))
        # There is no gateway on this server that could accept a route.
        owned = [owner.reason] if "manages it" in owner.reason else []
        return owned + [
            text for each in self.routes.faults(rollout.services) for text in each.found
        ]

    def render(self, rollout: Rollout) -> None:
        """As `canary deploy` renders and checks the chart."""
        root = self.folder / "chart"
        (root / "templates").mkdir(parents=True)
        (root / "Chart.yaml").write_text("apiVersion: v2\nname: shop\nversion: 1.0.1\n")
        image = self.release.manifest.images[0]
        name = f"{image.name}:{image.tag}@{image.digest}"
        (root / "values.yaml").write_text(f"image: {name}\n")
        (root / "templates" / "all.yaml").write_text(WORKLOAD + self.of.objects)
        release = self.release.model_copy(
            update={"rollout": rollout, "chart": str(root), "canary_values": {}}
        )
        helm = self.environment.helm.model_copy(update={"values": {}, "canary_values": {}})
        place = self.environment.model_copy(update={"helm": helm})
        charts = Helm("bare", self.cluster.namespace)
        check_render(context(World(), release, place, charts=charts))

    @property
    def kind(self) -> Kind:
        return {**KINDS, "VirtualService": VIRTUAL_SERVICE}[self.of.kind]

    def spec(self) -> dict[str, Any]:
        found = self.cluster.get(self.kind, "shop")
        assert found is not None
        return dict(found["spec"])


@pytest.fixture
def product(
    request: pytest.FixtureRequest,
    api: BareApi,
    defined: None,
    cluster: KubernetesApi,
    release: Release,
    environment: Environment,
    tmp_path: Path,
) -> Product:
    found = Product(request.param, cluster, (release, environment), tmp_path)
    if any(version in found.of.objects for version, _ in OPERATORS):
        request.getfixturevalue("operators")
    route = {
        "apiVersion": found.kind.api_version,
        "kind": found.of.kind,
        "metadata": {"name": "shop", **found.of.metadata},
        "spec": found.of.route,
    }
    for each in (*found.of.beside, route):
        where = ("--namespace", cluster.namespace, "--filename", "-")
        api.kubectl("create", *where, stdin=json.dumps(each))
    return found


def test_there_are_as_many_as_promised() -> None:
    assert len(ACCEPTED) >= 40
    assert len(REFUSED) >= 30
    assert all(each.message for each in REFUSED)
    assert len(FURTHER_ACCEPTED) + len(FURTHER_REFUSED) >= 25


def with_further(
    first: tuple[Configuration, ...], more: tuple[Configuration, ...]
) -> list[ParameterSet]:
    marked = [pytest.param(each, marks=pytest.mark.full) for each in more]
    return [*(pytest.param(each) for each in first), *marked]


@pytest.mark.parametrize(
    "product",
    with_further(ACCEPTED, FURTHER_ACCEPTED),
    ids=lambda each: each.name,
    indirect=True,
)
def test_accepted(product: Product) -> None:
    rollout = product.rollout()
    assert product.refusals(rollout) == []
    if product.of.objects:
        product.render(rollout)
    before = product.spec()
    service = {"metadata": {"name": "shop-canary"}, "spec": {"ports": [{"port": 1}]}}
    product.cluster.create(SERVICE, service)
    for weight in (0, 10):
        product.routes.shift(rollout.services, weight, {"weight": str(weight)})
        assert [state.weight for state in product.routes.read(rollout.services)] == [weight]
    assert product.spec() != before
    product.routes.retire(rollout.services, {"weight": "0"})
    assert product.spec() == before


@pytest.mark.parametrize(
    "product", with_further(REFUSED, FURTHER_REFUSED), ids=lambda each: each.name, indirect=True
)
def test_refused_before_anything_is_touched(product: Product, api: BareApi) -> None:
    before = product.cluster.get(product.kind, "shop")
    written = len(changes(api))
    said = refusal(product)
    assert product.of.message in said
    assert product.cluster.get(product.kind, "shop") == before
    assert changes(api)[written:] == []


def refusal(product: Product) -> str:
    """What refuses the configuration: its file, preflight, or the chart's check."""
    try:
        rollout = product.rollout()
        if refusals := product.refusals(rollout):
            return "; ".join(refusals)
        product.render(rollout)
    except UsageError as error:
        return f"{error.detail.found}; {error.detail.next}"
    pytest.fail("it was accepted")


def changes(api: BareApi) -> list[dict[str, Any]]:
    """The requests that changed something, without dry runs."""
    return [
        event
        for event in api.requests_of("admin")
        if event["verb"] in ("create", "update", "patch", "delete")
        and "dryRun" not in event["requestURI"]
        and event.get("objectRef", {}).get("resource")
        not in ("selfsubjectaccessreviews", "events", "leases", "apiservices")
    ]
