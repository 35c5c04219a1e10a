"""The kubeconfig in use, or the pod's ServiceAccount where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import yaml
from kubernetes import config
from kubernetes.client import Configuration
from kubernetes.config import kube_config
from kubernetes.config.exec_provider import ExecProvider

from tarsrelease.adapters import child_process
from tarsrelease.adapters.child_environment import EXTRA, for_cluster
from tarsrelease.model.errors import UsageError

_CONFIG: Any = config  # the library has no types
_FILES: Any = kube_config
_LOADER: Any = kube_config.KubeConfigLoader
_PROVIDER: Any = ExecProvider
_LONGEST_LOGIN = 60.0
_LARGEST_LOGIN = 2**20
_EXTENSION = "client.authentication.k8s.io/exec"
_BROKEN = (
    config.ConfigException,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    yaml.YAMLError,
)


class _PluginError(Exception):
    """The exec plugin gave no credentials."""


def configured(context: str | None) -> Configuration:
    """Server and credentials of `context`, by default the kubeconfig's current one.

    Raises UsageError for a kubeconfig that cannot be used, and for an exec plugin that fails.
    """
    configuration = Configuration()
    try:
        if context is None and _inside_a_pod():
            _CONFIG.load_incluster_config(client_configuration=configuration)
        else:
            path = os.environ.get("KUBECONFIG") or kube_config.KUBE_CONFIG_DEFAULT_LOCATION
            _Loader(config_dict=_merged(path), active_context=context).load_and_set(configuration)
    except _PluginError as error:
        raise UsageError(
            doing=_reading(context),
            found=f"its exec plugin gave no credentials: {error}",
            expected="credentials as `kubectl get pods` gets them",
            next_step="log in as the plugin asks; if it needs more variables than PATH, HOME, "
            f"KUBECONFIG and its cloud's, name them in {EXTRA}",
        ) from error
    except _BROKEN as error:
        raise UsageError(
            doing=_reading(context),
            found=_nowhere() or " ".join(str(error).split()) or type(error).__name__,
            expected="a kubeconfig with that context, in KUBECONFIG or ~/.kube/config",
            next_step="set KUBECONFIG, and set kubernetes.context in the environment file to a "
            "context of `kubectl config get-contexts`",
        ) from error
    return configuration


_parsing = threading.Lock()
_parsed: dict[tuple[Any, ...], Any] = {}


def _merged(path: str) -> Any:
    """The kubeconfig. It is parsed again only if a file of it has changed: a fleet has hundreds of
    contexts in one."""
    files = [Path(name).expanduser() for name in path.split(os.pathsep) if name]
    with _parsing:
        states = [(file, file.stat()) for file in files if file.exists()]
        key = (path, *((file, state.st_mtime_ns, state.st_size) for file, state in states))
        if key not in _parsed:
            found = _FILES.KubeConfigMerger(path).config
            _parsed.clear()
            _parsed[key] = found
        return _parsed[key]


class _Loader(_LOADER):  # type: ignore[misc]
    """The library logs that a plugin failed and goes on without credentials, so that the API
    server's "forbidden" for anonymous users is all that is seen."""

    def _load_from_exec_plugin(self) -> bool | None:
        if "exec" not in self._user:
            return None
        base = self._get_base_path(self._cluster.path)
        status = _status(self._user["exec"], base, self._cluster)
        if "token" in status:
            self.token = f"Bearer {status['token']}"
        elif "clientCertificateData" in status and "clientKeyData" in status:
            self.cert_file = self._file(status, "clientCertificateData", base)
            self.key_file = self._file(status, "clientKeyData", base)
        else:
            raise _PluginError("its answer has neither a token nor a certificate with its key")
        if "expirationTimestamp" in status:
            self.expiry = _FILES.parse_rfc3339(status["expirationTimestamp"])
        return True

    def _file(self, status: Any, key: str, base: str) -> str:
        made: str = _FILES.FileOrData(
            status,
            None,
            data_key_name=key,
            file_base_path=base,
            base64_file_content=False,
            temp_file_path=self._temp_file_path,
        ).as_file()
        return made


def _status(wanted: Any, base: str, cluster: Any) -> dict[str, Any]:
    """What the plugin answers. Raises _PluginError."""
    try:
        provider = _PROVIDER(wanted, base, cluster)
        own = {item["name"]: item["value"] for item in wanted.safe_get("env") or ()}
        provider.env = {**for_cluster(), **own}
        return _answered(provider)
    except _PluginError:
        raise
    except Exception as error:
        raise _PluginError(" ".join(str(error).split()) or type(error).__name__) from error


def _answered(provider: Any) -> dict[str, Any]:
    """Run the plugin as client.authentication.k8s.io says; the library waits for ever, reads
    without end, and says nothing of a plugin that fails at a terminal."""
    terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    spec: dict[str, Any] = {"interactive": terminal}
    if provider.cluster:
        about = spec["cluster"] = dict(provider.cluster.value)
        own = [each for each in about.get("extensions") or () if each["name"] == _EXTENSION]
        if own:
            about["config"] = own[0]["extension"]
    asked = {"apiVersion": provider.api_version, "kind": "ExecCredential", "spec": spec}
    try:
        ended = child_process.run(
            provider.args,
            variables={**provider.env, "KUBERNETES_EXEC_INFO": json.dumps(asked)},
            seconds=_LONGEST_LOGIN,
            folder=Path(provider.cwd) if provider.cwd else None,
            largest=_LARGEST_LOGIN,
            terminal=terminal,
        )
    except subprocess.TimeoutExpired as error:
        raise _PluginError(f"no answer within {_LONGEST_LOGIN:g} s") from error
    if ended.code != 0:
        said = " ".join(ended.err.decode("utf-8", "replace").split())
        raise _PluginError(f"it ended with {ended.code}{': ' if said else ''}{said[:500]}")
    try:
        answer = json.loads(ended.out)
    except (ValueError, RecursionError) as error:
        raise _PluginError(f"its answer is not JSON: {error}") from error
    status = answer.get("status") if isinstance(answer, dict) else None
    if not isinstance(status, dict) or answer.get("kind") != "ExecCredential":
        raise _PluginError("its answer is no ExecCredential with a status")
    if answer.get("apiVersion") != provider.api_version:
        raise _PluginError(f"its answer is not of {provider.api_version}")
    return status


def _reading(context: str | None) -> str:
    which = f" for context {context!r}" if context else " (its current context)"
    return f"reading the kubeconfig{which}"


def _nowhere() -> str:
    """The kubeconfig paths if none of them exists; else an empty text."""
    named = [name for name in os.environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    paths = [Path(name).expanduser() for name in named or ["~/.kube/config"]]
    if any(path.exists() for path in paths):
        return ""
    also = "" if named else ", and KUBECONFIG is not set"
    return f"there is no {' or '.join(map(str, paths))}{also}"


def _inside_a_pod() -> bool:
    if os.environ.get("KUBECONFIG") or "KUBERNETES_SERVICE_HOST" not in os.environ:
        return False
    return not Path("~/.kube/config").expanduser().exists()
