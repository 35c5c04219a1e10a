"""Registry credentials: from a variable, else from `docker login` and its credential helpers.

The file is that of Docker's command line (``config.json`` in ``$DOCKER_CONFIG`` or ``~/.docker``);
helpers are the programs ``docker-credential-NAME`` that it names, asked for one registry at a time
and only when that registry wants to know who we are.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tarsrelease.adapters.child_environment import for_logins
from tarsrelease.model.errors import UsageError
from tarsrelease.model.format import duration

CREDENTIALS = "TARSRELEASE_REGISTRY_AUTH"
"""Names the variable with ``host=user:password``, several of them separated by commas."""

Login = tuple[str, str]
"""User and password."""

_LONGEST = 10.0
"""Seconds that a helper may take; one that asks a person would wait for ever."""
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_FOUND = "credentials not found"  # docker-credential-helpers, credentials/error.go
_TOKEN_USER = "<token>"  # noqa: S105 - what a helper writes for an identity token
_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_HUB_KEY = "https://index.docker.io/v1/"


class Logins:
    """Logins by the registry's host (with its port, where it has one)."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        """Raises UsageError for a variable of another form; the file is read when it is needed."""
        self._variables = variables
        self._said = _of_variable(variables.get(CREDENTIALS, ""))
        self._known: dict[str, Login | None] = {}

    def of(self, host: str) -> Login | None:
        """The login, None if there is none. Raises UsageError if it cannot be read."""
        if host not in self._known:
            self._known[host] = self._said.get(host) or self._of_docker(host)
        return self._known[host]

    def _of_docker(self, host: str) -> Login | None:
        path = self._file()
        if path is None:
            return None
        try:
            data: Any = json.loads(path.read_text(encoding="utf-8"))
            helpers, auths = data.get("credHelpers") or {}, data.get("auths") or {}
            helper = _entry(helpers, host) or data.get("credsStore")
            entry = _entry(auths, host)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, AttributeError) as problem:
            raise _wrong(f"{path} cannot be read: {type(problem).__name__}") from problem
        if helper:
            found = self._of_helper(str(helper), _HUB_KEY if host in _HUB else host)
            if found is not None:
                return found
        return None if entry is None else _of_entry(entry, f"the entry for {host} in {path}")

    def _file(self) -> Path | None:
        folder, home = self._variables.get("DOCKER_CONFIG"), self._variables.get("HOME")
        if folder:
            return Path(folder) / "config.json"
        return Path(home) / ".docker" / "config.json" if home else None

    def _of_helper(self, name: str, server: str) -> Login | None:
        """The helper's output is never shown, because it may hold a password."""
        called = f"docker-credential-{name}"
        program = shutil.which(called, path=self._variables.get("PATH", ""))
        if _HELPER.fullmatch(name) is None or program is None:
            raise _wrong(f"{called[:80]!r} is not on the PATH")
        try:
            done = subprocess.run(
                [program, "get"],
                input=server,
                env=for_logins(variables=self._variables),
                capture_output=True,
                text=True,
                check=False,
                timeout=_LONGEST,
            )
        except subprocess.TimeoutExpired as problem:
            raise _wrong(f"{called} gave no answer within {duration(_LONGEST)}") from problem
        except (OSError, ValueError) as problem:
            raise _wrong(f"{called} cannot be run: {type(problem).__name__}") from problem
        if done.returncode != 0:
            if _NOT_FOUND in done.stdout + done.stderr:
                return None
            raise _wrong(f"{called} ended with {done.returncode}")
        try:
            said = json.loads(done.stdout)
            login = (str(said["Username"]), str(said["Secret"]))
        except (ValueError, KeyError, TypeError) as problem:
            raise _wrong(f"{called} printed no login") from problem
        if login[0] == _TOKEN_USER:
            raise _wrong(f"{called} keeps an identity token, which is not supported")
        return login


def _entry(entries: Mapping[str, Any], host: str) -> Any:
    """The one for the host; old files have ``https://host/v1/`` for it."""
    hosts = _HUB if host in _HUB else {host}
    for key, value in entries.items():
        if (urlsplit(key).netloc if "://" in key else key.partition("/")[0]) in hosts:
            return value
    return None


def _of_entry(entry: Mapping[str, Any], where: str) -> Login | None:
    """None for an empty one, which only says that a helper knows."""
    try:
        if entry.get("identitytoken"):
            raise _wrong(f"{where} is an identity token, which is not supported")
        text = base64.b64decode(entry.get("auth") or "", validate=True).decode()
        user, _, password = text.rstrip("\0").partition(":")
        user = user or str(entry.get("username") or "")
        password = password or str(entry.get("password") or "")
    except (AttributeError, binascii.Error, ValueError) as problem:
        raise _wrong(f"{where} is not a login") from problem
    return (user, password) if user else None


def _of_variable(text: str) -> dict[str, Login]:
    found = {}
    for item in filter(None, text.split(",")):
        host, equals, login = item.partition("=")
        user, colon, password = login.partition(":")
        if not (equals and colon and host and user):
            raise UsageError(
                doing=f"reading {CREDENTIALS}",
                found="an entry of another form (it is not shown, as it may hold a password)",
                expected="host=user:password, several separated by commas",
                next_step=f"correct {CREDENTIALS}, or unset it",
            )
        found[host.strip()] = (user, password)
    return found


def _wrong(found: str) -> UsageError:
    return UsageError(
        doing="reading a registry's login",
        found=found,
        expected="a login stored by `docker login`",
        next_step=f"log in again, or set {CREDENTIALS}=host=user:password",
    )
