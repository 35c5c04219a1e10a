"""`route adopt` and `route return` with the real Helm, and with Argo CD's and Flux's settings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bare_api import BareApi

sys.path.insert(0, str(Path(__file__).parents[2] / "simulation"))

from world import World, context

from tarsrelease.adapters.helm.releases import Helm
from tarsrelease.adapters.kubernetes.client import (
    CONFIG_MAP,
    HTTP_ROUTE,
    SERVICE,
    Kind,
    KubernetesApi,
)
from tarsrelease.adapters.kubernetes.route_handover import RouteHandover
from tarsrelease.adapters.kubernetes.routes import GatewayRoutes
from tarsrelease.context import Context
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import RefusedError, StoppedError, UsageError
from tarsrelease.model.outcome import Outcome
from tarsrelease.model.release import Release
from tarsrelease.model.rollout import RouteRef, Service
from tarsrelease.rollout.route_owners import controller_of
from tarsrelease.steps.route_adopt import adopt
from tarsrelease.steps.route_return import give_back

ROLE = Path(__file__).parents[3] / "rbac" / "role.yaml"
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, labels: {team: web}}
spec:
  hostnames: [shop.example]
  rules: [{backendRefs: [{name: shop, port: 80}]}]
"""
SWITCHED = f"{{{{- if .Values.httpRoute.enabled }}}}{ROUTE}{{{{- end }}}}"
CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: shop-config}
data: {version: {{ .Chart.Version | quote }}}
"""
APPLICATION = Kind("argoproj.io", "v1alpha1", "Application", "applications")
SHOP = Service.model_validate(
    {
        "name": "shop",
        "port": 80,
        "stable": {"deployment": "shop", "service": "shop"},
        "canary": {"deployment": "shop-canary", "service": "shop-canary"},
        "routes": [RouteRef(name="shop").model_dump()],
        "hosts": ["web"],
        "paths": ["/"],
        "smoke": [{"path": "/"}],
    }
)


def chart(folder: Path, version: str, route: str = SWITCHED) -> str:
    root = folder / f"shop-{version}"
    (root / "templates").mkdir(parents=True)
    (root / "Chart.yaml").write_text(f"apiVersion: v2\nname: shop\nversion: {version}\n")
    (root / "values.yaml").write_text("httpRoute: {enabled: false}\nother: {enabled: true}\n")
    (root / "templates" / "config.yaml").write_text(CONFIG)
    (root / "templates" / "route.yaml").write_text(route)
    return str(root)


class Shop:
    """The product in one namespace, its owner's tools, and tarsrelease's commands."""

    def __init__(self, api: BareApi, cluster: KubernetesApi, context: Context) -> None:
        self.api, self.cluster, self.context = api, cluster, context
        self.routes = GatewayRoutes(cluster, context.environment.gateway)
        self.handover = RouteHandover(cluster, self._elsewhere)
        self.helm = Helm("bare", cluster.namespace)

    def _elsewhere(self, _namespace: str) -> KubernetesApi:
        # Each test has its own namespace instead of argocd.
        return self.cluster

    def adopt(self, *, plan: bool = False) -> Outcome:
        return adopt(self.context, self.handover, self.helm, plan_only=plan)

    def give_back(self, *, plan: bool = False) -> Outcome:
        return give_back(self.context, self.handover, plan_only=plan)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.api.kubectl("--namespace", self.cluster.namespace, *arguments, stdin=stdin)

    def run_helm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Helm as a person runs it: without the options that tarsrelease gives."""
        return subprocess.run(
            [*self.api.programs["helm"], *arguments, "--namespace", self.cluster.namespace],
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def route(self) -> dict[str, Any]:
        found = self.cluster.get(HTTP_ROUTE, "shop")
        assert found is not None
        return found

    @property
    def weights(self) -> dict[str, int]:
        refs = self.route["spec"]["rules"][0]["backendRefs"]
        return {ref["name"]: ref["weight"] for ref in refs}

    def shift(self, weight: int) -> None:
        self.routes.shift([SHOP], weight, {"stage": "s", "weight": str(weight), "release": "2"})

    def owned(self) -> dict[str, Any]:
        """The route without what the server and tarsrelease's earlier writes leave in it."""
        metadata = self.route["metadata"]
        return {
            "labels": metadata.get("labels"),
            "annotations": metadata.get("annotations"),
            "spec": self.route["spec"],
            "managers": sorted({entry["manager"] for entry in metadata["managedFields"]}),
        }


@pytest.fixture
def shop(
    api: BareApi, cluster: KubernetesApi, release: Release, environment: Environment, tmp_path: Path
) -> Shop:
    for name in ("shop", "shop-canary"):
        cluster.create(SERVICE, {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}})
    rollout = release.rollout.model_copy(update={"application": "shop", "services": (SHOP,)})
    chosen = release.model_copy(update={"rollout": rollout, "chart": chart(tmp_path, "2.0.0")})
    place = environment.model_copy(
        update={"helm": environment.helm.model_copy(update={"values": {}, "canary_values": {}})}
    )
    helm = Helm("bare", cluster.namespace)
    return Shop(api, cluster, context(World(), chosen, place, charts=helm))


