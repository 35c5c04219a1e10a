"""Istio's definition of the VirtualService, from its Go module, checked by the module's sum."""

from __future__ import annotations

import json

import yaml

from tarsrelease.rehearsal.gobuild import GoBuild, find_go
from tarsrelease.rehearsal.paths import cache_root, locked, write_atomically

_MODULE = "istio.io/api"
_VERSION = "v1.32.0"
_DIGEST = "h1:37mJvg9I0biYZAEQF+MATs4FNeCpXEIVO3LFpVb6iNM="
_FILE = "kubernetes/customresourcedefinitions.gen.yaml"
_NAME = "virtualservices.networking.istio.io"


def virtual_service_crd() -> str:
    """The definition as JSON; fetched once into the cache."""
    target = cache_root() / "crds" / f"istio-virtualservice-{_VERSION}.json"
    with locked(target.parent / ".lock"):
        if not target.exists():
            go = GoBuild(find_go(cache_root(), (1, 21), print), target.parent, print)
            text = (go.module_folder(_MODULE, _VERSION, _DIGEST) / _FILE).read_text()
            found = [each for each in yaml.safe_load_all(text) if each]
            chosen = next(each for each in found if each["metadata"]["name"] == _NAME)
            write_atomically(target, json.dumps(chosen))
    return target.read_text()
