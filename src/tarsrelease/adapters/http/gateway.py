"""Plain requests through the gateway, by httpx."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from tarsrelease.model.errors import UnreachableError

_BODY_LIMIT = 1 << 20


class GatewayWeb:
    """Requests to the gateway's address with the service's host name in the Host header."""

    def __init__(self, address: str, timeout: float = 5.0) -> None:
        self._address = address.rstrip("/")
        self._client = httpx.Client(timeout=timeout, follow_redirects=False, trust_env=False)

    def get(self, host: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        """Status and body (its first MiB) of a GET. Raises UnreachableError without an answer."""
        url = self._address + path
        try:
            with self._client.stream("GET", url, headers={**headers, "host": host}) as response:
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk[: _BODY_LIMIT - len(body)]
                    if len(body) >= _BODY_LIMIT:
                        break
                return response.status_code, body.decode("utf-8", "replace")
        except httpx.HTTPError as error:
            raise UnreachableError(
                doing=f"GET {path} at {host} through the gateway",
                found=f"{type(error).__name__}: {error}",
                expected=f"an answer from {self._address}",
                next_step="check gateway.address in the environment file, and that this machine "
                "can reach the gateway",
            ) from error
