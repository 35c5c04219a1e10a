"""Read a release and an environment from files; report all mistakes at once, with lines."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from tarsrelease.adapters.files.findings import validated
from tarsrelease.adapters.files.yaml_source import (
    ANY,
    Document,
    Finding,
    Place,
    parse_yaml_file,
    read_yaml,
)
from tarsrelease.bundle.chart import laid_over
from tarsrelease.model.bundle import CHECKSUMS, MANIFEST, Manifest
from tarsrelease.model.bundle_input import BundleInput
from tarsrelease.model.checks import GaugeCheck
from tarsrelease.model.environment import Environment, Helm
from tarsrelease.model.errors import UsageError
from tarsrelease.model.overrides import apply_overrides
from tarsrelease.model.release import AS_WRITTEN, Release, RunOptions
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.versions import precedence
from tarsrelease.rollout.stage_list import with_duration, with_stages

M = TypeVar("M", bound=BaseModel)

ENVIRONMENTS = Path("environments")
RELEASES = Path("release")
_RELEASE = "reading the release"
_HANDED_ON: tuple[Place, ...] = (
    ("helm", "values"),
    ("helm", "canary_values"),
    ("targets", ANY, "helm", "values"),
    ("targets", ANY, "helm", "canary_values"),
)
_FLAGS: tuple[Place, ...] = (("feature_flags",),)


def load_environment(name_or_path: str) -> Environment:
    """The environment of this name in ./environments/, or in this file.

    Raises `UsageError` if the file does not exist or is invalid.
    """
    path = environment_file(name_or_path)
    environment, document = _load(path, Environment, "reading the environment", free=_HANDED_ON)
    if environment.name != path.stem:
        line = document.line_of(("name",))
        raise wrong_configuration(
            "reading the environment",
            [f"{path}:{line}: name: {environment.name!r} differs from the file name {path.name}"],
            "give both the same name",
        )
    targets = tuple(
        target.model_copy(update={"helm": _with_its_files(target.helm, path.parent)})
        if target.helm is not None
        else target
        for target in environment.targets
    )
    helm = _with_its_files(environment.helm, path.parent)
    return environment.model_copy(update={"helm": helm, "targets": targets})


def _with_its_files(helm: Helm, folder: Path) -> Helm:
    """With the values of `values_files` under its own values."""
    layers = [_mapping(folder / file, "reading the environment") for file in helm.values_files]
    values = reduce(laid_over, [*layers, helm.values])
    return helm.model_copy(update={"values": values})


@dataclass(frozen=True, slots=True)
class BundleFiles:
    """What a bundle's files say, without any environment."""

    folder: Path
    manifest: Manifest
    rollout: Rollout
    document: Document
    """The rollout with its lines."""
    canary_values: dict[str, Any]


def read_bundle(directory: str | Path) -> BundleFiles:
    """The files of the bundle. Raises `UsageError` if one is missing or invalid."""
    folder = Path(directory)
    if not folder.is_dir():
        raise UsageError(
            doing=_RELEASE,
            found=f"{folder} is not a folder",
            expected="a bundle, which is a folder with manifest.production.json and rollout.yaml",
            next_step=_known_releases(),
        )
    manifest = load_manifest(folder / MANIFEST)
    rollout, document = _load(folder / manifest.rollout, Rollout, _RELEASE, free=_FLAGS)
    values = folder / manifest.canary_values
    return BundleFiles(folder, manifest, rollout, document, _mapping(values, _RELEASE))


def load_release(
    directory: str | Path | BundleFiles,
    environment: Environment | None,
    choice: RunOptions = AS_WRITTEN,
) -> Release:
    """The bundle in `directory`, with the environment's overrides applied to its rollout.

    `choice` has the options of this run, which override both. Raises `UsageError` if a file is
    missing or invalid, or if bundle and environment do not agree.
    """
    files = directory if isinstance(directory, BundleFiles) else read_bundle(directory)
    folder, manifest, rollout = files.folder, files.manifest, files.rollout
    findings = list(_disagreements(manifest, rollout, files.document, environment))
    chart = folder / manifest.chart.file
    if not chart.is_file():
        findings.append(Finding(1, ("chart", "file"), f"{chart} does not exist"))
    if findings:
        raise wrong_configuration(
            _RELEASE, [f"{folder / manifest.rollout}:{found}" for found in findings]
        )
    if choice.stages is not None:
        rollout = with_stages(rollout, choice.stages)
    if environment is not None:
        rollout = apply_overrides(rollout, environment.overrides)
    if choice.stage_duration is not None:
        rollout = with_duration(rollout, choice.stage_duration)
    return Release(
        directory=str(folder),
        chart=str(chart),
        manifest=manifest,
        rollout=rollout,
        canary_values=files.canary_values,
        feature_flags=rollout.feature_flags if choice.feature_flags else {},
    )


