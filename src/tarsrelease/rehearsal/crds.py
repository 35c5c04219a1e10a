"""The Gateway API's resource definitions, from its Go module, as one JSON list in the cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import yaml

from tarsrelease.rehearsal.gobuild import GoBuild, find_go
from tarsrelease.rehearsal.paths import Say, locked, write_atomically

_MODULE: Final = "sigs.k8s.io/gateway-api"
_VERSION: Final = "v1.6.3"
_DIGEST: Final = "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc="
# Any Go since 1.21 can fetch modules; nothing is compiled here.
_OLDEST_GO: Final = (1, 21)


def gateway_crds(cache: Path, say: Say) -> Path:
    """The file with every definition of the standard channel, written if missing.

    JSON, because parsing YAML would delay the cluster's start by a second.
    """
    target = cache / "crds" / f"gateway-api-{_VERSION}.json"
    if target.exists():
        return target
    with locked(target.parent / ".lock"):
        if not target.exists():
            say(f"fetching the Gateway API's definitions {_VERSION}")
            go = GoBuild(find_go(cache, _OLDEST_GO, say), target.parent, say)
            folder = go.module_folder(_MODULE, _VERSION, _DIGEST) / "config" / "crd" / "standard"
            documents = [
                document
                for file in sorted(folder.glob("*.yaml"))
                for document in yaml.safe_load_all(file.read_text())
                if document is not None
            ]
            write_atomically(target, json.dumps(documents))
    return target
