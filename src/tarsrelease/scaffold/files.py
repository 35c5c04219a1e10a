"""The files of a first release, as texts. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tarsrelease.scaffold.objects import ImageSeen, Product, RouteSeen, ServiceSeen
from tarsrelease.scaffold.requests import Recognized


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen and answered.

    `hostnames` are real host names by their key in rollout.yaml, `gateway` namespace, name and
    listener ("" for any). `prometheus` is its address, None for the pods' own metrics.
    `repository` is OWNER/NAME on GitHub, None without a pipeline. `values_files` are relative to
    the environment file. `actions` is ``OWNER/NAME@COMMIT`` of tarsrelease. `metrics_path` is the
    path of the pods' metrics pages.
    """

    application: str
    version: str
    chart: str
    chart_name: str
    environment: str
    namespace: str
    gateway: tuple[str, str, str]
    address: str
    hostnames: Mapping[str, str]
    prometheus: str | None
    repository: str | None
    values_files: tuple[str, ...]
    actions: str
    metrics_path: str = "/metrics"


def release_folder(version: str) -> str:
    """The folder of the release's bundle."""
    return f"release/v{version.replace('.', '_')}"


def bundle_text(facts: Facts, product: Product) -> str:
    """bundle.yaml."""
    lines = [
        "schema: tarsrelease/bundle/v1",
        f"application: {facts.application}",
        f"version: {facts.version}",
        f"chart: {facts.chart} # the folder under --source",
    ]
    if facts.chart_name != facts.application:
        lines.append(f"chart_name: {facts.chart_name}")
    lines += [
        "canary_values: values-canary.yaml",
        "# `bundle build` asks the registry for each digest, or takes --digest IMAGE=sha256:…",
        "images:",
        *(f"  - {_flow(_image(image))}" for image in product.images),
    ]
    return "\n".join(lines) + "\n"


def _image(image: ImageSeen) -> dict[str, Any]:
    found: dict[str, Any] = {"service": image.service, "name": image.name, "tag": image.tag}
    if image.values is not None:
        found["values"] = image.values
    if not image.tag_is_version:
        found["tag_is_version"] = False
    return found


def canary_values_text(product: Product) -> str:
    """values-canary.yaml."""
    return (
        "# The canary is a second installation of the chart. tarsrelease scales it up before its\n"
        "# weight rises. What may exist only once is left out.\n"
        + (yaml.safe_dump(product.canary_values, sort_keys=False) or "{}\n")
    )


def rollout_text(facts: Facts, product: Product, slis: Recognized) -> str:
    """rollout.yaml: every stage has the checks of all stages."""
    errors = dict(slis.errors)
    lines = [
        "schema: tarsrelease/rollout/v1",
        f"application: {facts.application}",
        f"version: {facts.version}",
        f"chart: {facts.chart_name}-{facts.version}.tgz",
        "canary_values: values-canary.yaml",
        "services:",
    ]
    keys = {host: key for key, host in facts.hostnames.items()}
    for service in product.services:
        lines += _service_lines(service, keys)
    if product.workers:
        lines.append("workers:")
        lines += [
            f"  - {_flow({'name': name, 'stable': stable, 'canary': canary})}"
            for name, stable, canary in product.workers
        ]
    lines += ["slis:", f"  errors: {_flow(errors)} # {slis.source}"]
    checks: list[dict[str, Any]] = [
        {"kind": "proportion", "id": "canary.error_rate", "sli": "errors", "below": "1%"}
    ]
    if slis.slow is not None:
        lines.append(f"  slow: {_flow(slis.slow)}")
        checks.append(
            {"kind": "proportion", "id": "canary.latency_p95", "sli": "slow", "below": "5%"}
        )
    checks += [
        {"kind": "ready", "id": "canary.ready", "within": "60s"},
        {"kind": "restarts", "id": "canary.restarts", "at_most": 0},
    ]
    lines += ["checks:", *(f"  - {_flow(check)}" for check in checks)]
    lines += [
        "stages:",
        "  - {weight: 10, duration: 10m}",
        "  - {weight: 50, duration: 10m}",
        "  - {weight: 100, duration: 10m, approval: true}",
    ]
    return "\n".join(lines) + "\n"


