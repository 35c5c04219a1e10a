"""Rehearse a product that is not the worked example: its own bundle, environment and Role.

A container image cannot run here, because there is no container runtime: a mapping file says which
command stands for each image. The environment is the product's own with the rehearsal's addresses,
and the previous version is an older bundle, or a copy of the bundle with a lower version.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import yaml

from tarsrelease.adapters.files.configuration import load_environment, load_manifest
from tarsrelease.adapters.helm.chart_package import package_chart
from tarsrelease.bundle.texts import checksums_text, manifest_text, sha256
from tarsrelease.model.base import Value
from tarsrelease.model.bundle import CHECKSUMS, MANIFEST, ROLLOUT, Manifest
from tarsrelease.model.errors import UsageError
from tarsrelease.model.rollout import ProportionSli, Rollout
from tarsrelease.model.versions import precedence
from tarsrelease.rehearsal import world
from tarsrelease.rehearsal.images import ImageEntry
from tarsrelease.rehearsal.paths import write_atomically

EARLIER = "0.0.0"
"""The version of the copy that is used as the previous release if there is no older bundle."""
_QUICK = {
    "any_time": True,
    "stage_duration": "20s",
    "max_extension": "2m",
    "promotion_look": "10s",
    "promotion_bake": "10s",
    "confidence": "50%",
    "false_pass": "90%",
}
_LIMITS = {"wait": "5m", "deploy": "2m"}
_ELSEWHERE = ("database", "notifications", "github", "staging")
"""What a rehearsal must not reach."""


class LocalImage(Value):
    """What runs for an image: `command`, a line for the shell or a list of arguments.

    A program with a relative path lies beside the mapping file.
    A list is the image's entry point: a container's `args` replace what follows its first element,
    and a container's `command` replaces all of it. `env` are variables that the image sets.
    """

    command: str | tuple[str, ...]
    env: dict[str, str] = {}

    def beside(self, folder: Path) -> Self:
        """The same with the program's path made absolute; its process has a folder of its own."""
        line = self.command
        program = line.split()[0] if isinstance(line, str) else line[0]
        if "/" not in program:
            return self
        whole = str((folder / program).absolute())
        if isinstance(line, str):
            return self.model_copy(update={"command": line.replace(program, whole, 1)})
        return self.model_copy(update={"command": (whole, *line[1:])})

    @property
    def argv(self) -> list[str]:
        """The argument vector; the shell's process becomes the command's."""
        if isinstance(self.command, str):
            return ["/bin/sh", "-c", f"exec {self.command}"]
        return list(self.command)


def read_images(file: Path) -> dict[str, LocalImage]:
    """The mapping file: by image name, with or without a tag, a command or a `LocalImage`.

    Raises UsageError for a file of another form.
    """
    doing = f"reading {file}"
    try:
        given = yaml.safe_load(file.read_text())
        return {
            str(name): LocalImage.model_validate(
                value if isinstance(value, dict) else {"command": value}
            ).beside(file.parent)
            for name, value in dict(given).items()
        }
    except (OSError, ValueError, TypeError, yaml.YAMLError) as problem:
        raise UsageError(
            doing=doing,
            found=str(problem),
            expected="images with their local commands, such as "
            "registry.example/shop: ./bin/shop --listen $POD_IP:8080",
            next_step="correct the file",
        ) from problem


def entries(manifests: Iterable[Manifest], local: Mapping[str, LocalImage]) -> list[ImageEntry]:
    """The entries of images.json for the bundles' images.

    Raises UsageError if the mapping lacks one.
    """
    found: list[ImageEntry] = []
    missing = []
    for image in dict.fromkeys(image for one in manifests for image in one.images):
        command = local.get(f"{image.name}:{image.tag}") or local.get(image.name)
        if command is None:
            missing.append(f"{image.name}:{image.tag}")
            continue
        env = {"PATH": os.environ.get("PATH", os.defpath), **command.env}
        found.append(
            ImageEntry(
                name=image.name, tag=image.tag, digest=image.digest, command=command.argv, env=env
            )
        )
    if missing:
        raise UsageError(
            doing="finding the programs of the rehearsal",
            found=f"no command for {', '.join(missing)}",
            expected="a local command for each image of the bundles",
            next_step="add it to the file of --images; the command must listen on $POD_IP, such as "
            f"{missing[0]}: ./bin/program --listen $POD_IP:8080",
        )
    return found


def add_images(file: Path, more: Sequence[ImageEntry]) -> None:
    """Put the entries first in images.json; the node agent reads a changed file again."""
    there = json.loads(file.read_text())["images"]
    kept = [each for each in there if each not in more]
    write_atomically(file, json.dumps({"images": [*more, *kept]}, indent=2) + "\n")


