"""Look at a chart, a cluster and a metrics page for `init`, and write its files."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from tarsrelease.adapters.child_environment import minimal
from tarsrelease.adapters.files.yaml_source import read_values
from tarsrelease.adapters.git.commits import remote_and_commit
from tarsrelease.adapters.helm.releases import Helm, laid_over
from tarsrelease.adapters.http.client import Client
from tarsrelease.adapters.podmetrics.exposition import any_lines
from tarsrelease.bundle.image_places import chart_defaults
from tarsrelease.model.errors import ReleaseError, UsageError
from tarsrelease.scaffold import files as texts
from tarsrelease.scaffold.objects import Product, look
from tarsrelease.scaffold.requests import Lines

Say = Callable[[str], None]
WORKFLOWS = (
    "production_deploy_pipeline.yaml",
    "production_rollback.yaml",
    "post_ga_monitoring.yaml",
)
SCRIPTS = ("approval", "lifted")
_OUR_REPOSITORY = "tars-ai/tarsrelease"
_SECONDS = 5.0
_LARGEST = 8 * 2**20


@dataclass(frozen=True, slots=True)
class ChartSeen:
    """A chart's folder as Helm reads it."""

    folder: Path
    name: str
    app_version: str
    defaults: Mapping[str, Any]
    values: tuple[Mapping[str, Any], ...]

    def product(self, application: str, namespace: str, version: str) -> Product:
        """See `scaffold.objects.look`. Raises UsageError if the chart does not render."""
        helm = Helm(None, namespace, minimal())

        def render(release: str, more: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
            return helm.render(release, str(self.folder), [*self.values, *more], values_from=None)

        whole = laid_over([self.defaults, *self.values])
        return look(
            application,
            render,
            whole,
            app_version=self.app_version,
            version=version,
            namespace=namespace,
        )


def read_chart(folder: Path, values_files: Sequence[Path]) -> ChartSeen:
    """The chart in `folder`. Raises UsageError for what is no chart."""
    metadata = folder / "Chart.yaml"
    if not metadata.is_file():
        raise UsageError(
            doing="looking at the chart",
            found=f"{metadata} does not exist",
            expected="the folder of a Helm chart's source",
            next_step="give --chart DIR",
        )
    content = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    found = read_values(str(metadata), content["Chart.yaml"])
    if isinstance(found, tuple):
        raise UsageError(
            doing="looking at the chart",
            found="; ".join(found),
            expected="a Chart.yaml",
            next_step="correct it",
        )
    layers = []
    for file in values_files:
        content_of = file.read_bytes() if file.is_file() else b""
        layer = read_values(str(file), content_of)
        if isinstance(layer, tuple):
            raise UsageError(
                doing="reading the values",
                found="; ".join(layer),
                expected="a file of Helm values",
                next_step="correct it",
            )
        layers.append(layer)
    return ChartSeen(
        folder,
        str(found.get("name")),
        str(found.get("appVersion") or ""),
        chart_defaults(content),
        tuple(layers),
    )


def metrics_page(where: str) -> Lines:
    """The lines of a metrics page at an address or in a file. Raises UsageError."""
    doing = f"reading the metrics of {where}"
    try:
        if where.startswith(("http://", "https://")):
            answer = Client(seconds=_SECONDS, largest=_LARGEST).get(where)
            found = any_lines(answer.content)
        else:
            found = any_lines(Path(where).read_bytes())
    except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as problem:
        raise UsageError(
            doing=doing,
            found=str(problem) or type(problem).__name__,
            expected="a metrics page in Prometheus' text format",
            next_step="give --metrics the address of a running instance, such as "
            "http://localhost:8080/metrics, or a file with its page",
        ) from problem
    return found


def path_of(metrics: str | None) -> str:
    """The path of a metrics page's address; the usual one of a file or of none."""
    if metrics is None or not metrics.startswith(("http://", "https://")):
        return "/metrics"
    return urlsplit(metrics).path or "/metrics"


@dataclass(frozen=True, slots=True)
class ClusterSeen:
    """What the cluster says: the Gateway's address and a page of metrics; None for what is not
    there or may not be read."""

    address: str | None = None
    page: Lines | None = None


def look_at_cluster(
    context: str | None, namespace: str, gateway: tuple[str, str], product: Product, say: Say
) -> ClusterSeen:
    """The cluster of the kubeconfig; every failure is said, and nothing is required."""
    from tarsrelease.adapters.kubernetes.client import POD, Kind, KubernetesApi
    from tarsrelease.adapters.kubernetes.workloads import deployment_of
    from tarsrelease.adapters.podmetrics.targets import target_of
    from tarsrelease.model.metrics_server import PodMetricsEndpoint

    address: str | None = None
    page: Lines | None = None
    try:
        api = KubernetesApi.connect(context, namespace)
        for pod in api.select(POD):
            owner = deployment_of(pod["metadata"])
            service = next((s for s in product.services if s.stable[0] == owner), None)
            if service is None or (pod.get("status") or {}).get("phase") != "Running":
                continue
            port = service.metrics_port
            endpoint = PodMetricsEndpoint(port=port) if port is not None else None
            target = target_of(pod, str(owner), endpoint)
            if target is not None:
                body = api.pod_page(
                    target.resource, target.path, time.monotonic() + _SECONDS, _LARGEST
                )
                page = any_lines(body)
                say(f"read the metrics of pod {target.pod}")
                break
    except (ReleaseError, ValueError) as problem:
        say(f"not seen in the cluster: {problem}")
    if gateway[1]:
        kind = Kind("gateway.networking.k8s.io", "v1", "Gateway", "gateways")
        try:
            found = KubernetesApi.connect(context, gateway[0]).get(kind, gateway[1])
            addresses = ((found or {}).get("status") or {}).get("addresses") or []
            if addresses:
                listeners = ((found or {}).get("spec") or {}).get("listeners") or []
                secure = any(each.get("protocol") == "HTTPS" for each in listeners)
                address = f"{'https' if secure else 'http'}://{addresses[0]['value']}"
                say(f"the Gateway {gateway[1]} has the address {addresses[0]['value']}")
        except ReleaseError as problem:
            say(f"the Gateway's address is not known: {problem.detail.found}")
    return ClusterSeen(address, page)


def github_repository(folder: Path) -> str | None:
    """OWNER/NAME of the remote `origin`, if it is on GitHub."""
    remote, _ = remote_and_commit(folder)
    found = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(\.git)?$", remote or "")
    return found[1] if found else None


def our_actions(root: Path) -> str:
    """``OWNER/NAME@COMMIT`` of the tarsrelease that runs."""
    _, commit = remote_and_commit(root)
    return f"{github_repository(root) or _OUR_REPOSITORY}@{commit or 'main'}"


def shipped(relative: str) -> str:
    """A file of tarsrelease's own checkout. Raises UsageError if it is not there."""
    path = root() / relative
    try:
        return path.read_text(encoding="utf-8")
    except OSError as problem:
        raise UsageError(
            doing="writing the files of a release",
            found=f"{path} is not there",
            expected="a checkout of tarsrelease",
            next_step="run init from a checkout, or set TARSRELEASE_SOURCE=/path/to/checkout",
        ) from problem


def root() -> Path:
    """The checkout that this package runs from; $TARSRELEASE_SOURCE names another."""
    named = os.environ.get("TARSRELEASE_SOURCE")
    return Path(named) if named else Path(__file__).resolve().parents[3]


def write(folder: Path, contents: Mapping[str, str], say: Say) -> tuple[list[str], list[str]]:
    """Write each file that does not exist. Returns the written ones and the kept ones."""
    written, kept = [], []
    for name, text in contents.items():
        path = folder / name
        if path.exists():
            kept.append(name)
            say(f"kept {name}")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if text.startswith("#!"):
            path.chmod(0o755)
        written.append(name)
    return written, kept


def all_files(facts: texts.Facts, product: Product, slis: Any) -> dict[str, str]:
    """Every file of the release, by its path."""
    release = texts.release_folder(facts.version)
    found = {
        f"{release}/bundle.yaml": texts.bundle_text(facts, product),
        f"{release}/rollout.yaml": texts.rollout_text(facts, product, slis),
        f"{release}/values-canary.yaml": texts.canary_values_text(product),
        f"environments/{facts.environment}.yaml": texts.environment_text(facts, product),
        "rbac/tarsrelease.yaml": texts.role_text(shipped("rbac/role.yaml"), facts, product),
    }
    if facts.repository is not None:
        from tarsrelease.model.environment import Environment
        from tarsrelease.report.github_script import github_script

        environment = Environment.model_validate(
            yaml.safe_load(found[f"environments/{facts.environment}.yaml"])
        )
        assert environment.github is not None  # noqa: S101
        found["scripts/github-environments"] = github_script(environment.github, facts.repository)
        for name in WORKFLOWS:
            found[f".github/workflows/{name}"] = texts.workflow_text(
                shipped(f".github/workflows/{name}"), facts
            )
        for name in SCRIPTS:
            found[f"scripts/{name}"] = shipped(f"scripts/{name}")
    return found
