"""The environment of the programs that tarsrelease starts.

A program gets what every program needs and, by name, what it needs for its own work: a bundle's
suite has no use for the kubeconfig, Git none for the database's password.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

EXTRA = "TARSRELEASE_CHILD_ENV"
"""Names further variables, separated by commas, for programs that fetch credentials or numbers: an
exec plugin of a kubeconfig, a Docker credential helper, the command of an external check."""

_EVERY = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "LC_ALL", "LC_CTYPE")
_NETWORK = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
    *(form for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY") for form in (name, name.lower())),
)
_CLUSTER = ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBECACHEDIR")
_LOGINS = ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "DOCKER_CONFIG")
_CLOUDS = ("AAD_", "AWS_", "AZURE_", "CLOUDSDK_", "GOOGLE_", "HELM_")


def minimal(
    names: Iterable[str] = (), variables: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What every program gets, and the variables called `names`."""
    known = os.environ if variables is None else variables
    return {name: known[name] for name in (*_EVERY, *names) if name in known}


def for_network(
    names: Iterable[str] = (), variables: Mapping[str, str] | None = None
) -> dict[str, str]:
    """For a program that asks servers: proxies and certificates, too."""
    return minimal((*_NETWORK, *names), variables)


def for_logins(
    names: Iterable[str] = (), variables: Mapping[str, str] | None = None
) -> dict[str, str]:
    """For a program that fetches credentials or numbers: clouds' variables and EXTRA's, too."""
    known = os.environ if variables is None else variables
    extra = [name.strip() for name in known.get(EXTRA, "").split(",")]
    clouds = [name for name in known if name.startswith(_CLOUDS)]
    return for_network((*_LOGINS, *clouds, *extra, *names), variables)


def for_cluster() -> dict[str, str]:
    """For Helm and kubectl: the kubeconfig and what its exec plugins log in with."""
    return for_logins(_CLUSTER)