def environment(source: Path, work: Path, rollout: Rollout, overrides: Mapping[str, Any]) -> str:
    """The product's environment with the rehearsal cluster's addresses, as a file in `work`.

    Metrics come from the pods themselves, because nobody configured the rehearsal's Prometheus for
    this product; from that Prometheus only if an SLI needs a gateway's or mesh's metrics.
    """
    load_environment(str(source))
    content: dict[str, Any] = yaml.safe_load(source.read_text())
    for key in _ELSEWHERE:
        content.pop(key, None)
    content["kubernetes"]["context"] = world.CONTEXT
    gateway = content["gateway"]
    gateway["address"] = f"http://{world.ROUTER}"
    gateway.pop("tls", None)
    by_sides = rollout.sides is not None or any(
        isinstance(sli, ProportionSli) and sli.sides for sli in rollout.slis.values()
    )
    content["metrics"] = "prometheus" if by_sides else "pods"
    content["prometheus"] = {
        "url": f"http://{world.PROMETHEUS}",
        "scrape_interval": "5s",
        "timeout": "3s",
    }
    helm = content.get("helm") or {}
    if files := helm.get("values_files"):
        helm["values_files"] = [str((source.parent / file).absolute()) for file in files]
    content["limits"] = {**(content.get("limits") or {}), **_LIMITS}
    content["overrides"] = {**_QUICK, **(content.get("overrides") or {}), **overrides}
    target = work / source.name
    target.write_text(yaml.safe_dump(content, sort_keys=False))
    load_environment(str(target))
    return str(target)


def setup(environment_path: str) -> list[dict[str, Any]]:
    """The namespaces and the Gateway that the environment names."""
    place = load_environment(environment_path)
    gateway = place.gateway
    names = dict.fromkeys((place.kubernetes.namespace, gateway.namespace))
    listener = {
        "name": gateway.listener or "http",
        "protocol": "HTTP",
        "port": int(world.ROUTER.rpartition(":")[2]),
        "allowedRoutes": {"namespaces": {"from": "All"}},
    }
    return [
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names),
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": gateway.name, "namespace": gateway.namespace},
            "spec": {"gatewayClassName": "traefik", "listeners": [listener]},
        },
    ]


def previous_bundle(release: Path, work: Path) -> Path:
    """The newest older bundle of the application next to `release`, or a copy with `EARLIER`."""
    own = load_manifest(release / MANIFEST)
    older = []
    for path in release.absolute().parent.glob(f"*/{MANIFEST}"):
        try:
            manifest = Manifest.model_validate_json(path.read_bytes())
        except ValueError:
            continue
        if manifest.application == own.application and precedence(manifest.version) < precedence(
            own.version
        ):
            older.append((precedence(manifest.version), path.parent))
    return max(older)[1] if older else _copy(release, own, work / "previous")


def _copy(release: Path, manifest: Manifest, target: Path) -> Path:
    """A bundle of the same bytes under the version `EARLIER`."""
    target.mkdir(parents=True, exist_ok=True)
    archive = f"{manifest.chart.name}-{EARLIER}.tgz"
    chart = manifest.chart.model_copy(update={"file": archive, "version": EARLIER})
    earlier = manifest.model_copy(
        update={
            "version": EARLIER,
            "chart": chart,
            "min_previous_version": None,
            "migrations": (),
            "hotfixes": (),
            "rollout": ROLLOUT,
        }
    )
    rollout = yaml.safe_load((release / manifest.rollout).read_text())
    rollout |= {"version": EARLIER, "chart": archive}
    contents = {
        archive: _repacked((release / manifest.chart.file).read_bytes(), manifest.chart.name),
        manifest.canary_values: (release / manifest.canary_values).read_bytes(),
        ROLLOUT: yaml.safe_dump(rollout, sort_keys=False).encode(),
        MANIFEST: manifest_text(earlier).encode(),
    }
    sums = checksums_text({name: sha256(content) for name, content in contents.items()})
    for name, content in {**contents, CHECKSUMS: sums.encode()}.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
    return target


def _repacked(archive: bytes, name: str) -> bytes:
    files = {}
    with tarfile.open(fileobj=BytesIO(archive), mode="r:gz") as opened:
        for member in opened:
            file = opened.extractfile(member) if member.isfile() else None
            if file is not None:
                files[member.name.removeprefix(f"{name}/")] = file.read()
    metadata = yaml.safe_load(files["Chart.yaml"])
    metadata |= {"version": EARLIER, "appVersion": EARLIER}
    files["Chart.yaml"] = yaml.safe_dump(metadata, sort_keys=False).encode()
    return package_chart(name, files)
