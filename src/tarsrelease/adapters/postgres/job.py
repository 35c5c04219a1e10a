"""`--as-job`: the same command, run by a Job in the cluster, where the database is reachable.

A ConfigMap carries the bundle and the environment's file; the DSN comes from an existing Secret.
The Job needs no rights in the cluster. Its creator needs to create ConfigMaps and Jobs and to read
pods and their logs. A Job outlives this process: run the command again, or follow its log.
"""

from __future__ import annotations

import base64
import io
import json
import re
import secrets
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tarsrelease.adapters.kubernetes.client import CONFIG_MAP, POD, Kind, KubernetesApi
from tarsrelease.adapters.postgres.in_a_job import IN_A_JOB
from tarsrelease.model.database import MigrationJob
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import StoppedError, UnreachableError, UsageError
from tarsrelease.model.format import duration
from tarsrelease.model.outcome import Outcome
from tarsrelease.model.release import Run
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.people import Progress

JOB = Kind("batch", "v1", "Job", "jobs")

_BUNDLE = "bundle.tgz.b64"
_LARGEST = 900_000
"""A ConfigMap holds 1 MiB at most."""
_POLL = 0.5
_START = 120.0
"""Seconds until its pod must run."""
_KEPT = 86_400
"""Seconds that a finished Job stays, for its log to be read."""
_NEVER = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError"}
# An agent without mounts keeps the volume in VOLUME_BUNDLE.
_SCRIPT = (
    'set -e; work=$(mktemp -d); base64 -d < "${VOLUME_BUNDLE:-/bundle}/'
    + _BUNDLE
    + '" | tar -xz -C "$work"; cd "$work"; exec tarsrelease "$@"'
)


class Jobs:
    """Runs commands of tarsrelease in Jobs of this cluster; shows their progress as it comes."""

    def __init__(
        self, cluster: KubernetesApi, environment: Environment, clock: Clock, progress: Progress
    ) -> None:
        self._cluster = cluster
        self._environment = environment
        self._clock = clock
        self._progress = progress

    def run(
        self, command: Sequence[str], bundle: Path, environment_file: Path, run: Run
    ) -> Outcome:
        """Run ``tarsrelease COMMAND`` for this bundle in a Job and return its outcome.

        Raises UsageError if the environment names no Job or the pod cannot start,
        UnreachableError if it does not start in time, StoppedError if it ends without an outcome.
        """
        database = self._environment.database
        job = database.job if database else None
        if database is None or job is None:
            raise UsageError(
                doing="preparing the Job",
                found=f"environment {self._environment.name} has no database.job",
                expected="database.job: {image: ..., secret: ...}",
                next_step="name an image with tarsrelease in it, and the Secret that holds the DSN",
            )
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            raise UsageError(
                doing="preparing the Job",
                found="no kubectl on the PATH",
                expected="kubectl, to follow the Job's log",
                next_step="install it",
            )
        name = _name(run)
        cluster = self._cluster
        cluster.create(CONFIG_MAP, _config_map(name, packed(bundle, environment_file)))
        made = cluster.create(
            JOB, _job(name, job, database.dsn_env, [*command, *_arguments(environment_file)], run)
        )
        _own(cluster, name, made)
        self._progress.say(
            f"Job {name} runs `tarsrelease {' '.join(command)}` in {cluster.namespace}"
        )
        _wait_for_start(cluster, name, self._clock)
        log = _Log(kubectl, self._environment, name, self._progress)
        _wait_for_end(cluster, name, job.deadline, self._clock)
        return _outcome(name, log.lines())


def _name(run: Run) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", run.id.lower()).strip("-")[:30].strip("-")
    return f"tarsrelease-migrate-{plain}-{secrets.token_hex(3)}"


