"""The few requests to the API server that bring the cluster up, on the standard library.

The supervisor must start fast and needs four verbs; importing the official client takes longer
than the API server takes to answer. Everything after `up` uses the official client.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tarsrelease.rehearsal import world

_FIELD_MANAGER = "rehearsal"


class KubeApiError(Exception):
    """The API server refused a request."""


class NoAnswerError(Exception):
    """The API server did not answer: it is not there yet, or the machine is very busy."""


class KubeApi:
    """The rehearsal's API server, as its administrator. Safe to use from several threads."""

    def __init__(self, certificates: Path) -> None:
        context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
        context.load_cert_chain(
            str(certificates / "components.crt"), str(certificates / "components.key")
        )
        self._tls = context
        self._resources = cache(self._read_resources)

    def answers(self, path: str) -> bool:
        """Whether GET `path` answers 200; False while nothing listens."""
        try:
            status, _ = self._request("GET", path)
        except NoAnswerError:
            return False
        return status == http.client.OK

    def get(self, path: str) -> dict[str, Any] | None:
        """The object at `path`; None for 404.

        Raises KubeApiError on any other error status, NoAnswerError without an answer.
        """
        status, body = self._request("GET", path)
        if status == http.client.NOT_FOUND:
            return None
        if status != http.client.OK:
            raise KubeApiError(f"GET {path}: {status} {body[:500].decode(errors='replace')}")
        document: dict[str, Any] = json.loads(body)
        return document

    def serves(self, version: str, kinds: set[str]) -> bool:
        """Whether the group's discovery lists all `kinds` yet."""
        listing = self.get(f"/apis/{version}")
        return listing is not None and kinds <= {one["kind"] for one in listing["resources"]}

    def apply(self, document: Mapping[str, Any]) -> None:
        """Server-side apply of one object; may be repeated. Raises as `get`."""
        path = self._path(document)
        status, body = self._request(
            "PATCH",
            f"{path}?fieldManager={_FIELD_MANAGER}&force=true",
            json.dumps(document).encode(),
            "application/apply-patch+yaml",  # JSON is YAML
        )
        if status not in {http.client.OK, http.client.CREATED}:
            raise KubeApiError(f"apply {path}: {status} {body[:500].decode(errors='replace')}")

    def _path(self, document: Mapping[str, Any]) -> str:
        version, kind = document["apiVersion"], document["kind"]
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        resources = self._resources(base)
        if kind not in resources:
            raise KubeApiError(f"the API server does not know {kind} in {version}")
        plural, namespaced = resources[kind]
        metadata = document["metadata"]
        scope = f"/namespaces/{metadata['namespace']}" if namespaced else ""
        return f"{base}{scope}/{plural}/{metadata['name']}"

    def _read_resources(self, base: str) -> dict[str, tuple[str, bool]]:
        listing = self.get(base)
        if listing is None:
            raise KubeApiError(f"the API server does not serve {base}")
        return {
            resource["kind"]: (resource["name"], resource["namespaced"])
            for resource in listing["resources"]
            if "/" not in resource["name"]
        }

    def _request(
        self, method: str, path: str, body: bytes | None = None, content_type: str | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(world.API_SERVER, context=self._tls, timeout=30)
        try:
            headers = {"Content-Type": content_type} if content_type else {}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswerError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()


def condition(document: Mapping[str, Any] | None, kind: str) -> bool:
    """Whether the object exists and its status condition `kind` is True.

    The API server writes null for the conditions of a definition that it has not handled yet.
    """
    conditions = ((document or {}).get("status") or {}).get("conditions") or ()
    return any(one["type"] == kind and one["status"] == "True" for one in conditions)
