"""Addresses of servers, and the names of the variables that hold credentials."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import StringConstraints, model_validator

from tarsrelease.model.base import Value

VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")]


HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/\S*)?$")]


class ClientTls(Value):
    """Certificates. Each field names a variable that holds the path of a PEM file or its text.

    `ca_env` replaces the root certificates of this machine. `certificate_env` and `key_env`
    authenticate the client (mutual TLS). `server_name` is the name in the server's certificate if
    it is not the one in the address.
    """

    ca_env: VariableName | None = None
    certificate_env: VariableName | None = None
    key_env: VariableName | None = None
    server_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]+$")] | None = None

    @model_validator(mode="after")
    def _in_pairs(self) -> Self:
        if (self.certificate_env is None) != (self.key_env is None):
            raise ValueError("certificate_env and key_env go together")
        if (self.ca_env, self.certificate_env, self.server_name) == (None, None, None):
            raise ValueError("give ca_env, or certificate_env and key_env, or leave tls out")
        return self


class BasicAuth(Value):
    """The names of the variables that hold user name and password."""

    username_env: VariableName
    password_env: VariableName
