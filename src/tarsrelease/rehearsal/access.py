"""A kubeconfig for the ServiceAccount of the release, which has only the shipped Role."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Sequence
from pathlib import Path

import yaml

from tarsrelease.model.errors import UsageError

ACCOUNT = "tarsrelease"


def kubectl(command: Sequence[str], *arguments: str) -> str:
    """Run kubectl and return its output. Raises UsageError with its message if it fails."""
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise UsageError(
            doing=f"kubectl {' '.join(arguments[:3])}",
            found=done.stderr.strip() or f"exit code {done.returncode}",
            expected="the rights of the administrator",
            next_step="inspect the cluster with `tarsrelease rehearse shell`",
        )
    return done.stdout


def as_service_account(
    command: Sequence[str], namespace: str, role: Path, kubeconfig: Path, target: Path
) -> Path:
    """Apply the Role in `role`, and write `target`: `kubeconfig` with the account's token.

    It keeps the names of contexts, so that an environment file works with both.
    """
    kubectl(command, "apply", "--namespace", namespace, "--filename", str(role))
    token = kubectl(
        command, "create", "token", ACCOUNT, "--namespace", namespace, "--duration", "4h"
    )
    config = copy.deepcopy(yaml.safe_load(kubeconfig.read_text()))
    for user in config["users"]:
        user["user"] = {"token": token.strip()}
    target.touch(mode=0o600)
    target.write_text(yaml.safe_dump(config))
    return target
