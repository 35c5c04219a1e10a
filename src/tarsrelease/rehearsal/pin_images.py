"""Write the digests of the T.A.R.S. images into the bundles' descriptions.

``python -m tarsrelease.rehearsal.pin_images`` builds the images for both architectures, sets each
``digest:`` of release/*/bundle.yaml and records the layers in examples/tars/images.json; with
``--check`` it writes nothing and exits 1 where one differs.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from tarsrelease.rehearsal.gobuild import find_go, minimum_go
from tarsrelease.rehearsal.images import (
    VERSIONS,
    ImageBuildError,
    ImageEntry,
    layers_of,
    record_of,
    tars_digests,
)
from tarsrelease.rehearsal.oci import Descriptor
from tarsrelease.rehearsal.paths import cache_root, source_root

_FIELD = re.compile(r"^(\s+(?:- )?)(service|name|tag|digest): *(\S+)$")


def digests_of(entries: Iterable[ImageEntry]) -> dict[tuple[str, str], str]:
    """Digest by name and tag."""
    return {(entry["name"], entry["tag"]): entry["digest"] for entry in entries}


def pinned(text: str, digests: Mapping[tuple[str, str], str]) -> str:
    """bundle.yaml's text with the digests set; everything else stays as it is.

    Raises ValueError if it names an image that was not built, or none at all.
    """
    lines = []
    found: dict[str, str] = {}
    images = 0
    for line in text.splitlines(keepends=True):
        match = _FIELD.match(line.rstrip("\n"))
        if match is None:
            lines.append(line)
            continue
        indent, field, value = match.groups()
        found[field] = value
        if field == "digest":
            image = (found.get("name", ""), found.get("tag", ""))
            if image not in digests:
                raise ValueError(f"{':'.join(image)} is not among the images that are built")
            lines.append(f"{indent}digest: {digests[image]}\n")
            images += 1
            found = {}
        else:
            lines.append(line)
    if images == 0:
        raise ValueError("it pins no image by name, tag and digest")
    return "".join(lines)


def main(arguments: list[str]) -> int:
    """Pin, or check that all is pinned. Exit code 0, 1 (something differs) or 2."""
    if arguments not in ([], ["--check"]):
        print("usage: pin_images [--check]", file=sys.stderr)
        return 2
    root = source_root()
    services = root / "examples/tars/services"
    wrong = 0
    try:
        layers = _layers(services)
        references = [
            item for each in VERSIONS for item in tars_digests(each, layers[each]).items()
        ]
        digests = {
            (name, tag): digest
            for reference, digest in references
            for name, _, tag in [reference.rpartition(":")]
        }
        record = record_of(services)
        text = json.dumps(layers, indent=2) + "\n"
        if not record.exists() or record.read_text() != text:
            print(f"{record.relative_to(root)}: {'differs' if arguments else 'recorded'}")
            wrong = int(bool(arguments))
            if not arguments:
                record.write_text(text)
        for path in sorted(root.glob("release/*/bundle.yaml")):
            before = path.read_text()
            after = pinned(before, digests)
            if before == after:
                print(f"{path.relative_to(root)}: pinned")
            elif arguments:
                print(f"{path.relative_to(root)}: a digest differs from the image that is built")
                wrong = 1
            else:
                path.write_text(after)
                print(f"{path.relative_to(root)}: digests set; build the bundle anew")
    except (ImageBuildError, ValueError) as error:
        print(f"the digests could not be pinned: {error}", file=sys.stderr)
        return 2
    return wrong


def _layers(services: Path) -> dict[str, dict[str, Descriptor]]:
    """By version, the layers of every architecture, compiled anew (Go's cache makes it quick)."""
    go = str(find_go(cache_root(), minimum_go(services), _say))
    with tempfile.TemporaryDirectory() as folder:
        return {
            version: dict(
                sorted(layers_of(services, version, Path(folder) / "tars", _say, go=go).items())
            )
            for version in VERSIONS
        }


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
