"""The command line of each part of the cluster. Pure: paths in, arguments out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tarsrelease.rehearsal import world


@dataclass(frozen=True, slots=True)
class Tools:
    """How each program is started: its path, and what must come first after it."""

    commands: dict[str, list[str]]

    def command(self, name: str, *arguments: str) -> list[str]:
        """The argument vector of the program `name`."""
        return [*self.commands[name], *arguments]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts find and leave things, inside the cluster's data folder."""

    data: Path
    logs: Path
    images: Path

    @property
    def certificates(self) -> Path:
        """The folder of certificates and keys."""
        return self.data / "certificates"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of the cluster's own parts."""
        return self.data / "components.kubeconfig"

    @property
    def audit_policy(self) -> Path:
        """What the API server writes to its audit log."""
        return self.data / "audit.yaml"

    @property
    def audit_log(self) -> Path:
        """Who changed what, one JSON event a line."""
        return self.logs / "audit.jsonl"

    @property
    def prometheus_config(self) -> Path:
        """prometheus.yml."""
        return self.data / "prometheus.yml"

    @property
    def prometheus_data(self) -> Path:
        """Prometheus' blocks and write-ahead log."""
        return self.data / "prometheus"

    def certificate(self, name: str) -> str:
        """The path of a certificate or key, such as `ca.crt`."""
        return str(self.certificates / name)


def etcd(tools: Tools, layout: Layout) -> list[str]:
    """etcd, alone and without waiting for the disk: nothing in it must survive the machine."""
    return tools.command(
        "etcd",
        "--name=rehearsal",
        f"--data-dir={layout.data / 'etcd'}",
        f"--listen-client-urls=http://{world.ETCD}",
        f"--advertise-client-urls=http://{world.ETCD}",
        f"--listen-peer-urls=http://{world.ETCD_PEER}",
        f"--initial-advertise-peer-urls=http://{world.ETCD_PEER}",
        f"--initial-cluster=rehearsal=http://{world.ETCD_PEER}",
        "--unsafe-no-fsync",
        "--log-level=warn",
        # With no peer to lose, waiting the usual second for an election only costs time.
        "--heartbeat-interval=50",
        "--election-timeout=250",
    )


def api_server(tools: Tools, layout: Layout) -> list[str]:
    """kube-apiserver on loopback, advertised at the node's address."""
    host, _, port = world.API_SERVER.rpartition(":")
    file = layout.certificate
    return tools.command(
        "kube-apiserver",
        f"--etcd-servers=http://{world.ETCD}",
        f"--bind-address={host}",
        f"--secure-port={port}",
        f"--advertise-address={world.NODE_ADDRESS}",
        f"--service-cluster-ip-range={world.SERVICE_RANGE}",
        "--authorization-mode=RBAC",
        f"--client-ca-file={file('ca.crt')}",
        f"--audit-policy-file={layout.audit_policy}",
        f"--audit-log-path={layout.audit_log}",
        f"--tls-cert-file={file('api-server.crt')}",
        f"--tls-private-key-file={file('api-server.key')}",
        f"--kubelet-certificate-authority={file('ca.crt')}",
        f"--kubelet-client-certificate={file('api-to-node.crt')}",
        f"--kubelet-client-key={file('api-to-node.key')}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer=https://kubernetes.default.svc.{world.CLUSTER_DOMAIN}",
        f"--service-account-key-file={file('service-account.pub')}",
        f"--service-account-signing-key-file={file('service-account.key')}",
        f"--requestheader-client-ca-file={file('front-proxy-ca.crt')}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={file('front-proxy.crt')}",
        f"--proxy-client-key-file={file('front-proxy.key')}",
        # Aggregated APIs are reached at their endpoints; the service addresses are the agent's,
        # which may be what is down.
        "--enable-aggregator-routing=true",
        "--profiling=false",
    )


def controller_manager(tools: Tools, layout: Layout) -> list[str]:
    """kube-controller-manager with every controller but the one that hands out node ranges."""
    return tools.command(
        "kube-controller-manager",
        *_client_flags(layout),
        "--secure-port=10257",
        "--controllers=*,-node-ipam-controller",
        f"--root-ca-file={layout.certificate('ca.crt')}",
        f"--service-account-private-key-file={layout.certificate('service-account.key')}",
    )


def scheduler(tools: Tools, layout: Layout) -> list[str]:
    """kube-scheduler."""
    return tools.command("kube-scheduler", *_client_flags(layout), "--secure-port=10259")


def _client_flags(layout: Layout) -> list[str]:
    kubeconfig = layout.kubeconfig
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        # The defaults (20 and 30 requests a second) would make a rollout on one node crawl.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--profiling=false",
    ]


def agent(tools: Tools, layout: Layout) -> list[str]:
    """The node: runs pods' containers as processes, answers for services and names."""
    return tools.command(
        "agent",
        f"--kubeconfig={layout.kubeconfig}",
        f"--images={layout.images}",
        f"--node-name={world.NODE_NAME}",
        f"--node-address={world.NODE_ADDRESS}",
        f"--logs={layout.logs / 'pods'}",
        f"--run={layout.data / 'pods'}",
        f"--pod-cidr={world.POD_RANGE}",
        "--restart-backoff=2s",  # a crash loop shows within a stage of twenty seconds
        f"--service-cidr={world.SERVICE_RANGE}",
        f"--tls-cert={layout.certificate('agent.crt')}",
        f"--tls-key={layout.certificate('agent.key')}",
        f"--client-ca={layout.certificate('ca.crt')}",
        f"--metrics-address={world.NODE_METRICS}",
        f"--listen={world.NODE_AGENT}",
    )


def traefik(tools: Tools, layout: Layout) -> list[str]:
    """Traefik as the Gateway; follows a changed route in a tenth of a second, not in two."""
    gateway = "--providers.kubernetesgateway"
    return tools.command(
        "traefik",
        f"--entrypoints.web.address={world.ROUTER}",
        f"--entrypoints.traefik.address={world.ROUTER_METRICS}",
        f"{gateway}=true",
        f"{gateway}.endpoint=https://{world.API_SERVER}",
        f"{gateway}.certauthfilepath={layout.certificate('ca.crt')}",
        f"{gateway}.statusaddress.ip={world.NODE_ADDRESS}",
        f"{gateway}.throttleduration=50ms",
        "--providers.providersthrottleduration=50ms",
        "--ping=true",
        "--ping.entrypoint=traefik",
        "--metrics.prometheus=true",
        "--metrics.prometheus.entrypoint=traefik",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        "--log.level=INFO",
    )


def prometheus(tools: Tools, layout: Layout) -> list[str]:
    """Prometheus; keeps three days, as the history before the rehearsal is one."""
    return tools.command(
        "prometheus",
        f"--config.file={layout.prometheus_config}",
        f"--storage.tsdb.path={layout.prometheus_data}",
        "--storage.tsdb.retention.time=3d",
        # The history is many small blocks: merging them would compete with the rehearsal.
        "--storage.tsdb.min-block-duration=2h",
        "--storage.tsdb.max-block-duration=2h",
        f"--web.listen-address={world.PROMETHEUS}",
        "--log.level=warn",
    )
