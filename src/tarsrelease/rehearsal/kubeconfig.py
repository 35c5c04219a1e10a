"""Kubeconfig files with everything inside them, so that they can be copied."""

from __future__ import annotations

import base64
import json

from tarsrelease.rehearsal import world
from tarsrelease.rehearsal.certificates import KeyPair


def kubeconfig(authority: bytes, user: KeyPair, user_name: str) -> str:
    """The kubeconfig of one cluster, with the one context `world.CONTEXT`.

    JSON, which is YAML too: every reader of a kubeconfig takes it.
    """
    context = world.CONTEXT
    cluster = {
        "server": f"https://{world.API_SERVER}",
        "certificate-authority-data": _base64(authority),
    }
    credentials = {
        "client-certificate-data": _base64(user.certificate),
        "client-key-data": _base64(user.key),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": user_name, "user": credentials}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": user_name}}],
        "current-context": context,
    }
    return json.dumps(document, indent=2) + "\n"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
