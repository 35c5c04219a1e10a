"""Brings the parts up, each as soon as what it needs is ready."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tarsrelease.model.format import duration
from tarsrelease.rehearsal import manifests, network, parts, prometheus, world
from tarsrelease.rehearsal.certificates import ClusterCertificates
from tarsrelease.rehearsal.keeper import Check, Part, PartError, Surroundings
from tarsrelease.rehearsal.kubeapi import KubeApi, NoAnswerError, condition
from tarsrelease.rehearsal.kubeconfig import kubeconfig
from tarsrelease.rehearsal.paths import write_atomically
from tarsrelease.rehearsal.spec import Spec

# Ten times what a quiet machine needs: a busy one is slow, not broken.
_DEADLINE = 120.0
_LOOK_EVERY = 0.05


class Cluster:
    """The parts of one cluster and the order in which they come."""

    def __init__(self, spec: Spec, layout: parts.Layout, surroundings: Surroundings) -> None:
        self._spec = spec
        self._layout = layout
        self._around = surroundings
        self._tools = parts.Tools(spec.tools)
        self._began = time.monotonic()
        self.parts: dict[str, Part] = {}

    async def start(self) -> None:
        """Return when everything is ready. Raises PartError (in a group) where a part is not."""
        await network.prepare(self._layout.data, self._run)
        async with asyncio.TaskGroup() as tasks:
            etcd = tasks.create_task(self._etcd())
            secrets = tasks.create_task(asyncio.to_thread(self._certificates))
            history = tasks.create_task(self._history())
            api = tasks.create_task(self._api_server(etcd, secrets))
            node = tasks.create_task(self._node(api))
            tasks.create_task(self._router(api))
            tasks.create_task(self._metrics(api, history))
            tasks.create_task(self._backing_services(api, node))

    def load(self, arguments: list[str]) -> Part:
        """The load generator, made anew for `arguments`; not restarted, as its counts are its."""
        part = self._part(
            "load",
            self._tools.command("loadgen", *arguments),
            ready=lambda: _answers(f"http://{world.LOAD_REPORT}/report"),
            restart=False,
        )
        self.parts["load"] = part
        return part

    async def _etcd(self) -> None:
        await self._up(
            "etcd",
            parts.etcd(self._tools, self._layout),
            ready=lambda: _answers(f"http://{world.ETCD}/health"),
        )

    def _certificates(self) -> ClusterCertificates:
        certificates = ClusterCertificates.make()
        certificates.write(self._layout.certificates)
        for path, user, pair in (
            (Path(self._spec.kubeconfig), "administrator", certificates.administrator),
            (self._layout.kubeconfig, "components", certificates.components),
        ):
            content = kubeconfig(certificates.authority, pair, user)
            write_atomically(path, content, mode=0o600)
        return certificates

    async def _history(self) -> None:
        if self._spec.history:
            began = time.monotonic()
            await self._run([*self._spec.history, str(self._layout.prometheus_data)])
            self._around.say(f"history written in {duration(time.monotonic() - began)}")

    async def _api_server(
        self, etcd: asyncio.Task[None], secrets: asyncio.Task[ClusterCertificates]
    ) -> KubeApi:
        certificates = await secrets
        await etcd
        api = KubeApi(self._layout.certificates)
        self._layout.audit_policy.write_text(json.dumps(manifests.audit_policy()))
        await self._up(
            "kube-apiserver",
            parts.api_server(self._tools, self._layout),
            ready=lambda: api.answers("/readyz"),
        )
        await self._apply(api, manifests.namespaces())
        await self._apply(api, manifests.resource_metrics(certificates.authority))
        return api

    async def _node(self, api_ready: asyncio.Task[KubeApi]) -> None:
        api = await api_ready
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                self._up(
                    "kube-controller-manager",
                    parts.controller_manager(self._tools, self._layout),
                    ready=lambda: _listens("127.0.0.1:10257"),
                )
            )
            tasks.create_task(
                self._up(
                    "kube-scheduler",
                    parts.scheduler(self._tools, self._layout),
                    ready=lambda: _listens("127.0.0.1:10259"),
                )
            )
            tasks.create_task(
                self._up(
                    "agent",
                    parts.agent(self._tools, self._layout),
                    ready=lambda: _listens(world.NODE_AGENT),
                )
            )
        node = f"/api/v1/nodes/{world.NODE_NAME}"
        await self._until("the node is Ready", lambda: condition(api.get(node), "Ready"))
        metrics = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io"
        await self._until(
            "the metrics API is available", lambda: condition(api.get(metrics), "Available")
        )

    async def _router(self, api_ready: asyncio.Task[KubeApi]) -> None:
        api = await api_ready
        documents = await asyncio.to_thread(lambda: json.loads(Path(self._spec.crds).read_text()))
        await self._apply(api, documents)
        definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        paths = [
            f"{definitions}/{document['metadata']['name']}"
            for document in documents
            if document["kind"] == "CustomResourceDefinition"
        ]
        served = "gateway.networking.k8s.io/v1", {"GatewayClass", "Gateway", "HTTPRoute"}
        await self._until(
            "the Gateway API is served",
            lambda: (
                all(condition(api.get(path), "Established") for path in paths)
                and api.serves(*served)
            ),
        )
        await self._apply(api, manifests.gateway())
        await self._up(
            "traefik",
            parts.traefik(self._tools, self._layout),
            ready=lambda: _answers(f"http://{world.ROUTER_METRICS}/ping"),
            environment={"KUBECONFIG": str(self._layout.kubeconfig)},
        )
        gateway = (
            f"/apis/gateway.networking.k8s.io/v1/namespaces/{world.GATEWAY_NAMESPACE}"
            f"/gateways/{world.GATEWAY_NAME}"
        )
        await self._until(
            "the gateway is programmed", lambda: condition(api.get(gateway), "Programmed")
        )

    async def _metrics(self, api_ready: asyncio.Task[KubeApi], history: asyncio.Task[None]) -> None:
        await asyncio.gather(api_ready, history)
        config = prometheus.configuration(self._layout.kubeconfig, self._spec.scrape_interval)
        self._layout.prometheus_config.write_text(config)
        await self._up(
            "prometheus",
            parts.prometheus(self._tools, self._layout),
            ready=lambda: _answers(f"http://{world.PROMETHEUS}/-/ready"),
        )

    async def _backing_services(
        self, api_ready: asyncio.Task[KubeApi], node: asyncio.Task[None]
    ) -> None:
        api = await api_ready
        folder = Path(self._spec.manifests)
        documents = await asyncio.to_thread(manifests.backing_services, folder)
        await self._apply(api, documents)
        await node
        for document in documents:
            if document["kind"] == "Deployment":
                metadata = document["metadata"]
                namespace, name = metadata["namespace"], metadata["name"]
                path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
                await self._until(
                    f"{namespace}/{name} is available",
                    lambda path=path: condition(api.get(path), "Available"),  # type: ignore[misc]
                )

    def _part(
        self,
        name: str,
        argv: list[str],
        *,
        ready: Check,
        restart: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> Part:
        own = {**self._around.environment, **(environment or {})}
        around = replace(self._around, environment=own)
        return Part(name, argv, around, ready=ready, restart=restart)

    async def _up(self, name: str, argv: list[str], *, ready: Check, **options: Any) -> None:
        part = self.parts[name] = self._part(name, argv, ready=ready, **options)
        began = time.monotonic()
        part.start()
        await part.wait_ready(_DEADLINE)
        self._around.say(f"{name} ready in {duration(time.monotonic() - began)}")

    async def _until(self, what: str, check: Callable[[], bool]) -> None:
        await self._done(what, check)
        self._around.say(f"{what} ({duration(time.monotonic() - self._began)})")

    async def _done(self, what: str, action: Callable[[], bool]) -> None:
        """Repeat `action` until it is True; an API server too busy to answer is asked again.

        Raises PartError with the reason when it is not True in time.
        """
        began = time.monotonic()
        reason = ""
        while True:
            try:
                if await asyncio.to_thread(action):
                    return
            except NoAnswerError as error:
                reason = f"; {error}"
            if time.monotonic() - began > _DEADLINE:
                raise PartError(f"not after {duration(_DEADLINE)}: {what}{reason}")
            await asyncio.sleep(_LOOK_EVERY)

    async def _apply(self, api: KubeApi, documents: Iterable[manifests.Document]) -> None:
        await asyncio.gather(*(self._apply_one(api, document) for document in documents))

    async def _apply_one(self, api: KubeApi, document: manifests.Document) -> None:
        def apply() -> bool:
            api.apply(document)
            return True

        await self._done(f"applying {document['kind']} {document['metadata']['name']}", apply)

    async def _run(self, argv: list[str]) -> None:
        log = self._around.logs / "commands.log"
        around = self._around
        child = around.table.spawn(
            argv, environment=around.environment, log=log, folder=around.folder
        )
        status = await child.ended
        if status != 0:
            raise PartError(f"{' '.join(argv)} ended with status {status}; see {log}")


def _answers(url: str) -> bool:
    # No proxy: the namespace has no way out, and the address is its own.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5):
            return True
    except OSError:
        return False
