"""Which values must never show: found by the names that the environment file gives, and by key."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

_SECRET_KEYS = {
    "token",
    "password",
    "client-key-data",
    "id-token",
    "refresh-token",
    "access-token",
    "client-secret",
}
_NO_SECRETS = {"username_env", "ca_env", "certificate_env"}
_LOGINS = "TARSRELEASE_REGISTRY_AUTH"
_OWN = ("GITHUB_TOKEN", "GH_TOKEN", _LOGINS)
_LARGEST = 4 * 2**20
"""Bytes of an environment file: some thousand targets."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_IN_A_DSN = re.compile(r"""\bpassword\s*=\s*('(?:[^'\\]|\\.)*'|\S+)""")


def secrets_of_environment(file: Path, variables: Mapping[str, str]) -> list[str]:
    """The values of all variables that the file names under a key ending in ``_env``.

    Not of names and certificates: a short name would be starred out wherever it stands. Of an
    address with a password in it the password, too, as it is written and as it is meant.
    """
    names = {*_OWN, *_variable_names(_parsed(file))}
    found = [variables[name] for name in sorted(names) if variables.get(name)]
    logins = (item.partition(":")[2] for item in variables.get(_LOGINS, "").split(","))
    return [*found, *filter(None, logins), *(part for value in found for part in _passwords(value))]


def secrets_of_kubeconfig(text: str) -> list[str]:
    """The tokens, passwords and keys that stand in a kubeconfig."""
    try:
        return list(_under_secret_keys(yaml.load(text, _LOADER)))  # noqa: S506 - a safe loader
    except (yaml.YAMLError, RecursionError):
        return []


def environment_file(name: str) -> Path:
    """As the command line finds it: a name in ./environments/, or a path."""
    return Path(name) if name.endswith((".yaml", ".yml")) else Path("environments") / f"{name}.yaml"


def _parsed(file: Path) -> Any:
    try:
        if os.path.getsize(file) > _LARGEST:  # noqa: PTH202 - one call, one error
            return None
        return yaml.load(file.read_text("utf-8"), _LOADER)  # noqa: S506 - a safe loader
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None  # the command itself says what is wrong with it


def _variable_names(document: Any) -> Iterator[str]:
    for key, value in _entries(document):
        if key.endswith("_env") and key not in _NO_SECRETS:
            yield value


def _under_secret_keys(document: Any) -> Iterator[str]:
    for key, value in _entries(document):
        if key in _SECRET_KEYS:
            yield value


def _entries(document: Any) -> Iterator[tuple[str, str]]:
    """Every key with a text under it. A node is entered once, however many aliases lead to it."""
    seen: set[int] = set()
    nodes = [document]
    while nodes:
        node = nodes.pop()
        if not isinstance(node, (dict, list)) or id(node) in seen:
            continue
        seen.add(id(node))
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(value, str):
                yield str(key), value
            else:
                nodes.append(value)


def _passwords(value: str) -> Iterator[str]:
    try:
        password = urlsplit(value).password
    except ValueError:
        password = None
    if password:
        yield password
        yield unquote(password)
    for match in _IN_A_DSN.finditer(value):
        yield match[1].strip("'")
