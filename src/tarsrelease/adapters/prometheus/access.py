"""Credentials for the metrics server: token, user or certificate, from environment variables."""

from __future__ import annotations

import ssl
from base64 import b64encode

from tarsrelease.adapters.http.tls import named_value, trust
from tarsrelease.model.metrics_server import Prometheus


def headers(settings: Prometheus) -> dict[str, str]:
    """All headers of a query: the fixed ones, the tenant's, and the authorization.

    Raises UsageError for a variable that is not set.
    """
    sent = settings.sent_headers
    if settings.token_env is not None:
        sent["Authorization"] = f"Bearer {_value(settings, 'token_env', settings.token_env)}"
    if settings.basic is not None:
        user = _value(settings, "basic.username_env", settings.basic.username_env)
        password = _value(settings, "basic.password_env", settings.basic.password_env)
        pair = b64encode(f"{user}:{password}".encode()).decode()
        sent["Authorization"] = f"Basic {pair}"  # RFC 7617
    return sent


def verification(settings: Prometheus) -> ssl.SSLContext | bool:
    """How the server is verified, and what it is shown; True for this machine's defaults.

    Raises UsageError for a variable that is not set, or that holds no certificate.
    """
    return True if settings.tls is None else trust(settings.tls, "prometheus.tls", settings.url)


def _value(settings: Prometheus, key: str, variable: str) -> str:
    return named_value(variable, f"prometheus.{key}", settings.url)
