"""Logins as Docker keeps them, at a real registry that lets nobody in without a password."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from test_verify_registry import Place, check, needs_registry, pushed, serving

from tarsrelease.adapters.registry import credentials
from tarsrelease.adapters.registry.credentials import CREDENTIALS, Logins
from tarsrelease.adapters.registry.manifests import HttpRegistry
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.outcome import Status

HASHED = "$2b$05$2l6hvaLYFzX2R8Y.kIrSv.GZbYwU0EcjAaSZ1ASynUgTwC.7m801e"  # bcrypt of "secret"
AUTH = base64.b64encode(b"somebody:secret").decode()
WRONG = base64.b64encode(b"somebody:other").decode()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("registry")
    passwords = folder / "htpasswd"
    passwords.write_text(f"somebody:{HASHED}\n")
    with serving(folder, {"htpasswd": {"realm": "demo", "path": str(passwords)}}) as host:
        yield pushed(host, folder, {"Authorization": f"Basic {AUTH}"})


def docker(tmp_path: Path, config: dict[str, Any], helper: str = "") -> dict[str, str]:
    """Variables of somebody whose Docker has this configuration; `helper` is a shell script."""
    home = tmp_path / "home"
    (home / ".docker").mkdir(parents=True)
    (home / ".docker" / "config.json").write_text(json.dumps(config))
    programs = tmp_path / "bin"
    programs.mkdir()
    if helper:
        path = programs / "docker-credential-test"
        path.write_text(f"#!/bin/sh\n{helper}\n")
        path.chmod(0o755)
    return {"HOME": str(home), "PATH": f"{programs}:/usr/bin:/bin"}


GIVES = """
read server; echo "$1 $server" >> "$HOME/asked"
printf '{"ServerURL": "%s", "Username": "somebody", "Secret": "secret"}' "$server"
"""


@needs_registry
@pytest.mark.parametrize("key", ["{}", "http://{}/v1/", "https://{}", "{}/v2/"])
def test_docker_login_is_enough(guarded: Place, tmp_path: Path, key: str) -> None:
    variables = docker(tmp_path, {"auths": {key.format(guarded.host): {"auth": AUTH}}})
    assert check(guarded.image(), variables=variables).status is Status.PASS


@needs_registry
@pytest.mark.parametrize("how", ["credHelpers", "credsStore"])
def test_a_helper_is_asked_for_this_registry_once(guarded: Place, tmp_path: Path, how: str) -> None:
    config: dict[str, Any] = {"auths": {guarded.host: {}}, "credsStore": "test"}
    if how == "credHelpers":
        config = {"credHelpers": {guarded.host: "test"}, "credsStore": "absent"}
    variables = docker(tmp_path, config, GIVES)
    found = check(guarded.image(), layers=True, variables=variables)
    assert found.status is Status.PASS, found.reason
    assert (tmp_path / "home/asked").read_text() == f"get {guarded.host}\n"


@needs_registry
def test_the_variable_goes_before_the_file(guarded: Place, tmp_path: Path) -> None:
    variables = docker(tmp_path, {"auths": {guarded.host: {"auth": WRONG}}})
    found = check(guarded.image(), variables=variables)
    assert found.status is Status.SKIPPED
    assert "with the given password: status 401" in found.reason
    variables[CREDENTIALS] = f"{guarded.host}=somebody:secret"
    assert check(guarded.image(), variables=variables).status is Status.PASS


@needs_registry
@pytest.mark.parametrize(
    ("config", "helper", "said"),
    [
        ({}, "", "without a password"),
        ({"auths": {"ghcr.io": {"auth": AUTH}}}, "", "without a password"),
        ({"credsStore": "test"}, "echo credentials not found in native keychain; exit 1",
         "without a password"),
        ({"credsStore": "test"}, "echo secret; exit 3", "docker-credential-test ended with 3"),
        ({"credsStore": "test"}, "echo secret", "docker-credential-test printed no login"),
        ({"credsStore": "test"}, 'echo \'{"Username": "<token>", "Secret": "secret"}\'',
         "an identity token, which is not supported"),
        ({"credsStore": "test"}, "exec sleep 60", "gave no answer within"),
        ({"credsStore": "absent"}, "", "'docker-credential-absent' is not on the PATH"),
        ({"credsStore": "../../bin/sh"}, "", "is not on the PATH"),
        ({"auths": {"HOST": {"auth": "?"}}}, "", "is not a login"),
        ({"auths": {"HOST": {"identitytoken": "secret"}}}, "", "an identity token"),
        ({"auths": []}, "", "without a password"),
        ({"auths": ["secret"]}, "", "config.json cannot be read"),
    ],
)  # fmt: skip
def test_where_there_is_no_login_it_is_not_checked_and_nothing_is_shown(
    guarded: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: dict[str, Any],
    helper: str,
    said: str,
) -> None:
    monkeypatch.setattr(credentials, "_LONGEST", 0.5 if "sleep" in helper else 10.0)
    named = json.loads(json.dumps(config).replace("HOST", guarded.host))
    found = check(guarded.image(), variables=docker(tmp_path, named, helper))
    assert found.status is Status.SKIPPED
    assert said in found.reason
    assert "secret" not in found.reason


def test_who_lets_everybody_in_is_asked_without_any_login(tmp_path: Path) -> None:
    """GHCR's flow for a public image: a token for the scope, given to nobody in particular."""
    seen: list[tuple[str, str | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        given = request.headers.get("Authorization")
        seen.append((str(request.url), given))
        if request.url.path == "/token":
            return httpx.Response(200, json={"token": "anonymous"})
        if given != "Bearer anonymous":
            challenge = (
                'Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:o/n:pull"'
            )
            return httpx.Response(401, headers={"www-authenticate": challenge})
        return httpx.Response(200, content=b"{}", headers={"content-type": "x"})

    variables = docker(tmp_path, {"auths": {"docker.io": {"auth": AUTH}}})
    registry = HttpRegistry(variables=variables, transport=httpx.MockTransport(answer))
    assert registry.manifest("ghcr.io/o/n", "v1") is not None
    assert seen == [
        ("https://ghcr.io/v2/o/n/manifests/v1", None),
        ("https://ghcr.io/token?service=ghcr.io&scope=repository%3Ao%2Fn%3Apull", None),
        ("https://ghcr.io/v2/o/n/manifests/v1", "Bearer anonymous"),
    ]
    seen.clear()
    with pytest.raises(UsageError):  # its realm is another's: the password stays here
        registry.manifest("docker.io/debian", "12")
    assert seen == [("https://registry-1.docker.io/v2/library/debian/manifests/12", None)]


def test_docker_hub_has_an_old_name(tmp_path: Path) -> None:
    config = {"auths": {"https://index.docker.io/v1/": {"auth": AUTH}}}
    logins = Logins(docker(tmp_path, config))
    assert logins.of("registry-1.docker.io") == ("somebody", "secret")
    assert logins.of("ghcr.io") is None
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        Logins({"DOCKER_CONFIG": str(other), "HOME": os.fspath(tmp_path)}).of("ghcr.io")


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("images.example.co.uk", "https://tokens.other.co.uk/token"),
        ("1.dkr.ecr.eu-west-1.amazonaws.com", "https://evil.s3.amazonaws.com/token"),
        ("ghcr.io", "https://ghcr.io:8443/token"),
        ("ghcr.io", "https://evil.ghcr.io.example/token"),
    ],
)
def test_a_password_is_for_one_host_and_port(registry: str, realm: str) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        assert "Authorization" not in request.headers
        challenge = f'Bearer realm="{realm}",service="x"'
        return httpx.Response(401, headers={"www-authenticate": challenge})

    variables = {CREDENTIALS: f"{registry}=somebody:secret"}
    client = HttpRegistry(variables=variables, transport=httpx.MockTransport(answer))
    with pytest.raises(UsageError, match="its token service, which is elsewhere"):
        client.manifest(f"{registry}/o/n", "v1")
    assert asked == [registry]


