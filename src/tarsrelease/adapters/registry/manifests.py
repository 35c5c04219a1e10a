"""Container registries over their HTTP protocol (OCI distribution-spec 1.1), read only.

Token authentication is that of Docker's registry and of GHCR: 401 names a realm, the realm gives a
token, the token is sent as Bearer. A password is only ever sent to the registry's own realm.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
import threading
from collections.abc import Mapping
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import httpx

from tarsrelease.adapters.http.client import Client, TooLargeError
from tarsrelease.adapters.http.tls import trust
from tarsrelease.adapters.registry.credentials import CREDENTIALS, Login, Logins
from tarsrelease.bundle.checksum_parser import shown
from tarsrelease.model.connections import ClientTls
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.verification import INDEXES, LARGEST_MANIFEST, MANIFESTS, Fetched

AUTHORITY = "TARSRELEASE_REGISTRY_CA"
"""Names the variable with the registry's own certificate authority: a PEM file's path or text."""
_DOING = "querying the registry"
_PARAMETER = re.compile(r'([a-zA-Z_]+)="([^"]*)"')
_LONGEST = 10.0
_ATTEMPTS = 2
_TOKEN = 2**20
_REFUSAL = 64 * 2**10
_REDIRECTS = {301, 302, 303, 307, 308}


class HttpRegistry:
    """The port `Registry`. Loopback hosts are asked by http, all others by https."""

    def __init__(
        self,
        *,
        variables: Mapping[str, str] = os.environ,
        timeout: float = _LONGEST,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._client = Client(
            seconds=timeout,
            largest=LARGEST_MANIFEST,
            verify=_verification(variables),
            headers={"Accept-Encoding": "identity"},
            transport=transport,
        )
        self._seconds = timeout
        self._logins = Logins(variables)
        self._tokens: dict[tuple[str, str], str] = {}
        self._silent: dict[str, str] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def manifest(self, name: str, reference: str) -> Fetched | None:
        """See `Registry.manifest`."""
        answer = self._get(
            name,
            f"manifests/{reference}",
            LARGEST_MANIFEST,
            accept=", ".join((*INDEXES, *MANIFESTS)),
        )
        if answer is None:
            return None
        headers, content = answer
        return Fetched(
            content, headers.get("content-type", ""), headers.get("docker-content-digest")
        )

    def blob(self, name: str, digest: str, largest: int) -> bytes | None:
        """See `Registry.blob`."""
        answer = self._get(name, f"blobs/{digest}", largest)
        return answer[1] if answer else None

    def has_blob(self, name: str, digest: str) -> bool:
        """See `Registry.has_blob`."""
        return self._get(name, f"blobs/{digest}", 0, method="HEAD") is not None

    def _get(
        self, name: str, path: str, largest: int, *, accept: str = "*/*", method: str = "GET"
    ) -> tuple[httpx.Headers, bytes] | None:
        """Headers and content, None for 404. A token that is refused is asked for once more."""
        host, repository = _place(name)
        url = f"{_scheme(host)}://{host}/v2/{repository}/{path}"
        for attempt in range(3):
            token = self._tokens.get((host, repository))
            headers = {"Accept": accept, "Accept-Encoding": "identity"}
            if token:
                headers["Authorization"] = token
            status, answered, content = self._send(method, url, headers, host, largest)
            if status == 200:
                return answered, content
            if status == 404:
                return None
            if status != 401 or attempt == 2:
                raise _refused(host, repository, status, self._logins.of(host))
            self._tokens[host, repository] = self._authorization(
                answered.get("www-authenticate", ""), host, repository
            )
        raise AssertionError("the loop ends by itself")

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], host: str, largest: int
    ) -> tuple[int, httpx.Headers, bytes]:
        """One request; blobs may be redirected to storage, which gets no token of ours."""
        if host in self._silent:
            raise _unreachable(host, self._silent[host])
        deadline, asked = monotonic() + self._seconds, url
        try:
            for _ in range(4):
                answer = self._client.request(
                    method,
                    url,
                    headers=dict(headers),
                    # A refusal's text may be longer than a small blob.
                    largest=max(largest, _REFUSAL),
                    deadline=deadline,
                    attempts=_ATTEMPTS,
                )
                if answer.status in _REDIRECTS and "location" in answer.headers:
                    before, goal = httpx.URL(url), httpx.URL(url).join(answer.headers["location"])
                    if goal.scheme != "https" and _scheme(goal.netloc.decode()) != "http":
                        raise _unreachable(host, f"it redirects to {goal.scheme}")
                    if (goal.scheme, goal.netloc) != (before.scheme, before.netloc):
                        headers = {k: v for k, v in headers.items() if k != "Authorization"}
                    url = str(goal)
                    continue
                if answer.status == 429 or answer.status >= 500:
                    raise _unreachable(host, f"it answers {answer.status}")
                if answer.status == 401 and httpx.URL(url).netloc != httpx.URL(asked).netloc:
                    # A password for the registry is no answer to somebody else's question.
                    raise _unreachable(host, f"it redirects to {url}, which asks for a login")
                if answer.status == 200 and len(answer.content) > largest:
                    raise _unreachable(host, f"its answer has more than {largest} bytes")
                return answer.status, answer.headers, answer.content
        except TooLargeError as problem:
            raise _unreachable(host, str(problem)) from problem
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as problem:
            why = str(problem) or type(problem).__name__
            with self._lock:  # the other images of a registry that is silent need not wait, too
                self._silent[host] = why
            raise _unreachable(host, why) from problem
        raise _unreachable(host, "too many redirects")

    def _authorization(self, challenge: str, host: str, repository: str) -> str:
        """The Authorization header that a 401's challenge asks for."""
        scheme, _, rest = challenge.partition(" ")
        login = self._logins.of(host)
        if scheme.lower() == "basic" and login:
            return "Basic " + base64.b64encode(":".join(login).encode()).decode()
        said = dict(_PARAMETER.findall(rest))
        realm = said.get("realm", "")
        if scheme.lower() != "bearer":
            raise _refused(host, repository, 401, login)
        if not _is_own(host, realm):
            # Elsewhere, only a login that was given for that very place.
            login = self._logins.of(urlsplit(realm).netloc) if _may_be_asked(realm) else None
            if login is None:
                raise _elsewhere(host, realm)
        query = {
            "service": said.get("service", host),
            "scope": f"repository:{repository}:pull",
        }
        token = self._token(realm, query, login, host)
        if not token:
            raise _refused(host, repository, 401, login)
        return f"Bearer {token}"

    def _token(
        self,
        realm: str,
        query: Mapping[str, str],
        login: Login | None,
        host: str,
    ) -> str | None:
        auth = httpx.BasicAuth(*login) if login else None
        try:
            answer = self._client.get(
                realm, params=dict(query), auth=auth, largest=_TOKEN, attempts=_ATTEMPTS
            )
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise _unreachable(host, f"its token service: {problem}") from problem
        if answer.status == 429 or answer.status >= 500:
            raise _unreachable(host, f"its token service answers {answer.status}")
        if answer.status != 200:
            return None
        try:
            said: Any = answer.json()
        except ValueError:
            return None
        found = (said.get("token") or said.get("access_token")) if isinstance(said, dict) else None
        return found if isinstance(found, str) and found.isascii() and found.isprintable() else None


