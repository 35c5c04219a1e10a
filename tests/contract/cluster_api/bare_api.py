"""A real API server without nodes: etcd and kube-apiserver on loopback, for contract tests.

Enough for what the adapters ask of the API itself: server-side apply, conflicts, rights, Helm's
storage. Nothing runs a pod, so nothing here ever becomes ready.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from ssl import CERT_NONE, create_default_context
from typing import Any
from urllib.error import URLError

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tarsrelease.rehearsal import binaries
from tarsrelease.rehearsal.crds import gateway_crds
from tarsrelease.rehearsal.paths import cache_root

ADMIN = "admin-token"
_AUDITED = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True, slots=True)
class BareApi:
    """A running API server. `programs` are the argument vectors of helm and kubectl."""

    url: str
    folder: Path
    programs: dict[str, list[str]]

    def kubeconfig(self, token: str = ADMIN, namespace: str = "default") -> Path:
        """A kubeconfig for the bearer of `token`; its only context is ``bare``."""
        path = self.folder / f"kubeconfig-{abs(hash((token, namespace)))}.json"
        authority = self.folder / "certificates" / "apiserver.crt"
        cluster = {"server": self.url, "certificate-authority": str(authority)}
        context = {"cluster": "bare", "user": "bearer", "namespace": namespace}
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "bare",
                    "clusters": [{"name": "bare", "cluster": cluster}],
                    "users": [{"name": "bearer", "user": {"token": token}}],
                    "contexts": [{"name": "bare", "context": context}],
                }
            )
        )
        return path

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """kubectl as administrator: its output."""
        command = [*self.programs["kubectl"], "--kubeconfig", str(self.kubeconfig()), *arguments]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def requests_of(self, user: str) -> list[dict[str, Any]]:
        """What this user has asked the server for so far, from its audit log.

        A request that ends before its caller was authenticated stands there without a user's name.
        """
        log = (self.folder / "audit.jsonl").read_text()
        complete = log[: log.rfind("\n") + 1].splitlines()  # the last line may still be written
        events: list[dict[str, Any]] = [json.loads(line) for line in complete]
        return [event for event in events if event["user"].get("username") == user]


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_for(url: str, processes: list[subprocess.Popen[bytes]], deadline: float = 60) -> None:
    context = create_default_context()
    context.check_hostname, context.verify_mode = False, CERT_NONE
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {ADMIN}"})
    end = time.monotonic() + deadline
    while True:
        for process in processes:
            assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        try:
            urllib.request.urlopen(request, timeout=2, context=context).close()
        except (URLError, OSError):
            assert time.monotonic() < end, f"{url} is not there after {deadline} s"
            time.sleep(0.05)
        else:
            return


@contextlib.contextmanager
def running(folder: Path) -> Iterator[BareApi]:
    """Start it in `folder`, with the Gateway API's kinds; it ends with the block."""
    found = binaries.resolve(cache_root(), lambda text: print(text, file=sys.stderr))
    client, peer, secure = _free_ports(3)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "sa.key").write_bytes(pem)
    (folder / "sa.pub").write_bytes(public)
    (folder / "audit.yaml").write_text(yaml.safe_dump(_AUDITED))
    with (folder / "tokens.csv").open("w", newline="") as file:
        csv.writer(file).writerow([ADMIN, "admin", "admin", "system:masters"])
    etcd = f"http://127.0.0.1:{client}"
    commands = [
        [
            *found.commands["etcd"],
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
            "--log-level=error",
        ],
        [
            *found.commands["kube-apiserver"],
            f"--etcd-servers={etcd}",
            f"--secure-port={secure}",
            "--bind-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.43.0.0/16",
            "--authorization-mode=RBAC",
            f"--cert-dir={folder / 'certificates'}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--service-account-issuer=https://bare",
            f"--service-account-key-file={folder / 'sa.pub'}",
            f"--service-account-signing-key-file={folder / 'sa.key'}",
            f"--audit-policy-file={folder / 'audit.yaml'}",
            f"--audit-log-path={folder / 'audit.jsonl'}",
            "--profiling=false",
        ],
    ]
    processes: list[subprocess.Popen[bytes]] = []
    url = f"https://127.0.0.1:{secure}"
    try:
        for command in commands:
            log = (folder / f"{len(processes)}.log").open("wb")
            processes.append(
                subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ)
            )
            log.close()
        _wait_for(f"{url}/readyz", processes)
        api = BareApi(url, folder, found.commands)
        definitions = json.loads(gateway_crds(cache_root(), print).read_text())
        api.kubectl(
            *("apply", "--server-side", "--filename", "-"),
            stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": definitions}),
        )
        api.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        yield api
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()