def test_a_known_token_service_and_one_with_a_login_of_its_own_are_asked() -> None:
    given: dict[str, str | None] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            given[request.url.host] = request.headers.get("Authorization")
            return httpx.Response(200, json={"token": "t"})
        if request.headers.get("Authorization") == "Bearer t":
            return httpx.Response(200, content=b"{}")
        realm = "auth.docker.io" if "docker" in request.url.host else "login.example.org"
        challenge = f'Bearer realm="https://{realm}/token",service="x"'
        return httpx.Response(401, headers={"www-authenticate": challenge})

    logins = "registry-1.docker.io=a:b,images.example.org=c:d,login.example.org=e:f"
    client = HttpRegistry(variables={CREDENTIALS: logins}, transport=httpx.MockTransport(answer))
    assert client.manifest("docker.io/debian", "12") is not None
    assert client.manifest("images.example.org/o/n", "1") is not None
    wanted = {"auth.docker.io": b"a:b", "login.example.org": b"e:f"}
    assert given == {
        host: "Basic " + base64.b64encode(login).decode() for host, login in wanted.items()
    }


def test_a_redirect_to_another_port_gets_no_password() -> None:
    seen: list[tuple[str, str | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.netloc.decode(), request.headers.get("Authorization")))
        if request.url.netloc == b"ghcr.io":
            return httpx.Response(307, headers={"location": "https://ghcr.io:8443/v2/x"})
        challenge = 'Basic realm="x"'
        return httpx.Response(401, headers={"www-authenticate": challenge})

    client = HttpRegistry(
        variables={CREDENTIALS: "ghcr.io=somebody:secret"}, transport=httpx.MockTransport(answer)
    )
    with pytest.raises(UnreachableError, match="asks for a login"):
        client.manifest("ghcr.io/o/n", "v1")
    assert seen == [("ghcr.io", None), ("ghcr.io:8443", None)]
