"""Builds a bundle: reads bundle.yaml and the chart's source, writes the bundle's folder."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from tarsrelease.adapters.files.configuration import load_bundle_input, wrong_configuration
from tarsrelease.adapters.files.yaml_source import (
    Place,
    read_values,
    read_yaml,
    set_scalars,
    splice_scalars,
)
from tarsrelease.adapters.git.commits import source_of
from tarsrelease.adapters.helm.chart_package import EPOCH, package_chart
from tarsrelease.bundle.chart import laid_over
from tarsrelease.bundle.image_places import chart_defaults, places_of
from tarsrelease.bundle.texts import checksums_text, manifest_text, sha256
from tarsrelease.model.bundle import (
    CERTIFICATION,
    CHECKSUMS,
    MANIFEST,
    Chart,
    Image,
    Manifest,
    Migration,
)
from tarsrelease.model.bundle_input import INPUT, BundleInput, ImageInput
from tarsrelease.model.errors import UsageError
from tarsrelease.model.versions import label_of

_DOING = "building the bundle"
_UNFINISHED = ".part"
_VERSION_LINES = re.compile(r"^(version|appVersion):.*$", re.MULTILINE)


DigestOf = Callable[[ImageInput, str | None], str | None]
"""From an image and the digest that it had in the last build to its digest, None if unknown."""


def as_before(_: ImageInput, before: str | None) -> str | None:
    """The digest of the last build: no registry is asked."""
    return before


@dataclass(frozen=True)
class BuiltBundle:
    """A built bundle: `digests` is SHA-256 by path, `changed` the paths that got new bytes."""

    folder: Path
    manifest: Manifest
    digests: Mapping[str, str]
    changed: tuple[str, ...]


def build_bundle(
    source: Path,
    version: str,
    out: Path,
    described: Path | None = None,
    *,
    digest_of: DigestOf = as_before,
) -> BuiltBundle:
    """Build the bundle of `version` into `out`.

    `source` is the folder that holds the chart's; `described` the bundle.yaml, by default the one
    in `out`, and the files that it names lie beside it. `digest_of` gives the digest of an image
    that has none there. Raises `UsageError` where an input is missing, wrong or of another version,
    or where `out` holds a file that nothing names; nothing is written then.
    """
    description = described or out / INPUT
    wanted = load_bundle_input(description)
    if wanted.version != version:
        raise _refused(
            f"{description} has version {wanted.version}, requested is {version}",
            "the same version in both",
            "choose the right bundle with --bundle or --out",
        )
    contents = _named_files(wanted, description)
    chart_folder = source / wanted.chart
    name, files = _chart_files(
        chart_folder, wanted, [description.parent / file for file in wanted.values_files]
    )
    images = _images(wanted, files, digest_of, out)
    files["values.yaml"] = _with_images(files.get("values.yaml", b""), chart_folder, images)
    archive = f"{name}-{version}.tgz"
    contents[archive] = package_chart(name, files, _epoch())
    inputs = [chart_folder, *(description.parent / name for name in wanted.named_files)]
    manifest = _manifest(
        wanted, Chart(file=archive, name=name, version=version), images, contents
    ).model_copy(update={"source": source_of(inputs, version)})
    contents[MANIFEST] = manifest_text(manifest).encode()
    digests = {path: sha256(content) for path, content in contents.items()}
    contents[CHECKSUMS] = checksums_text(digests).encode()
    _refuse_strangers(out, {*contents, *(name + _UNFINISHED for name in contents)})
    return BuiltBundle(out, manifest, digests, _write(out, contents))


def _refused(found: str, expected: str, next_step: str) -> UsageError:
    return UsageError(doing=_DOING, found=found, expected=expected, next_step=next_step)


def _epoch() -> int:
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given and not given.isdigit():
        raise _refused(
            f"SOURCE_DATE_EPOCH is {given!r}",
            "seconds since 1970 (reproducible-builds.org/specs/source-date-epoch)",
            "unset it, or give it a whole number",
        )
    return int(given) if given else EPOCH


def _named_files(wanted: BundleInput, description: Path) -> dict[str, bytes]:
    contents = {}
    absent = []
    for name in wanted.named_files:
        path = description if name == INPUT else description.parent / name
        if path.is_file() and not path.is_symlink():
            contents[name] = path.read_bytes()
        else:
            absent.append(f"{description}: {path} is not a regular file")
    if absent:
        raise wrong_configuration(_DOING, absent, "add the file, or remove its name")
    return contents


def _chart_files(
    folder: Path, wanted: BundleInput, more: Sequence[Path]
) -> tuple[str, dict[str, bytes]]:
    """The chart's name and its files for the archive, with the version set and all values."""
    if not (folder / "Chart.yaml").is_file():
        raise _refused(
            f"{folder}/Chart.yaml does not exist",
            "the folder of a Helm chart's source",
            "check --source, and `chart` in bundle.yaml (a folder below it)",
        )
    files = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.is_symlink():
            raise _refused(
                f"{path} is a link", "a chart of regular files", "replace it with the file"
            )
        # Helm leaves hidden files out, too, but for its own list of what to ignore.
        if path.is_file() and (not hidden or relative.as_posix() == ".helmignore"):
            files[relative.as_posix()] = path.read_bytes()
    name, files["Chart.yaml"] = _with_version(files["Chart.yaml"], folder, wanted)
    if wanted.values_files:
        layers = [_values(files.get("values.yaml", b"{}"), f"{folder}/values.yaml")]
        layers += [_values(path.read_bytes(), str(path)) for path in more]
        files["values.yaml"] = yaml.safe_dump(reduce(laid_over, layers), sort_keys=False).encode()
    return name, files


