"""The objects that every rehearsal cluster has, as documents to apply."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from tarsrelease.rehearsal import world

Document = dict[str, Any]


def namespaces() -> list[Document]:
    """Production, staging and the gateway's."""
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        for name in (world.PRODUCTION, world.STAGING, world.GATEWAY_NAMESPACE)
    ]


def audit_policy() -> Document:
    """Log every change in production, and who made it."""
    changes = ["create", "update", "patch", "delete", "deletecollection"]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "verbs": changes, "namespaces": [world.PRODUCTION]}],
    }


def gateway() -> list[Document]:
    """The GatewayClass of Traefik and the one Gateway, open to routes of every namespace."""
    port = int(world.ROUTER.rpartition(":")[2])
    listener = {
        "name": "web",
        "protocol": "HTTP",
        "port": port,
        "allowedRoutes": {"namespaces": {"from": "All"}},
    }
    return [
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "traefik"},
            "spec": {"controllerName": "traefik.io/gateway-controller"},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": world.GATEWAY_NAME, "namespace": world.GATEWAY_NAMESPACE},
            "spec": {"gatewayClassName": "traefik", "listeners": [listener]},
        },
    ]


def resource_metrics(authority: bytes) -> list[Document]:
    """metrics.k8s.io, served by the node agent: what `kubectl top` and autoscalers ask.

    The Service has no selector, because it has no pods: its endpoint is the node.
    """
    address, _, port = world.NODE_AGENT.rpartition(":")
    name = {"name": "metrics-server", "namespace": "kube-system"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": name,
            "spec": {"ports": [{"name": "https", "port": 443, "targetPort": int(port)}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**name, "labels": {"kubernetes.io/service-name": "metrics-server"}},
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": int(port), "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": "v1beta1.metrics.k8s.io"},
            "spec": {
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "caBundle": base64.b64encode(authority).decode(),
                "service": {**name, "port": 443},
            },
        },
    ]


def backing_services(folder: Path) -> list[Document]:
    """The worked example's databases, from `folder`, once in each of the two namespaces.

    Beside them a Secret with the database's address, for Jobs.
    """
    documents = [
        document
        for file in sorted(folder.glob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text())
        if document is not None
    ]
    addresses: list[Document] = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": world.DSN_SECRET, "namespace": namespace},
            "stringData": {"dsn": world.dsn(namespace)},
        }
        for namespace in (world.PRODUCTION, world.STAGING)
    ]
    return addresses + [
        {**document, "metadata": {**document["metadata"], "namespace": namespace}}
        for namespace in (world.PRODUCTION, world.STAGING)
        for document in documents
    ]
