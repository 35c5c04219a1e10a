"""Certificates of servers and clients, from environment variables."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tarsrelease.model.connections import ClientTls
from tarsrelease.model.errors import UsageError

_PEM = "-----BEGIN "


def trust(
    tls: ClientTls, key: str, url: str, variables: Mapping[str, str] = os.environ
) -> ssl.SSLContext:
    """How the server at `url` is verified, and what it is shown; `key` names `tls` for people.

    Raises UsageError for a variable that is not set, or that holds no certificate.
    """
    with ExitStack() as files:
        authority = (
            None
            if tls.ca_env is None
            else _pem_file(tls.ca_env, f"{key}.ca_env", url, files, variables)
        )
        names = f"${tls.ca_env}"
        try:
            context = ssl.create_default_context(cafile=authority)
            if tls.certificate_env is not None and tls.key_env is not None:
                names = f"${tls.certificate_env} and ${tls.key_env}"
                context.load_cert_chain(
                    _pem_file(tls.certificate_env, f"{key}.certificate_env", url, files, variables),
                    _pem_file(tls.key_env, f"{key}.key_env", url, files, variables),
                    password="",  # a locked key is refused, never asked for on the terminal
                )
        except (ssl.SSLError, OSError) as error:
            raise UsageError(
                doing=f"preparing to ask {url}",
                found=f"{names}: {error}",
                expected="a PEM file's path or its text; a key without a password, of this "
                "certificate",
                next_step=f"correct the variables that {key} names",
            ) from error
    return context


def _pem_file(
    variable: str, key: str, url: str, files: ExitStack, variables: Mapping[str, str]
) -> str:
    """A file with this certificate or key: the one that is named, or one made of the text.

    The made one is readable by this user only, and gone when `files` is closed.
    """
    value = named_value(variable, key, url, variables)
    if not value.startswith(_PEM):
        return value
    folder = files.enter_context(TemporaryDirectory())  # private to this user
    file = Path(folder, "pem")
    file.write_text(value + "\n", encoding="ascii")
    return str(file)


def named_value(
    variable: str, key: str, url: str, variables: Mapping[str, str] = os.environ
) -> str:
    """The value of the variable that `key` of the environment file names. Raises UsageError."""
    value = variables.get(variable, "").strip()
    if value:
        return value
    raise UsageError(
        doing=f"preparing to ask {url}",
        found=f"the environment variable {variable} is not set",
        expected=f"what {key} names",
        next_step=f"set {variable}, or remove {key.partition('.')[2]} from the environment file",
    )
