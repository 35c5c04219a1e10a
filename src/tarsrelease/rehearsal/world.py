"""Addresses and names that every part of the rehearsal agrees on.

All addresses exist in the rehearsal's network namespace only, where 10.42.0.0/16 and
10.43.0.0/16 are local; nothing listens on 0.0.0.0, because that would answer for the pods.
"""

from __future__ import annotations

from typing import Final

CONTEXT: Final = "rehearsal"
"""The one context in every cluster's kubeconfig: environments/rehearsal.yaml fits each of them."""
NODE_NAME: Final = "rehearsal"
NODE_ADDRESS: Final = "10.42.0.1"
POD_RANGE: Final = "10.42.0.0/16"
SERVICE_RANGE: Final = "10.43.0.0/16"
KUBERNETES_SERVICE: Final = "10.43.0.1"
DNS_ADDRESS: Final = "10.43.0.10"
CLUSTER_DOMAIN: Final = "cluster.local"

ETCD: Final = "127.0.0.1:2379"
ETCD_PEER: Final = "127.0.0.1:2380"
API_SERVER: Final = "127.0.0.1:6443"
NODE_AGENT: Final = f"{NODE_ADDRESS}:10250"
NODE_METRICS: Final = f"{NODE_ADDRESS}:9401"
ROUTER: Final = f"{NODE_ADDRESS}:8000"
ROUTER_METRICS: Final = "127.0.0.1:8082"
PROMETHEUS: Final = "127.0.0.1:9090"
LOAD_REPORT: Final = "127.0.0.1:9400"
CANARY_LOAD_REPORT: Final = "127.0.0.1:9403"

PRODUCTION: Final = "tars-production"
STAGING: Final = "tars-staging"
GATEWAY_NAMESPACE: Final = "tars-gateway"
GATEWAY_NAME: Final = "tars-gateway"

# Addresses of the running cluster, by name.
ADDRESSES: Final[dict[str, str]] = {
    "kubernetes": f"https://{API_SERVER}",
    "router": f"http://{ROUTER}",
    "router_metrics": f"http://{ROUTER_METRICS}",
    "prometheus": f"http://{PROMETHEUS}",
    "node_metrics": f"http://{NODE_METRICS}",
    "load": f"http://{LOAD_REPORT}",
}

DSN_VARIABLE: Final = "TARS_DATABASE_DSN"
DSN_SECRET: Final = "tars-database"  # noqa: S105 - the name of a Secret
"""The Secret whose key ``dsn`` has the same for a Job, in each of the two namespaces."""


def database_host(namespace: str) -> str:
    """The host of the worked example's database in a namespace."""
    return f"tars-postgres.{namespace}.svc.{CLUSTER_DOMAIN}"


def dsn(namespace: str) -> str:
    """The address of the worked example's database in a namespace."""
    return f"postgresql://tars:rehearsal-only@{database_host(namespace)}/tars"
