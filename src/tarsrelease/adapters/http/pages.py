"""Web pages that must answer, such as dashboards."""

from __future__ import annotations

import httpx

from tarsrelease.adapters.http.client import Client, TooLargeError
from tarsrelease.model.errors import UnreachableError

_SECONDS = 10.0
_LARGEST = 8 * 2**20


class WebPages:
    """The port `Pages`."""

    def __init__(self) -> None:
        self._client = Client(seconds=_SECONDS, largest=_LARGEST)

    def status(self, url: str) -> int:
        """See `Pages`."""
        try:
            return self._client.get(url).status
        except TooLargeError:
            return httpx.codes.OK  # it answers, with more than is read
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnreachableError(
                doing=f"GET {url}",
                found=type(error).__name__,
                expected="status 200",
                next_step="check the link in rollout.yaml, and that this machine can reach it",
            ) from error
