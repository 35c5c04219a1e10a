"""Credentials for the metrics server: token, user or certificate, from environment variables."""

from __future__ import annotations

import os
import ssl
from base64 import b64encode
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tarsrelease.model.environment import Prometheus
from tarsrelease.model.errors import UsageError

_PEM = "-----BEGIN "


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
    tls = settings.tls
    if tls is None:
        return True
    with ExitStack() as files:
        authority = (
            None if tls.ca_env is None else _pem_file(settings, "tls.ca_env", tls.ca_env, files)
        )
        names = f"${tls.ca_env}"
        try:
            context = ssl.create_default_context(cafile=authority)
            if tls.certificate_env is not None and tls.key_env is not None:
                names = f"${tls.certificate_env} and ${tls.key_env}"
                context.load_cert_chain(
                    _pem_file(settings, "tls.certificate_env", tls.certificate_env, files),
                    _pem_file(settings, "tls.key_env", tls.key_env, files),
                    password="",  # a locked key is refused, never asked for on the terminal
                )
        except (ssl.SSLError, OSError) as error:
            raise UsageError(
                doing=f"preparing to ask {settings.url}",
                found=f"{names}: {error}",
                expected="a PEM file's path or its text; a key without a password, of this "
                "certificate",
                next_step="correct the variables that prometheus.tls names",
            ) from error
    return context


def _pem_file(settings: Prometheus, key: str, variable: str, files: ExitStack) -> str:
    """A file with this certificate or key: the one that is named, or one made of the text.

    The made one is readable by this user only, and gone when `files` is closed.
    """
    value = _value(settings, key, variable)
    if not value.startswith(_PEM):
        return value
    folder = files.enter_context(TemporaryDirectory())  # private to this user
    file = Path(folder, "pem")
    file.write_text(value + "\n", encoding="ascii")
    return str(file)


def _value(settings: Prometheus, key: str, variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    if value:
        return value
    raise UsageError(
        doing=f"preparing to ask {settings.url}",
        found=f"the environment variable {variable} is not set",
        expected=f"what prometheus.{key} names",
        next_step=f"set {variable}, or remove {key} from the environment file",
    )