def install(shop: Shop, path: str) -> None:
    done = shop.run_helm("install", "shop", path, "--set", "httpRoute.enabled=true")
    assert done.returncode == 0, done.stderr


def test_a_route_of_helm_is_adopted_survives_helm_and_is_returned(
    shop: Shop, tmp_path: Path
) -> None:
    first, second = chart(tmp_path, "1.0.0"), chart(tmp_path, "1.1.0")
    install(shop, first)
    before = shop.owned()
    with pytest.raises(UsageError, match="Helm manages it") as refused:
        shop.shift(10)
    assert "tarsrelease route adopt" in refused.value.detail.next

    planned = shop.adopt(plan=True)
    assert [line for line in planned.details.plan if "httpRoute.enabled: false" in line]
    assert shop.owned() == before
    done = shop.adopt()
    assert done.details.plan == planned.details.plan
    assert "adopted httproute/shop from the Helm release" in done.summary
    assert shop.adopt().details.plan == ()
    assert shop.route["spec"] == before["spec"]

    shop.shift(10)
    [state] = shop.routes.read([SHOP])
    assert state.adopted
    assert shop.weights == {"shop": 90, "shop-canary": 10}
    # Upgrade and rollback, by tarsrelease (which forces conflicts) and by a person.
    shop.helm.upgrade("shop", second, [], values_from="shop", deadline=30, wait=False)
    assert shop.weights == {"shop": 90, "shop-canary": 10}
    revisions = [each.number for each in shop.helm.history("shop")]
    assert revisions == [1, 2, 3]
    shop.helm.rollback("shop", 2, deadline=30, wait=False)
    assert shop.weights == {"shop": 90, "shop-canary": 10}
    by_person = shop.run_helm("upgrade", "shop", second, "--reuse-values")
    assert by_person.returncode == 0, by_person.stderr
    # What renders the route again ends with an error and leaves the weights alone.
    for wrong in (
        ("upgrade", "shop", second, "--set", "httpRoute.enabled=true", "--force-conflicts"),
        ("rollback", "shop", "1"),
    ):
        failed = shop.run_helm(*wrong)
        assert failed.returncode != 0
        assert "shop" in failed.stderr
    assert shop.weights == {"shop": 90, "shop-canary": 10}

    with pytest.raises(RefusedError, match="leads to a canary"):
        shop.give_back()
    shop.routes.retire([SHOP], {"stage": "done", "weight": "0"})
    assert shop.route["spec"] == before["spec"]


