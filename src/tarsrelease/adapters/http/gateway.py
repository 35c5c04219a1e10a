"""Plain requests through the gateway, within a deadline."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from tarsrelease.adapters.http.client import Client
from tarsrelease.adapters.http.tls import trust
from tarsrelease.model.connections import ClientTls
from tarsrelease.model.errors import UnreachableError


class GatewayWeb:
    """Requests to the gateway's address with the service's host name in the Host header."""

    def __init__(self, address: str, timeout: float = 5.0, tls: ClientTls | None = None) -> None:
        """Read the variables that `tls` names (UsageError); sends no request."""
        self._address = address.rstrip("/")
        self._name = tls.server_name if tls is not None else None
        verify = True if tls is None else trust(tls, "gateway.tls", address)
        self._client = Client(seconds=timeout, proxies=False, verify=verify)

    def get(self, host: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        """Status and body of a GET. Raises UnreachableError without an answer of a MiB at most."""
        url = self._address + path
        try:
            answer = self._client.get(
                url,
                headers={**headers, "host": host},
                # The address may be that of a load balancer; the certificate is the host's.
                extensions={"sni_hostname": self._name or host.partition(":")[0]},
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnreachableError(
                doing=f"GET {path} at {host} through the gateway",
                found=f"{type(error).__name__}: {error}",
                expected=f"an answer from {self._address}",
                next_step="check gateway.address in the environment file, and that this machine "
                "can reach the gateway",
            ) from error
        return answer.status, answer.text
