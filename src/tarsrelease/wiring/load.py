"""Choose the generator of a load test."""

from __future__ import annotations

from tarsrelease.adapters.http.gateway import GatewayWeb
from tarsrelease.adapters.load import K6, OwnGenerator, installed
from tarsrelease.model.environment import Environment
from tarsrelease.ports.load import LoadGenerator

_TIMEOUT = 10.0


def load_generator(environment: Environment, *, canary: bool, own: bool) -> LoadGenerator:
    """k6 where it is installed, unless `own`; ours for a gateway with its own `tls`, too."""
    gateway = environment.gateway
    headers = {gateway.canary_header: "always"} if canary else {}
    program = installed()
    if program is not None and not own and gateway.tls is None:
        return K6(program, gateway.address, headers)
    return OwnGenerator(lambda: GatewayWeb(gateway.address, _TIMEOUT, gateway.tls), headers)