def test_a_route_that_is_returned_belongs_to_helm_as_before(shop: Shop, tmp_path: Path) -> None:
    install(shop, chart(tmp_path, "1.0.0"))
    before = shop.owned()
    shop.adopt()
    shop.shift(10)
    shop.routes.retire([SHOP], {"stage": "done", "weight": "0"})
    planned = shop.give_back(plan=True)
    assert any("record a new revision with httproute/shop" in line for line in planned.details.plan)
    done = shop.give_back()
    assert done.details.plan == planned.details.plan
    after = shop.owned()
    assert (after["labels"], after["annotations"]) == (before["labels"], before["annotations"])
    assert after["spec"] == before["spec"]
    assert shop.give_back().summary.startswith("no route was adopted")
    [state] = shop.routes.read([SHOP])
    assert not state.adopted
    assert controller_of(state.managers) is not None
    # Helm applies it again without forcing anything, and deletes it with the release.
    other = chart(tmp_path, "1.2.0", SWITCHED.replace("shop.example", "new.example"))
    upgraded = shop.run_helm("upgrade", "shop", other, "--reuse-values")
    assert upgraded.returncode == 0, upgraded.stderr
    assert shop.route["spec"]["hostnames"] == ["new.example"]
    assert shop.helm.values("shop") == {"httpRoute": {"enabled": True}, "other": {"enabled": True}}
    shop.helm.uninstall("shop", deadline=30)
    assert shop.cluster.get(HTTP_ROUTE, "shop") is None