def _verification(variables: Mapping[str, str]) -> ssl.SSLContext | bool:
    if not variables.get(AUTHORITY):
        return True
    return trust(ClientTls(ca_env=AUTHORITY), "the registry", "the registry", variables)


def _place(name: str) -> tuple[str, str]:
    """The host that serves the image, and its repository there."""
    host, _, repository = name.partition("/")
    if host == "docker.io":  # as Docker itself does: the name is no server
        return "registry-1.docker.io", repository if "/" in repository else f"library/{repository}"
    return host, repository


def _scheme(host: str) -> str:
    name = urlsplit(f"//{host}").hostname or ""
    local = name in {"localhost", "::1"} or re.fullmatch(r"127(\.\d{1,3}){3}", name)
    return "http" if local else "https"


_REALMS = {
    "registry-1.docker.io": "auth.docker.io",
    "registry.gitlab.com": "gitlab.com",
}
"""Where a registry's token service has another host; the registries' own documentation."""


def _is_own(host: str, realm: str) -> bool:
    """Whether the registry's password may be sent to the realm: to host and port of the registry
    itself, or to its known token service. Two names of one domain may belong to two people.
    """
    goal = urlsplit(realm)
    if not _may_be_asked(realm):
        return False
    own = urlsplit(f"//{host}").hostname or ""
    local = _scheme(host) == "http" and goal.hostname == own  # this machine's own, on any port
    return goal.netloc in (host, _REALMS.get(host)) or local


def _may_be_asked(realm: str) -> bool:
    goal = urlsplit(realm)
    return goal.scheme == "https" or (goal.scheme == "http" and _scheme(goal.netloc) == "http")


def _unreachable(host: str, why: str) -> UnreachableError:
    return UnreachableError(
        doing=_DOING,
        found=f"cannot reach {host}: {why}",
        expected="a registry that answers",
        next_step="check that this machine can reach it, then run this command again",
    )


def _elsewhere(host: str, realm: str) -> UsageError:
    place = urlsplit(realm).netloc
    return UsageError(
        doing=_DOING,
        found=f"{host} names {shown(realm) or 'nothing'} as its token service, which is elsewhere",
        expected="a token service on the registry's own host and port; a password is sent to no "
        "other",
        next_step=f"if it is the right one, set {CREDENTIALS} to {shown(place)}=user:password",
    )


def _refused(host: str, repository: str, status: int, login: Login | None) -> UsageError:
    how = "with the given password" if login else f"without a password ({CREDENTIALS})"
    return UsageError(
        doing=_DOING,
        found=f"{host} refused to read {repository} {how}: status {status}",
        expected="the right to pull",
        next_step=f"docker login {host} as a user who may pull, or set {CREDENTIALS} to "
        f"{host}=user:password",
    )
