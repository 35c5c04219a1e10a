"""The options of the process that runs a rehearsal."""

from __future__ import annotations

from tarsrelease.model.base import Value


class DayOptions(Value):
    """The options of the process that runs the rehearsal inside the cluster's network.

    `release`, `previous` and `staged` are bundles' folders, `environment` and `staging` files,
    `work` a folder for temporary files; all paths are absolute. `rate` is
    the load in requests a second over all services, `websockets` the sessions
    beside it; `tools` how helpers are started. `control`
    is the socket of the embedded cluster's supervisor; None on a cluster that is not our own, where
    Prometheus cannot be disturbed, staging is not installed, and no Role is applied. For a product
    that is not the worked example, `setup` is a file of objects to apply first, `role` the file of
    its Role (None: the rehearsal runs as administrator), and `paths` are what the load requests;
    `canary_paths` those that it requests of the canary alone.
    """

    name: str
    release: str
    previous: str
    environment: str
    staging: str | None
    evidence: str
    work: str
    tools: dict[str, tuple[str, ...]]
    faults: tuple[str, ...] = ()
    stages: str | None = None
    rate: float = 300.0
    websockets: int = 30
    quiet: bool = False
    control: str | None = None
    setup: str | None = None
    role: str | None = None
    paths: tuple[str, ...] = ()
    canary_paths: tuple[str, ...] = ()