def test_the_shipped_role_is_enough(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(shop, chart(tmp_path, "1.0.0"))
    shop.kubectl("apply", "--filename", str(ROLE))
    token = shop.kubectl("create", "token", "tarsrelease").strip()
    monkeypatch.setenv("KUBECONFIG", str(shop.api.kubeconfig(token)))
    shop.cluster = KubernetesApi.connect("bare", shop.cluster.namespace)
    shop.handover = RouteHandover(shop.cluster, lambda _: shop.cluster)
    shop.adopt()
    shop.give_back()
    assert [each.status for each in shop.helm.history("shop")] == [
        *("superseded", "superseded", "deployed")
    ]


def test_an_adopted_route_outlives_its_helm_release(shop: Shop, tmp_path: Path) -> None:
    install(shop, chart(tmp_path, "1.0.0"))
    shop.adopt()
    shop.helm.uninstall("shop", deadline=30)
    assert shop.cluster.get(CONFIG_MAP, "shop-config") is None
    assert shop.weights == {"shop": 1}


def test_an_adoption_that_was_interrupted_is_completed(shop: Shop, tmp_path: Path) -> None:
    install(shop, chart(tmp_path, "1.0.0"))
    before = shop.owned()
    [owned] = shop.handover.routes([SHOP])
    real = shop.cluster.create
    shop.cluster.create = _refuse  # type: ignore[method-assign]
    with pytest.raises(StoppedError, match="the connection broke") as stopped:
        shop.adopt()
    assert "route adopt` again" in stopped.value.detail.next
    shop.cluster.create = real  # type: ignore[method-assign]
    assert shop.route["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    shop.adopt()
    [again] = shop.handover.routes([SHOP])
    assert (owned.released, again.released) == (False, True)
    shop.give_back()
    assert shop.owned()["annotations"] == before["annotations"]


def _refuse(*_: Any) -> Any:
    raise UsageError(doing="writing", found="the connection broke", expected="-", next_step="-")


def test_a_chart_that_always_renders_the_route_is_refused_with_the_line_to_change(
    shop: Shop, tmp_path: Path
) -> None:
    always = chart(tmp_path, "1.0.0", ROUTE)
    install(shop, always)
    before = shop.route["metadata"]["resourceVersion"]
    shop.context = shop.context.with_release(
        shop.context.release.model_copy(update={"chart": always})
    )
    with pytest.raises(UsageError, match="always renders it") as refused:
        shop.adopt()
    assert "wrap the route's template in {{- if" in refused.value.detail.next
    assert shop.route["metadata"]["resourceVersion"] == before


def test_flux_leaves_an_adopted_route_alone_until_it_is_returned(shop: Shop) -> None:
    labels = {
        "kustomize.toolkit.fluxcd.io/name": "apps",
        "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
    }

    def reconcile() -> None:
        """As kustomize-controller: a forced apply, of what is not disabled in the cluster."""
        found = shop.cluster.get(HTTP_ROUTE, "shop")
        notes = (found or {}).get("metadata", {}).get("annotations") or {}
        if notes.get("kustomize.toolkit.fluxcd.io/reconcile") == "disabled":
            return
        _apply(shop, "kustomize-controller", {"labels": labels})

    reconcile()
    before = shop.owned()
    with pytest.raises(UsageError, match="Flux manages it"):
        shop.shift(10)
    assert "kustomize.toolkit.fluxcd.io/reconcile: disabled" in str(shop.adopt(plan=True).details)
    assert shop.owned() == before
    shop.adopt()
    shop.shift(10)
    reconcile()
    assert shop.weights == {"shop": 90, "shop-canary": 10}
    shop.routes.retire([SHOP], {"stage": "done", "weight": "0"})
    shop.give_back()
    reconcile()
    assert shop.owned() == before


def test_a_route_that_flux_was_told_to_leave_is_accepted(shop: Shop) -> None:
    labels = {"kustomize.toolkit.fluxcd.io/name": "apps"}
    _apply(shop, "kustomize-controller", {"labels": labels})
    note = "kustomize.toolkit.fluxcd.io/reconcile=disabled"
    shop.kubectl("annotate", "httproute", "shop", note)
    [state] = shop.routes.read([SHOP])
    assert state.adopted
    shop.shift(10)
    assert shop.weights == {"shop": 90, "shop-canary": 10}


def test_a_flux_helmrelease_is_refused_with_the_lines_to_change(shop: Shop, tmp_path: Path) -> None:
    install(shop, chart(tmp_path, "1.0.0"))
    labels = {"helm.toolkit.fluxcd.io/name": "shop", "helm.toolkit.fluxcd.io/namespace": "x"}
    shop.cluster.merge(HTTP_ROUTE, "shop", {"metadata": {"labels": labels}})
    before = shop.owned()
    with pytest.raises(UsageError, match="Flux's HelmRelease x/shop writes it") as refused:
        shop.adopt()
    assert "helm.sh/resource-policy=keep" in refused.value.detail.next
    assert "httpRoute.enabled: false in spec.values of the HelmRelease" in refused.value.detail.next
    assert shop.owned() == before
    # Followed: the annotation, and the value, which helm-controller upgrades with.
    shop.kubectl("annotate", "httproute", "shop", "helm.sh/resource-policy=keep")
    path = shop.context.release.chart
    done = shop.run_helm("upgrade", "shop", path, "--set", "httpRoute.enabled=false")
    assert done.returncode == 0, done.stderr
    shop.adopt()
    shop.shift(10)
    assert shop.weights == {"shop": 90, "shop-canary": 10}


@pytest.fixture
def applications(shop: Shop) -> None:
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "applications.argoproj.io"},
        "spec": {
            "group": "argoproj.io",
            "scope": "Namespaced",
            "names": {"kind": "Application", "plural": "applications"},
            "versions": [
                {
                    "name": "v1alpha1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": True,
                        }
                    },
                }
            ],
        },
    }
    shop.kubectl("apply", "--filename", "-", stdin=json.dumps(definition))
    name = definition["metadata"]["name"]  # type: ignore[index]
    shop.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{name}")


def application(shop: Shop, **metadata: Any) -> None:
    spec = {"destination": {"namespace": shop.cluster.namespace}, "syncPolicy": {"automated": {}}}
    shop.cluster.create(APPLICATION, {"metadata": {"name": "shop", **metadata}, "spec": spec})


def tracked(shop: Shop) -> dict[str, Any]:
    route = f"gateway.networking.k8s.io/HTTPRoute:{shop.cluster.namespace}/shop"
    return {"annotations": {"argocd.argoproj.io/tracking-id": f"shop:{route}"}}