def packed(bundle: Path, environment_file: Path) -> str:
    """The bundle and the environment's file as base64 of a tar archive.

    In the cluster, the database is reached as the DSN says, and the API by the pod's own account.
    """
    # As nodes, so that every other value stays written as it is: quantities have units.
    inside = yaml.compose(environment_file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    _drop(inside, "kubernetes", "context")
    _drop(inside, "database", "port_forward")
    text = yaml.serialize(inside, Dumper=yaml.SafeDumper).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(bundle, "release")
        entry = tarfile.TarInfo(f"environments/{environment_file.name}")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    content = base64.b64encode(buffer.getvalue()).decode()
    if len(content) > _LARGEST:
        raise UsageError(
            doing="packing the bundle for the Job",
            found=f"{len(content)} bytes",
            expected=f"{_LARGEST} at most: a ConfigMap carries it",
            next_step="reach the database directly or by database.port_forward",
        )
    return content


def _drop(document: Any, section: str, key: str) -> None:
    """Leave a key out of a section of the document."""
    for name, found in document.value:
        if name.value == section:
            found.value = [pair for pair in found.value if pair[0].value != key]


def _arguments(environment_file: Path) -> list[str]:
    return [
        *("--release", "release", "--environment", f"environments/{environment_file.name}"),
        *("--evidence", "evidence", "--format", "json"),
    ]


def _labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/managed-by": "tarsrelease", "app.kubernetes.io/instance": name[:63]}


def _config_map(name: str, content: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": _labels(name)}, "data": {_BUNDLE: content}}


def _own(cluster: KubernetesApi, name: str, job: dict[str, Any]) -> None:
    """Delete the ConfigMap together with the Job."""
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": name,
        "uid": job["metadata"]["uid"],
    }
    cluster.merge(CONFIG_MAP, name, {"metadata": {"ownerReferences": [owner]}})


def _job(
    name: str, job: MigrationJob, variable: str, arguments: Sequence[str], run: Run
) -> dict[str, Any]:
    secret = {"name": job.secret, "key": job.secret_key}
    account = {"serviceAccountName": job.service_account} if job.service_account else {}
    container = {
        "name": "migrate",
        "image": job.image,
        "command": ["sh", "-c", _SCRIPT, "tarsrelease", *arguments],
        "env": [
            {"name": variable, "valueFrom": {"secretKeyRef": secret}},
            {"name": "TARSRELEASE_RUN", "value": run.id},
            {"name": IN_A_JOB, "value": name},
        ],
        "volumeMounts": [{"name": "bundle", "mountPath": "/bundle", "readOnly": True}],
    }
    return {
        "metadata": {"name": name, "labels": _labels(name)},
        "spec": {
            # A person examines a failed migration; it is not restarted.
            "backoffLimit": 0,
            "activeDeadlineSeconds": int(job.deadline),
            "ttlSecondsAfterFinished": _KEPT,
            "template": {
                "metadata": {"labels": _labels(name)},
                "spec": {
                    "restartPolicy": "Never",
                    **account,
                    # It changes nothing in the cluster.
                    "automountServiceAccountToken": False,
                    "containers": [container],
                    "volumes": [{"name": "bundle", "configMap": {"name": name}}],
                },
            },
        },
    }


def _pods(cluster: KubernetesApi, name: str) -> list[dict[str, Any]]:
    return cluster.select(POD, f"job-name={name}")


def _wait_for_start(cluster: KubernetesApi, name: str, clock: Clock) -> None:
    """Return when its container runs or has ended."""
    started = clock.now()
    why = "no pod yet"
    while True:
        for pod in _pods(cluster, name):
            for status in pod.get("status", {}).get("containerStatuses") or ():
                state = status.get("state") or {}
                if "running" in state or "terminated" in state:
                    return
                waiting = state.get("waiting") or {}
                why = f"{waiting.get('reason', 'waiting')}: {waiting.get('message', '')}".strip()
                if waiting.get("reason") in _NEVER:
                    cluster.delete(JOB, name)
                    raise UsageError(
                        doing=f"starting Job {name}",
                        found=why,
                        expected="a pod that starts",
                        next_step="correct database.job (image, secret, secret_key)",
                    )
        if (clock.now() - started).total_seconds() > _START:
            cluster.delete(JOB, name)
            raise UnreachableError(
                doing=f"starting Job {name}",
                found=f"after {duration(_START)}: {why}",
                expected="a running pod",
                next_step="check the quota, the nodes, and the image; the Job was deleted",
            )
        clock.sleep(_POLL)


def _wait_for_end(cluster: KubernetesApi, name: str, deadline: float, clock: Clock) -> None:
    """Return when the Job is Complete or Failed."""
    started = clock.now()
    while True:
        job = cluster.get(JOB, name) or {}
        conditions = (job.get("status") or {}).get("conditions") or ()
        if any(
            one.get("type") in {"Complete", "Failed"} and one.get("status") == "True"
            for one in conditions
        ):
            return
        if not job or (clock.now() - started).total_seconds() > deadline + _START:
            raise StoppedError(
                doing=f"waiting for Job {name}",
                found="it is gone" if not job else "it neither completed nor failed in time",
                expected="Complete or Failed",
                next_step="`tarsrelease migrate status` says what was applied",
            )
        clock.sleep(_POLL)


class _Log:
    """Follows the container's log and shows its progress."""

    def __init__(
        self, kubectl: str, environment: Environment, name: str, progress: Progress
    ) -> None:
        argv = [kubectl, "--namespace", environment.kubernetes.namespace]
        if environment.kubernetes.context is not None:
            argv += ["--context", environment.kubernetes.context]
        self._process = subprocess.Popen(
            [*argv, "logs", "--follow", f"job/{name}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []
        self._progress = progress
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        outcome = False
        for line in self._process.stdout or ():
            self._lines.append(line.rstrip("\n"))
            outcome = outcome or line.startswith("{")
            if not outcome and line.strip():
                self._progress.say(f"job: {line.rstrip()}")

    def lines(self) -> list[str]:
        """All lines, once the log has ended."""
        self._thread.join(30.0)
        self._process.terminate()
        self._process.wait()
        return self._lines


def _outcome(name: str, lines: Sequence[str]) -> Outcome:
    """The outcome that the command printed last, as JSON over several lines."""
    starts = [number for number, line in enumerate(lines) if line == "{"]
    try:
        text = "\n".join(lines[starts[-1] :])
        value, _ = json.JSONDecoder().raw_decode(text)
        return Outcome.model_validate(value)
    except (IndexError, ValueError, ValidationError) as problem:
        raise StoppedError(
            doing=f"reading the log of Job {name}",
            found="\n".join(lines[-10:]) or "nothing in its log",
            expected="an outcome at its end",
            next_step=f"`kubectl logs job/{name}`; `tarsrelease migrate status` says what was "
            "applied",
        ) from problem