def _values(content: bytes, path: str) -> dict[str, Any]:
    found = read_values(path, content)
    if isinstance(found, tuple):
        raise wrong_configuration(_DOING, found)
    return dict(found)


def _with_version(content: bytes, folder: Path, wanted: BundleInput) -> tuple[str, bytes]:
    """The chart's name, and Chart.yaml with the version.

    The appVersion gets it as image tags and labels have it, which allow no ``+``.
    """
    versions = {"version": wanted.version, "appVersion": label_of(wanted.version)}
    text = content.decode()
    text = _VERSION_LINES.sub(lambda match: f'{match[1]}: "{versions[match[1]]}"', text)
    if not re.search(r"^appVersion:", text, re.MULTILINE):
        text = f'{text.rstrip()}\nappVersion: "{versions["appVersion"]}"\n'
    data = yaml.safe_load(text)
    missing = [key for key, version in versions.items() if data.get(key) != version]
    name = wanted.chart_name or wanted.application
    if missing or data.get("name") != name:
        what = f"no line `{missing[0]}:`" if missing else f"the name {data.get('name')!r}"
        raise _refused(
            f"{folder}/Chart.yaml has {what}",
            f"name: {name}, and lines `version:` and `appVersion:` to set",
            "correct Chart.yaml (the values of the two lines do not matter, the build sets them), "
            "or give chart_name in bundle.yaml",
        )
    return name, text.encode()


def _images(
    wanted: BundleInput, files: Mapping[str, bytes], digest_of: DigestOf, out: Path
) -> tuple[Image, ...]:
    """The images with digests, and with the places in the chart's values that bundle.yaml names."""
    known = _digests_before(out)
    given: dict[str, str] = {}
    defaults = chart_defaults(files)
    images, unknown = [], []
    for image in wanted.images:
        reference = f"{image.name}:{image.tag}"
        digest = image.digest or given.get(reference) or digest_of(image, known.get(reference))
        if digest is None:
            unknown.append(f"{image.service} ({reference})")
            continue
        given[reference] = digest
        where = image.values
        images.append(
            Image(
                service=image.service,
                name=image.name,
                tag=image.tag,
                digest=digest,
                values=places_of(where, defaults) if isinstance(where, str) else where,
                tag_is_version=None if image.tag_is_version else False,
            )
        )
    if unknown:
        raise _refused(
            f"no digest of {', '.join(unknown)}",
            "the digest of each image, so that nothing else can be released under its tag",
            f"run it where the registry answers, or add --digest {unknown[0].partition(' ')[0]}"
            "=sha256:…",
        )
    return tuple(images)