def _service_lines(service: ServiceSeen, keys: Mapping[str, str]) -> list[str]:
    sides = {
        side: {"deployment": deployment, "service": name}
        for side, (deployment, name) in (("stable", service.stable), ("canary", service.canary))
    }
    routes = service.routes
    hosts = [keys[host] for route in routes for host in route.hostnames if host in keys]
    paths = [path for route in routes for path in route.paths] or ["/"]
    lines = [
        f"  - name: {service.name}",
        f"    port: {service.port}",
        *(f"    {side}: {_flow(found)}" for side, found in sides.items()),
    ]
    if len(routes) > 1 or any(route.kind != "HTTPRoute" or route.namespace for route in routes):
        refs = [
            {"kind": route.kind, "name": route.name}
            | ({"namespace": route.namespace} if route.namespace else {})
            for route in routes
        ]
        lines.append(f"    routes: {_flow(refs)}")
    else:
        lines.append(f"    route: {routes[0].name if routes else service.stable[1]}")
    return [
        *lines,
        f"    hosts: {_flow(list(dict.fromkeys(hosts)) or list(keys.values())[:1])}",
        f"    paths: {_flow(list(dict.fromkeys(paths)))}",
        f"    smoke: {_flow([{'path': service.probe}])}",
    ]


def environment_text(facts: Facts, product: Product) -> str:
    """environments/NAME.yaml."""
    namespace, name, listener = facts.gateway
    gateway: dict[str, Any] = {"name": name, "namespace": namespace}
    if listener:
        gateway["listener"] = listener
    gateway |= {
        "address": facts.address,
        "hostnames": dict(facts.hostnames),
        "canary_header": f"x-{facts.application}-canary",
    }
    content: dict[str, Any] = {
        "schema": "tarsrelease/environment/v1",
        "name": facts.environment,
        "kubernetes": {"namespace": facts.namespace},
        "gateway": gateway,
    }
    if facts.prometheus is not None:
        content["prometheus"] = {"url": facts.prometheus, "scrape_interval": "15s"}
    else:
        content["metrics"] = "pods"
        content |= _pod_metrics(facts, product)
    if facts.values_files:
        content["helm"] = {"values_files": list(facts.values_files)}
    if facts.repository is not None:
        content["github"] = _github(facts)
    return "# Where the release goes. Secrets are named by their variables only.\n" + (
        yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    )


def _pod_metrics(facts: Facts, product: Product) -> dict[str, Any]:
    """The pages of the pods that do not say it themselves: one port, or each service's own."""
    path = {} if facts.metrics_path == "/metrics" else {"path": facts.metrics_path}
    ports = {service.name: service.metrics_port for service in product.services}
    pages = {name: {"port": port, **path} for name, port in ports.items() if port is not None}
    if not pages:
        return {}
    alike = len(set(ports.values())) == 1
    return {"pod_metrics": next(iter(pages.values())) if alike else {"services": pages}}


def _github(facts: Facts) -> dict[str, Any]:
    """The environments of the pipeline. Their reviewers are teams of the repository's owner."""
    owner = str(facts.repository).partition("/")[0]
    managers, sre = f"{owner}/release-managers", f"{owner}/sre"
    name = facts.environment
    return {
        "repository": facts.repository,
        "environments": [
            {"name": name},
            {"name": f"{name}-rollback"},
            {"name": f"{name}-read"},
            {"name": f"{name}-announce"},
            {"name": f"{name}-release-manager", "reviewers": [managers]},
            {"name": f"{name}-sre", "reviewers": [sre]},
            {"name": f"{name}-canary-hold", "reviewers": [managers, sre]},
            {"name": f"{name}-full", "reviewers": [managers, sre]},
        ],
        "two_people": [f"{name}-release-manager", f"{name}-sre"],
        "votes": {"release-manager": f"{name}-release-manager", "sre": f"{name}-sre"},
    }