def sync(shop: Shop) -> None:
    """As Argo CD with server-side apply: it applies the live values of ignored fields."""
    found = shop.cluster.get(APPLICATION, "shop")
    assert found is not None
    options = found["spec"]["syncPolicy"].get("syncOptions") or []
    pointers = [
        pointer
        for entry in found["spec"].get("ignoreDifferences") or []
        if (entry["kind"], entry.get("name")) == ("HTTPRoute", "shop")
        for pointer in entry["jsonPointers"]
    ]
    live = shop.cluster.get(HTTP_ROUTE, "shop")
    ignored = "RespectIgnoreDifferences=true" in options and "/spec/rules" in pointers
    rules = live["spec"]["rules"] if live is not None and ignored else None
    _apply(shop, "argocd-controller", tracked(shop), rules)


def test_argo_cd_keeps_the_weights_of_an_adopted_route(shop: Shop, applications: None) -> None:
    application(shop)
    sync(shop)
    before, argo = shop.owned(), shop.cluster.get(APPLICATION, "shop")
    with pytest.raises(UsageError, match="Argo CD manages it"):
        shop.shift(10)
    assert "RespectIgnoreDifferences=true" in str(shop.adopt(plan=True).details)
    assert shop.owned() == before
    shop.adopt()
    for weight in (10, 50):
        shop.shift(weight)
        sync(shop)
        assert shop.weights == {"shop": 100 - weight, "shop-canary": weight}
    shop.routes.retire([SHOP], {"stage": "done", "weight": "0"})
    shop.give_back()
    sync(shop)
    assert shop.owned() == before
    after = shop.cluster.get(APPLICATION, "shop")
    assert argo is not None
    assert after is not None
    assert after["spec"]["syncPolicy"] == argo["spec"]["syncPolicy"]
    assert "ignoreDifferences" not in after["spec"]


@pytest.mark.parametrize(
    "metadata",
    [
        {
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "ApplicationSet", "name": "a", "uid": "1"}
            ]
        },
        {"annotations": {"argocd.argoproj.io/tracking-id": "root:argoproj.io/Application:a/shop"}},
    ],
)
def test_an_application_that_git_writes_is_refused_with_the_lines_to_add(
    shop: Shop, applications: None, metadata: dict[str, Any]
) -> None:
    application(shop, **metadata)
    sync(shop)
    before = shop.owned()
    with pytest.raises(UsageError, match="writes the Application") as refused:
        shop.adopt()
    assert "jsonPointers: [/spec/rules]" in refused.value.detail.next
    assert shop.owned() == before
    # Followed, by whatever writes the Application.
    entry = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "shop"}
    entry |= {"jsonPointers": ["/spec/rules"]}  # type: ignore[dict-item]
    policy = {"syncOptions": ["RespectIgnoreDifferences=true"]}
    change = {"spec": {"ignoreDifferences": [entry], "syncPolicy": policy}}
    shop.cluster.merge(APPLICATION, "shop", change)
    assert "adopted httproute/shop" in shop.adopt().summary
    shop.shift(10)
    sync(shop)
    assert shop.weights == {"shop": 90, "shop-canary": 10}


def test_an_application_that_cannot_be_read_is_refused_with_the_lines_to_add(
    shop: Shop, applications: None
) -> None:
    _apply(shop, "argocd-controller", tracked(shop))
    with pytest.raises(UsageError, match="cannot be read") as refused:
        shop.adopt()
    note = "tarsrelease.dev/adopted-from=argocd/argocd/shop"
    assert note in refused.value.detail.next
    shop.kubectl("annotate", "httproute", "shop", note)
    assert "adopted already" in shop.adopt().summary
    shop.shift(10)
    assert shop.weights == {"shop": 90, "shop-canary": 10}


def _apply(
    shop: Shop, manager: str, metadata: dict[str, Any], rules: list[Any] | None = None
) -> None:
    body = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "shop", **metadata},
        "spec": {
            "hostnames": ["shop.example"],
            "rules": rules or [{"backendRefs": [{"name": "shop", "port": 80}]}],
        },
    }
    shop.kubectl(
        *("apply", "--server-side", "--force-conflicts", f"--field-manager={manager}"),
        *("--filename", "-"),
        stdin=json.dumps(body),
    )