def _digests_before(out: Path) -> dict[str, str]:
    """The digests of the last build into `out`, by name and tag."""
    try:
        manifest = Manifest.model_validate_json((out / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return {f"{image.name}:{image.tag}": image.digest for image in manifest.images}


def _with_images(content: bytes, folder: Path, images: Sequence[Image]) -> bytes:
    """values.yaml with each image's repository, tag and digest set in place; comments stay."""
    by_default: list[tuple[Place, str]] = []
    named: list[tuple[Place, str]] = []
    for image in images:
        changes = [(path, f'"{value}"') for path, value in image.pinned().items()]
        (by_default if image.values is None else named).extend(changes)
    text = content.decode()
    document = read_yaml(text, free=[()])
    if text.strip() and (document.findings or not isinstance(document.data, dict | None)):
        lines = [f"{folder}/values.yaml:{found}" for found in document.findings]
        raise wrong_configuration(_DOING, lines or [f"{folder}/values.yaml:1: is not a mapping"])
    try:
        return set_scalars(splice_scalars(text, by_default), named).encode()
    except KeyError as missing:
        raise _refused(
            f"{folder}/values.yaml has no {missing.args[0]}",
            "a block images: <service>: {repository, tag, digest} of plain scalars per image, or "
            "`values` at the image in bundle.yaml",
            "say under `values` where the chart's values have the image; if they have none, add "
            'the block, with "" for values that the build sets, and use it in the template; a list '
            "that only the environment's values have belongs into a file under `values_files` of "
            "bundle.yaml",
        ) from missing


def _manifest(
    wanted: BundleInput, chart: Chart, images: tuple[Image, ...], contents: Mapping[str, bytes]
) -> Manifest:
    return Manifest(
        schema_="tarsrelease/manifest/v1",
        application=wanted.application,
        version=wanted.version,
        min_previous_version=wanted.min_previous_version,
        chart=chart,
        canary_values=wanted.canary_values,
        rollout=wanted.rollout,
        images=images,
        hotfixes=wanted.hotfixes,
        migrations=tuple(
            Migration(**migration.model_dump(), sha256=sha256(contents[migration.file]))
            for migration in wanted.migrations
        ),
    )


def _refuse_strangers(out: Path, known: set[str]) -> None:
    strangers = sorted(
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if (path.is_symlink() or not path.is_dir())
        and path.relative_to(out).parts[0] != CERTIFICATION
        and path.relative_to(out).as_posix() not in known
    )
    if strangers:
        raise _refused(
            f"{out} has {', '.join(strangers)}, which bundle.yaml does not name",
            "only files that bundle.yaml names, because every file of a bundle is released",
            "add them to `files:` in bundle.yaml, or delete them",
        )


def _write(out: Path, contents: Mapping[str, bytes]) -> tuple[str, ...]:
    """Write changed files, SHA256SUMS last, so that verify refuses the rest of a killed build."""
    changed = []
    for name in contents:
        (out / (name + _UNFINISHED)).unlink(missing_ok=True)
    for name in sorted(contents, key=lambda name: (name == CHECKSUMS, name)):
        path = out / name
        if path.is_file() and path.read_bytes() == contents[name]:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = out / (name + _UNFINISHED)
        fresh.write_bytes(contents[name])
        fresh.replace(path)
        changed.append(name)
    return tuple(changed)
