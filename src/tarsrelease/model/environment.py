"""environments/<name>.yaml: where a release goes. Secrets only as names of variables."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from tarsrelease.model.base import Bytes, Name, Seconds, Share, Value
from tarsrelease.model.rollout import CheckId, GaugeCheck, Rollout, Stage

VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")]
HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/\S*)?$")]


class Kubernetes(Value):
    """`context` names a context of the kubeconfig in use; None means its current one."""

    context: str | None = None
    namespace: Name


class Gateway(Value):
    """The Gateway that routes attach to, and how the release tool itself reaches it.

    `hostnames` maps the host keys of rollout.yaml to real host names. `address` is where smoke
    tests are sent, with the host name in the Host header.
    """

    name: Name
    namespace: Name
    listener: str | None = None
    address: HttpUrl
    hostnames: dict[str, str] = Field(min_length=1)
    canary_header: str = "x-tars-canary"
    settle: Seconds = 10.0


class Prometheus(Value):
    """Anything that speaks Prometheus' HTTP API. `token_env` names the variable with a token."""

    url: HttpUrl
    scrape_interval: Seconds = 15.0
    timeout: Seconds = 5.0
    token_env: VariableName | None = None


class Helm(Value):
    """Values of this environment, on top of the chart's: for both sides, and for the canary."""

    values: dict[str, Any] = {}
    canary_values: dict[str, Any] = {}


class Limits(Value):
    """Deadlines.

    `metrics_outage`: how long a gate may be without metrics before it holds. `wait`: how long
    traffic stays on a canary that waits for a person. `deploy`: one Helm upgrade with its
    rollout. `rollback`: one budget that all phases of a rollback share.
    """

    metrics_outage: Seconds = 180.0
    wait: Seconds = 1800.0
    deploy: Seconds = 300.0
    rollback: Seconds = 300.0


class Overrides(Value):
    """Deviations from rollout.yaml, for rehearsals; every report prints them."""

    stage_duration: Seconds | None = None
    max_extension: Seconds | None = None
    confidence: Share | None = None
    promotion_look: Seconds | None = None
    gauge_limits: dict[CheckId, Bytes] = {}


class Environment(Value):
    """environments/<name>.yaml."""

    schema_: Literal["tarsrelease/environment/v1"] = Field(alias="schema")
    name: Name
    kubernetes: Kubernetes
    gateway: Gateway
    prometheus: Prometheus
    helm: Helm = Helm()
    limits: Limits = Limits()
    overrides: Overrides = Overrides()


def _overridden_stage(stage: Stage, overrides: Overrides) -> Stage:
    checks = tuple(
        check.model_copy(update={"below": overrides.gauge_limits[check.id]})
        if isinstance(check, GaugeCheck) and check.id in overrides.gauge_limits
        else check
        for check in stage.checks
    )
    update: dict[str, object] = {"checks": checks}
    if overrides.stage_duration is not None:
        update["duration"] = overrides.stage_duration
    if overrides.max_extension is not None:
        update["max_extension"] = overrides.max_extension
    return stage.model_copy(update=update)


def apply_overrides(rollout: Rollout, overrides: Overrides) -> Rollout:
    """The rollout as this environment plays it."""
    statistics = rollout.statistics
    if overrides.confidence is not None:
        statistics = statistics.model_copy(update={"confidence": overrides.confidence})
    promotion = rollout.promotion
    if overrides.promotion_look is not None:
        promotion = promotion.model_copy(update={"look": overrides.promotion_look})
    return rollout.model_copy(
        update={
            "stages": tuple(_overridden_stage(stage, overrides) for stage in rollout.stages),
            "statistics": statistics,
            "promotion": promotion,
        }
    )


def describe_overrides(overrides: Overrides) -> tuple[str, ...]:
    """One line an override, for reports; empty where there is none."""
    said = overrides.model_dump(exclude_none=True, exclude_defaults=True)
    return tuple(f"{name} = {value}" for name, value in said.items())