def workflow_text(shipped: str, facts: Facts) -> str:
    """A workflow of tarsrelease for another repository: pinned actions, variables of its own."""
    repository, _, commit = facts.actions.partition("@")
    text = re.sub(r"uses: \$/actions/(\S+)", rf"uses: {repository}/actions/\1@{commit}", shipped)
    text = re.sub(
        r"\bTARS_(?=(PROMETHEUS|DATABASE|SLACK|PAGERDUTY|STATUSPAGE|MAIL|TEAMS)_)",
        f"{_variable(facts)}_",
        text,
    )
    return re.sub(r"(?m)^(\s+default:) production$", rf"\1 {facts.environment}", text)


def _variable(facts: Facts) -> str:
    return facts.application.upper().replace("-", "_")


def role_text(shipped: str, facts: Facts, product: Product) -> str:
    """The shipped Role, with the rights for the chart's other kinds and the pods' metrics."""
    documents = list(yaml.safe_load_all(shipped))
    role = next(each for each in documents if each["kind"] == "Role")
    granted = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    wanted: list[tuple[str, str, tuple[str, ...]]]
    wanted = [(group, plural, _HELM) for group, plural in _resources(product.kinds)]
    routes = [route for service in product.services for route in service.routes]
    if any(route.kind == "GRPCRoute" for route in routes):
        wanted.append(("gateway.networking.k8s.io", "grpcroutes", _HELM))
    if any(route.namespace for route in routes):
        wanted.append(("gateway.networking.k8s.io", "referencegrants", ("list",)))
    if facts.prometheus is None:
        # Its price is in the file that the text begins with.
        wanted.append(("", "pods/proxy", ("get",)))
    more = [
        {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
        for group, resource, verbs in dict.fromkeys(wanted)
        if any((group, resource, verb) not in granted for verb in verbs)
    ]
    role["rules"] += more
    head = (
        "# The rights that a release needs, for the ServiceAccount of the pipeline:\n"
        f"#   kubectl apply --namespace {facts.namespace} --filename rbac/tarsrelease.yaml\n"
    )
    if facts.prometheus is None:
        head += (
            "# `get pods/proxy` reads the pods' metrics. It reaches every port of every pod in\n"
            "# the namespace; leave it out if you give the environment a Prometheus.\n"
        )
    return head + yaml.safe_dump_all(documents, sort_keys=False)


_HELM = ("get", "create", "patch", "delete")
_ENDINGS = {"y": "ie", "s": "se", "x": "xe", "ch": "che"}
_ENDING = re.compile(r"((?<![aeiou])y|s|x|ch)$")  # policy: policies, gateway: gateways


def _resources(kinds: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Group and plural of the chart's kinds; definitions are the cluster's."""
    found = []
    for version, kind in kinds:
        if kind == "CustomResourceDefinition":
            continue
        group = version.partition("/")[0] if "/" in version else ""
        lower = kind.lower()
        found.append((group, _ENDING.sub(lambda each: _ENDINGS[each[0]], lower) + "s"))
    return found


def hostnames_of(routes: Sequence[RouteSeen], given: Sequence[str]) -> dict[str, str]:
    """Real host names by a key: `web` for the first, then the host's first label."""
    hosts = list(dict.fromkeys([*given, *(host for r in routes for host in r.hostnames)]))
    found: dict[str, str] = {}
    for number, host in enumerate(hosts):
        label = re.sub(r"[^a-z0-9-]", "-", host.partition(".")[0].lower()).strip("-") or "any"
        key = "web" if number == 0 else label if label not in found else f"{label}-{number}"
        found[key] = host
    return found


class _Plain(yaml.SafeDumper):
    """Flow style in one line; texts are quoted only if they must be."""


def _flow(value: Any) -> str:
    """As YAML in one line."""
    text: str = yaml.dump(
        value, Dumper=_Plain, default_flow_style=True, sort_keys=False, width=10_000
    )
    return text.removesuffix("...\n").strip()
