"""Alert rules of the metrics server (prometheus.io/docs, "HTTP API", Rules)."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from tarsrelease.adapters.http.client import Client
from tarsrelease.adapters.prometheus import access
from tarsrelease.model.errors import UnreachableError
from tarsrelease.model.metrics_server import Prometheus
from tarsrelease.model.people import AlertRule

_LARGEST = 16 * 2**20


class PrometheusRules:
    """The port `AlertRules`."""

    def __init__(self, settings: Prometheus) -> None:
        """Read the variables that `settings` names (UsageError); sends no request."""
        self._url = f"{settings.url.rstrip('/')}/api/v1/rules"
        self._client = Client(
            seconds=settings.timeout,
            largest=_LARGEST,
            headers=access.headers(settings),
            verify=access.verification(settings),
            server_name=settings.tls.server_name if settings.tls is not None else None,
        )

    def alert_rules(self) -> Sequence[AlertRule]:
        """See `AlertRules`."""
        try:
            answer = self._client.get(self._url, params={"type": "alert"})
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._away(type(error).__name__) from error
        if answer.status != httpx.codes.OK:
            raise self._away(f"status {answer.status}")
        try:
            return [
                AlertRule(
                    name=str(rule["name"]),
                    problem=str(rule.get("lastError") or "its evaluation failed")
                    if rule.get("health") == "err"
                    else "",
                )
                for group in answer.json()["data"]["groups"]
                for rule in group["rules"]
                if rule.get("type", "alerting") == "alerting"
            ]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise self._away(f"an answer in another shape ({type(error).__name__})") from error

    def _away(self, found: str) -> UnreachableError:
        return UnreachableError(
            doing=f"reading the alert rules, {self._url}",
            found=found,
            expected="a list of rules",
            next_step="check prometheus.url in the environment file",
        )
