"""Every answer of an outside system, mutated: never a traceback, never a hang."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from answering import Answering
from fuzzing import MINUTES, bodies, damaged, long, short
from hypothesis import strategies as st

from tarsrelease.adapters.channels.channels import Channels
from tarsrelease.adapters.files.configuration import load_environment, load_release
from tarsrelease.adapters.github.api import GitHubReviews
from tarsrelease.adapters.http.gateway import GatewayWeb
from tarsrelease.adapters.http.number import read_number
from tarsrelease.adapters.kubernetes import client
from tarsrelease.adapters.kubernetes.client import KubernetesApi
from tarsrelease.adapters.kubernetes.facts import KubernetesFacts
from tarsrelease.adapters.kubernetes.journal import ConfigMapJournal
from tarsrelease.adapters.kubernetes.lock import LeaseLock
from tarsrelease.adapters.kubernetes.routes import GatewayRoutes
from tarsrelease.adapters.kubernetes.workloads import KubernetesWorkloads
from tarsrelease.adapters.podmetrics.source import PodMetrics
from tarsrelease.adapters.prometheus.samples import PrometheusMetrics
from tarsrelease.adapters.registry.manifests import HttpRegistry
from tarsrelease.model.checks import ExternalCheck, NumberSource
from tarsrelease.model.github import GitHub
from tarsrelease.model.metrics_server import Prometheus
from tarsrelease.model.notice import Message
from tarsrelease.model.notifications import Notifications
from tarsrelease.model.release import Run
from tarsrelease.model.rights import ROLE

ROOT = Path(__file__).parents[2]
SECONDS = 0.8
STATUSES = (200, 200, 200, 200, 201, 202, 204, 301, 400, 401, 403, 404, 409, 418, 422)
NOW = "2026-01-01T00:00:00Z"
METADATA = {
    "name": "tars-dashboard-api",
    "namespace": "tars",
    "generation": 2,
    "resourceVersion": "7",
    "labels": {"pod-template-hash": "abc", "app.kubernetes.io/version": "1.0.0"},
    "annotations": {"meta.helm.sh/release-name": "tars", "tarsrelease/weight": "10"},
    "managedFields": [{"manager": "helm", "operation": "Apply", "time": NOW, "fieldsV1": {}}],
    "ownerReferences": [{"kind": "ReplicaSet", "name": "tars-dashboard-api-abc"}],
}
CONTAINER = {"name": "c", "image": "ghcr.io/a/b:1.0.0@sha256:" + "a" * 64}
DEPLOYMENT = {
    "metadata": METADATA,
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": METADATA, "spec": {"containers": [CONTAINER]}},
    },
    "status": {
        "replicas": 3,
        "readyReplicas": 3,
        "updatedReplicas": 3,
        "availableReplicas": 3,
        "observedGeneration": 2,
        "conditions": [{"type": "ReplicaFailure", "status": "True", "message": "quota"}],
    },
}
POD = {
    "metadata": METADATA,
    "spec": {"containers": [{**CONTAINER, "ports": [{"name": "http", "containerPort": 8080}]}]},
    "status": {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "startTime": NOW,
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [
            {
                "name": "c",
                "ready": True,
                "restartCount": 1,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"reason": "Error", "exitCode": 1}},
            }
        ],
    },
}
SERVICE_AND_SLICE = {
    "metadata": {**METADATA, "labels": {"kubernetes.io/service-name": METADATA["name"]}},
    "spec": {"selector": {"app": "tars"}},
    "endpoints": [
        {
            "addresses": ["10.0.0.1"],
            "conditions": {"ready": True},
            "targetRef": {"kind": "Pod", "name": "tars-1"},
        }
    ],
}
AUTOSCALER = {
    "metadata": METADATA,
    "spec": {
        "scaleTargetRef": {"kind": "Deployment", "name": "tars"},
        "minReplicas": 2,
        "maxReplicas": 5,
    },
}
ROUTE = {
    "metadata": METADATA,
    "spec": {
        "parentRefs": [{"name": "tars-gateway", "namespace": "tars-gateway", "sectionName": "web"}],
        "hostnames": ["tars.ai"],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [
                    {"name": "tars-dashboard-api", "port": 80, "weight": 90},
                    {"name": "tars-canary-dashboard-api", "port": 80, "weight": 10},
                ],
            }
        ],
    },
    "status": {
        "parents": [
            {
                "parentRef": {"name": "tars-gateway"},
                "controllerName": "traefik.io/gateway-controller",
                "conditions": [
                    {
                        "type": "Accepted",
                        "status": "True",
                        "observedGeneration": 2,
                        "reason": "Accepted",
                        "message": "",
                    },
                    {"type": "ResolvedRefs", "status": "True", "observedGeneration": 2},
                ],
            }
        ]
    },
}
NODE = {
    "metadata": METADATA,
    "spec": {"unschedulable": False},
    "status": {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Active"},
}
LEASE = {
    "metadata": {**METADATA, "annotations": {"tarsrelease/owner": "me"}},
    "spec": {
        "holderIdentity": "r1",
        "renewTime": "2999-01-01T00:00:00.000000Z",
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "leaseDurationSeconds": 30,
    },
}
LINE = (
    '{"at":"2026-01-01T00:00:00Z","run":"r","release":"1.0.1","step":"s","action":"deploy",'
    '"phase":"intent","facts":{"version":"1.0.0","revision":1}}\n'
)
CONFIG_MAP = {"metadata": METADATA, "data": {"journal.jsonl": LINE}}
REVIEW = {"status": {"allowed": True}}
MATRIX = {
    "status": "success",
    "data": {
        "resultType": "matrix",
        "result": [{"metric": {"__name__": "up", "pod": "a"}, "values": [[1735689600, "1"]]}],
    },
}
VECTOR = {"status": "success", "data": {"resultType": "scalar", "result": [1735689600, "1"]}}
INDEX = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.index.v1+json",
    "manifests": [
        {
            "digest": "sha256:" + "a" * 64,
            "size": 7,
            "platform": {"os": "linux", "architecture": "amd64"},
        }
    ],
}
ENVIRONMENT = {
    "name": "production",
    "can_admins_bypass": False,
    "deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True},
    "branch_policies": [{"name": "release/**", "type": "branch"}],
    "protection_rules": [
        {
            "type": "required_reviewers",
            "prevent_self_review": True,
            "reviewers": [{"type": "User", "reviewer": {"login": "alice"}}],
        }
    ],
}
APPROVALS = [
    {
        "user": {"login": "alice"},
        "state": "approved",
        "environments": [{"name": "a"}],
        "comment": "yes",
    }
]
BRANCH = [{"type": "pull_request", "parameters": {"required_approving_review_count": 1}}]


class Systems:
    """The adapters, with the server in place of every outside system."""

    def __init__(self, folder: Path) -> None:
        self.server = Answering()
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                    "clusters": [{"name": "c", "cluster": {"server": self.server.url}}],
                    "users": [{"name": "u", "user": {"token": "t"}}],
                }
            )
        )
        os.environ["KUBECONFIG"] = str(kubeconfig)
        os.environ["GITHUB_TOKEN"] = "t"
        os.environ["HOOK"] = self.server.url
        os.environ["KEY"] = "0" * 32
        self.environment = load_environment(str(ROOT / "environments" / "rehearsal.yaml"))
        self.release = load_release(ROOT / "release" / "v1_0_1", self.environment)
        rollout = self.release.rollout
        self.services = rollout.services
        api = KubernetesApi.connect(None, "tars")
        self.workloads = KubernetesWorkloads(api, rollout)
        self.routes = GatewayRoutes(api, self.environment.gateway)
        self.journal = ConfigMapJournal(api, "tars")
        self.lock = LeaseLock(api, "tars", Run(id="r2", owner="me"))
        self.facts = KubernetesFacts(api)
        self.api = api
        self.pods = PodMetrics(api, rollout, None)
        self.prometheus = PrometheusMetrics(Prometheus(url=self.server.url, timeout=SECONDS))
        self.github = GitHubReviews(GitHub(repository="a/b", api=self.server.url))
        self.gateway = GatewayWeb(self.server.url, SECONDS)
        self.channels = Channels(
            Notifications.model_validate(
                {
                    "slack": {"webhook_env": "HOOK"},
                    "pagerduty": {"routing_key_env": "KEY", "url": self.server.url},
                    "statuspage": {"page": "p", "token_env": "KEY", "url": self.server.url},
                    "webhooks": [{"name": "hook", "url_env": "HOOK"}],
                }
            ),
            deadline=SECONDS,
        )

    def pod_pages(self) -> object:
        """The list of pods is as it should be; their pages are not."""
        name = self.services[0].stable.deployment
        metadata = {
            **METADATA,
            "name": f"{name}-abc-1",
            "annotations": {"prometheus.io/port": "8080"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"{name}-abc"}],
        }
        pods = json.dumps(listed({**POD, "metadata": metadata})).encode()
        self.server.fixed = {"/namespaces/tars/pods": pods}
        try:
            # A new one each time: it keeps what it has read.
            return PodMetrics(self.api, self.release.rollout, None).series([SELECTOR], 30)
        finally:
            self.server.fixed = {}

    def registry(self) -> object:
        # A new one each time: it remembers which registries are silent.
        return HttpRegistry(variables={}, timeout=SECONDS).manifest(
            f"127.0.0.1:{self.server.port}/a/b", "1"
        )

    def number(self, pointer: str | None) -> float:
        source = NumberSource(url=self.server.url, pointer=pointer)
        rule = ExternalCheck(kind="external", id="a.n", source=source, at_most=1, timeout=SECONDS)
        return read_number(rule)


Case = tuple[Callable[[Systems], object], st.SearchStrategy[bytes]]


def listed(found: Any) -> Any:
    return {"kind": "List", "apiVersion": "v1", "items": [found]}


SELECTOR = 'http_requests_total{code="200"}'
PAGE = (
    b"# HELP http_requests_total Requests\n# TYPE http_requests_total counter\n"
    b'http_requests_total{code="200",path="/a\\"b"} 1027 1395066363000\n'
    b'http_requests_total{code="500"} 3 # {trace_id="x"} 1\n'
)
INCIDENTS = [{"id": "1", "status": "scheduled", "metadata": {"tarsrelease": {"key": "k"}}}]
INCIDENT = {"name": "n", "status": "scheduled", "metadata": {"tarsrelease": {"key": "k"}}}
CASES: dict[str, Case] = {
    "deployments": (lambda s: s.workloads.deployments(), bodies(listed(DEPLOYMENT))),
    "pods": (lambda s: s.workloads.pods(), bodies(listed(POD))),
    "pods behind": (lambda s: s.workloads.pods_behind(), bodies(listed(SERVICE_AND_SLICE))),
    "autoscalers": (lambda s: s.workloads.autoscalers(), bodies(listed(AUTOSCALER))),
    "leftovers": (lambda s: s.workloads.remove_leftovers("tars"), bodies(listed(DEPLOYMENT))),
    "scale": (lambda s: s.workloads.scale("tars", 3), bodies(DEPLOYMENT)),
    "routes": (lambda s: s.routes.read(s.services), bodies(ROUTE)),
    "shift": (lambda s: s.routes.shift(s.services, 10, {}), bodies(ROUTE)),
    "retire": (lambda s: s.routes.retire(s.services, {}), bodies(ROUTE)),
    "journal": (lambda s: s.journal.entries(), bodies(CONFIG_MAP)),
    "journal lines": (
        lambda s: s.journal.entries(),
        damaged(LINE.encode() * 3).map(
            lambda text: json.dumps(
                {"metadata": METADATA, "data": {"journal.jsonl": text.decode("latin-1")}}
            ).encode()
        ),
    ),
    "lock holder": (lambda s: s.lock.holder(), bodies(LEASE)),
    "lock check": (lambda s: s.lock.check(), bodies(LEASE)),
    "nodes": (lambda s: s.facts.nodes(), bodies(listed(NODE))),
    "namespace": (lambda s: s.facts.namespace(), bodies(NODE)),
    "rights": (lambda s: s.facts.lacking(ROLE[:2]), bodies(REVIEW)),
    "openapi": (lambda s: s.api.openapi(), bodies({"definitions": {}})),
    "pod metrics": (lambda s: s.pods.series([SELECTOR], 30), bodies(listed(POD))),
    "pods' pages": (Systems.pod_pages, damaged(PAGE) | st.binary(max_size=300)),
    "statuspage": (
        lambda s: s.channels.deliver(
            Message(receiver="statuspage", path="", body={"incident": INCIDENT})
        ),
        bodies(INCIDENTS),
    ),
    "webhook": (
        lambda s: s.channels.deliver(Message(receiver="webhook hook", path="", body={})),
        bodies({"ok": True}),
    ),
    "prometheus": (lambda s: s.prometheus.series(["up"], 5), bodies(MATRIX)),
    "prometheus, recorded": (lambda s: s.prometheus.recorded(["up"], 0, 60, 15), bodies(MATRIX)),
    "prometheus, time": (lambda s: s.prometheus.server_time(), bodies(VECTOR)),
    "registry": (Systems.registry, bodies(INDEX)),
    "github, environment": (lambda s: s.github.rules("production"), bodies(ENVIRONMENT)),
    "github, repository": (lambda s: s.github.private(), bodies({"private": True})),
    "github, approvals": (lambda s: s.github.approvals("7"), bodies(APPROVALS)),
    "github, branch": (lambda s: s.github.branch_rules("release/x"), bodies(BRANCH)),
    "gateway": (lambda s: s.gateway.get("tars.ai", "/", {}), bodies({"version": "1.0.1"})),
    "external number": (lambda s: s.number(None), bodies(0.5)),
    "external number in JSON": (lambda s: s.number("/a/0/b"), bodies({"a": [{"b": 0.5}]})),
    "slack": (
        lambda s: s.channels.deliver(Message(receiver="slack", path="", body={})),
        bodies({"ok": True}),
    ),
    "pagerduty": (
        lambda s: s.channels.deliver(
            Message(receiver="pagerduty", path="/v2/enqueue", body={"routing_key": "x"})
        ),
        bodies({"status": "success", "message": "Event processed", "dedup_key": "a"}),
    ),
}
HEADERS = st.dictionaries(
    st.sampled_from(
        ["Content-Type", "WWW-Authenticate", "Location", "Retry-After", "Docker-Content-Digest"]
    ),
    st.sampled_from(
        [
            *("application/json", "text/html", "", "0", "99999999999999999999", "-1", "nan"),
            'Bearer realm="http://127.0.0.1:1/token"',
            *('Bearer realm="[::1', "Basic", "http://[", "/again", "Wed, 99 Foo 2026"),
            "application/vnd.oci.image.index.v1+json",
        ]
    ),
    max_size=2,
)


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systems]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "_PAUSES", ())
        patch.setattr(client, "_LONGEST", SECONDS)
        before = dict(os.environ)
        yield Systems(tmp_path_factory.mktemp("fuzz"))
        os.environ.clear()
        os.environ.update(before)


def target(systems: Systems, ask: Callable[[Systems], object]) -> Callable[[Any], object]:
    def answered(drawn: tuple[int, dict[str, str], bytes]) -> object:
        systems.server.status, systems.server.headers, systems.server.body = drawn
        if drawn[0] == 204:
            systems.server.body = b""
        return ask(systems)

    return answered


def drawn(values: st.SearchStrategy[bytes]) -> st.SearchStrategy[Any]:
    return st.tuples(st.sampled_from(STATUSES), st.just({}) | HEADERS, values)


@pytest.mark.parametrize("name", CASES)
def test_an_answer_of_any_shape_is_a_result_or_an_error(systems: Systems, name: str) -> None:
    ask, values = CASES[name]
    short(target(systems, ask), drawn(values))


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", CASES)
def test_new_answers_for_minutes(systems: Systems, name: str) -> None:
    ask, values = CASES[name]
    share = MINUTES * 60 * 0.5 / len(CASES)
    assert long(target(systems, ask), drawn(values), share) > 0


def test_the_valid_answers_are_read(systems: Systems) -> None:
    """What is mutated is right to begin with: otherwise every mutation would end at the start."""
    server = systems.server
    server.status, server.headers = 200, {}

    def answered(document: Any) -> None:
        server.body = json.dumps(document).encode()

    answered(listed(DEPLOYMENT))
    assert systems.workloads.deployments()[0].complete
    answered(listed(POD))
    assert systems.workloads.pods()[0].containers[0].waiting == "CrashLoopBackOff"
    server.body = PAGE
    assert systems.pod_pages() != [[]]
    answered(listed(SERVICE_AND_SLICE))
    assert systems.workloads.pods_behind() == {METADATA["name"]: {"tars-1"}}
    answered(listed(AUTOSCALER))
    assert systems.workloads.autoscalers()
    answered(ROUTE)
    assert systems.routes.read(systems.services)
    answered(CONFIG_MAP)
    assert systems.journal.entries()
    answered(LEASE)
    assert systems.lock.holder()
    answered(listed(NODE))
    assert systems.facts.nodes()[0].ready
    answered(REVIEW)
    assert systems.facts.lacking(ROLE[:2]) == []
    answered(MATRIX)
    assert systems.prometheus.series(["up"], 5)[0][0].samples
    answered(ENVIRONMENT)
    rules = systems.github.rules("production")
    assert rules is not None
    assert (rules.reviewers, rules.branches) == (("alice",), ("release/**",))
    answered(APPROVALS)
    assert systems.github.approvals("7")
    answered({"a": [{"b": 0.5}]})
    assert systems.number("/a/0/b") == 0.5