def load_manifest(path: Path) -> Manifest:
    """Read manifest.production.json, as YAML, so that mistakes have lines."""
    return _load(path, Manifest, _RELEASE)[0]


def load_rollout(path: Path) -> Rollout:
    """Read rollout.yaml without any environment's overrides."""
    return _load(path, Rollout, "reading the rollout", free=_FLAGS)[0]


def load_bundle_input(path: Path) -> BundleInput:
    """Read bundle.yaml, the input of `bundle build`."""
    return _load(path, BundleInput, "reading bundle.yaml")[0]


def read_manifest(path: str, content: bytes) -> Manifest | tuple[str, ...]:
    """A manifest from its bytes, or one text per mistake (``path:line: …``)."""
    return _from_bytes(Manifest, path, content)


def read_rollout(path: str, content: bytes) -> Rollout | tuple[str, ...]:
    """A rollout from its bytes, or one text per mistake."""
    return _from_bytes(Rollout, path, content, _FLAGS)


def read_bundle_input(path: str, content: bytes) -> BundleInput | tuple[str, ...]:
    """A bundle.yaml from its bytes, or one text per mistake."""
    return _from_bytes(BundleInput, path, content)


def _from_bytes(
    model: type[M], path: str, content: bytes, free: Sequence[Place] = ()
) -> M | tuple[str, ...]:
    try:
        value = validated(model, read_yaml(content.decode(), free=free))
    except UnicodeDecodeError as problem:
        return (f"{path}: not UTF-8 at byte {problem.start}",)
    return tuple(f"{path}:{found}" for found in value) if isinstance(value, tuple) else value


def newest_release(releases: Path = RELEASES) -> Path:
    """The bundle with the highest version under `releases`. Raises `UsageError` if none is."""
    found = [
        (precedence(_said_version(path)), path.parent) for path in releases.glob(f"*/{MANIFEST}")
    ]
    if not found:
        raise UsageError(
            doing="finding the newest bundle",
            found=f"no {releases}/*/{MANIFEST} in {Path.cwd()}",
            expected="at least one bundle",
            next_step="use --release DIR, or build a bundle with `tarsrelease bundle build`",
        )
    return max(found)[1]


def _said_version(path: Path) -> str:
    """The version in a manifest. Raises `UsageError` if it has none."""
    try:
        said = str(json.loads(path.read_text(encoding="utf-8"))["version"])
        precedence(said)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise UsageError(
            doing="finding the bundle",
            found=f"{path} has no version: {type(problem).__name__}: {problem}",
            expected="a manifest written by `tarsrelease bundle build`",
            next_step="use --release DIR, or build this bundle again",
        ) from problem
    return said


def release_of(version: str, releases: Path = RELEASES) -> Path:
    """The bundle of this version under `releases`. Raises `UsageError` if none is."""
    for path in sorted(releases.glob(f"*/{MANIFEST}")):
        if _said_version(path) == version:
            return path.parent
    raise UsageError(
        doing=f"finding the bundle of {version}",
        found=f"none in {releases} ({Path.cwd()})",
        expected=f"the bundle of {version}",
        next_step="use --release DIR, or check out the branch that has it",
    )


def _load(
    path: Path, model: type[M], doing: str, *, free: Sequence[Place] = ()
) -> tuple[M, Document]:
    try:
        document = parse_yaml_file(path, free=free)
    except FileNotFoundError:
        raise UsageError(
            doing=doing,
            found=f"{path} does not exist",
            expected=f"the file {path.name}",
            next_step="check the folder's name, or create the file (see `tarsrelease schema`)",
        ) from None
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(
            doing=doing,
            found=f"{path} cannot be read: {problem}",
            expected="a UTF-8 text file",
            next_step="make it readable for this user, as UTF-8",
        ) from problem
    value = validated(model, document)
    if isinstance(value, tuple):
        raise wrong_configuration(doing, [f"{path}:{found}" for found in value])
    return value, document


def wrong_configuration(
    doing: str,
    lines: Sequence[str],
    next_step: str = "correct the file; nothing was changed",
) -> UsageError:
    """One UsageError for all mistakes, one per line (``file:line: where: what``)."""
    count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    return UsageError(
        doing=doing,
        found="\n".join((count, *lines)),
        expected="configuration that matches its schema (see `tarsrelease schema`)",
        next_step=next_step,
    )


def _mapping(path: Path, doing: str) -> dict[str, Any]:
    try:
        document = parse_yaml_file(path, free=[()])
    except (OSError, UnicodeDecodeError) as problem:
        raise wrong_configuration(doing, [f"{path}: cannot be read: {problem}"]) from problem
    if document.findings:
        raise wrong_configuration(doing, [f"{path}:{found}" for found in document.findings])
    if not isinstance(document.data, dict):
        raise wrong_configuration(doing, [f"{path}:1: must hold a mapping of Helm values"])
    return document.data


def environment_file(name_or_path: str) -> Path:
    named = Path(name_or_path)
    if "/" in name_or_path or named.suffix in {".yaml", ".yml"}:
        return named
    path = ENVIRONMENTS / f"{name_or_path}.yaml"
    if path.is_file():
        return path
    known = sorted(file.stem for file in ENVIRONMENTS.glob("*.yaml"))
    near = difflib.get_close_matches(name_or_path, known, n=1)
    advice = f"did you mean {near[0]}? " if near else ""
    raise UsageError(
        doing="reading the environment",
        found=f"{path} does not exist" + ("" if ENVIRONMENTS.is_dir() else f" in {Path.cwd()}"),
        expected=f"one of: {', '.join(known)}" if known else "a file in ./environments/",
        next_step=f"{advice}--environment takes a name in ./environments/ or a path to a file",
    )


def _known_releases() -> str:
    known = sorted(str(path.parent) for path in RELEASES.glob(f"*/{CHECKSUMS}"))
    return f"use --release with a bundle's folder; found: {', '.join(known) or 'none'}"


def _disagreements(
    manifest: Manifest, rollout: Rollout, document: Document, environment: Environment | None
) -> list[Finding]:
    findings = []

    def find(place: Place, problem: str) -> None:
        findings.append(Finding(document.line_of(place), place, problem))

    for name, written, other in (
        ("application", rollout.application, manifest.application),
        ("version", rollout.version, manifest.version),
        ("chart", rollout.chart, manifest.chart.file),
        ("canary_values", rollout.canary_values, manifest.canary_values),
    ):
        if written != other:
            find((name,), f"{written!r}, but the manifest says {other!r}")
    if environment is None:
        return findings
    hosts = environment.gateway.hostnames
    for i, service in enumerate(rollout.services):
        for j, host in enumerate(service.hosts):
            if host not in hosts:
                known = ", ".join(sorted(hosts))
                find(
                    ("services", i, "hosts", j),
                    f"{host!r} is not a key of gateway.hostnames in environment "
                    f"{environment.name} (it has {known})",
                )
    elsewhere = environment.pod_metrics.services if environment.pod_metrics else {}
    for unknown in sorted(elsewhere.keys() - {service.name for service in rollout.services}):
        find(
            ("services",),
            f"environment {environment.name} has pod_metrics.services.{unknown}, "
            "which is not a service of this release",
        )
    overrides = environment.overrides
    checks = [check for stage in rollout.stages for check in stage.checks]
    for table in ("gauge_limits", "bad_share_limits"):
        known_ids = {check.id for check in checks if check.limits == table}
        for unknown in sorted(set(overrides.limits(table)) - known_ids):
            find(
                ("stages",),
                f"environment {environment.name} overrides {unknown} in {table}, "
                "which is not a check with such a limit",
            )
    for gauge in {check.id: check for check in checks if isinstance(check, GaugeCheck)}.values():
        limit = overrides.gauge_limits.get(gauge.id, gauge.limit)
        if limit.unit != gauge.limit.unit:
            find(
                ("stages",),
                f"environment {environment.name} overrides {gauge.id} in {limit.unit}, "
                f"and its limit is in {gauge.limit.unit}",
            )
    return findings
