"""Sides told by the value of one label, for metrics without a pod: meshes and gateways."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template

from tarsrelease.model import promql
from tarsrelease.model.measurement import Key, Track
from tarsrelease.model.rollout import GaugeSli, PresetSli, Rollout, Sides, UsageSli


@dataclass(frozen=True, slots=True)
class SideValues:
    """Which values of `label` stand for which service and side, and for which Deployment."""

    label: str
    values: tuple[tuple[re.Pattern[str], Key], ...]
    deployments: Mapping[Key, str] = field(default_factory=dict)

    def key_of(self, labels: Mapping[str, str]) -> Key | None:
        """Whose a series is; None where the value is nobody's."""
        value = labels.get(self.label, "")
        return next((key for pattern, key in self.values if pattern.fullmatch(value)), None)

    def deployment_of(self, labels: Mapping[str, str]) -> str:
        """The Deployment whose a series is; "" where the value is nobody's."""
        key = self.key_of(labels)
        return "" if key is None else self.deployments[key]

    @property
    def expected(self) -> str:
        """What the label must be, for messages."""
        return f"{self.label}={'|'.join(pattern.pattern for pattern, _ in self.values)}"


def side_values(rollout: Rollout, namespace: str) -> dict[str, SideValues]:
    """By metric, how its sides are told; "" stands for all other metrics."""
    found = {} if rollout.sides is None else {"": _of(rollout.sides, rollout, namespace)}
    for sli in rollout.slis.values():
        if isinstance(sli, UsageSli | PresetSli) or sli.sides is None:
            continue
        values = _of(sli.sides, rollout, namespace)
        selectors = (sli.value,) if isinstance(sli, GaugeSli) else (sli.of, sli.bad, sli.good)
        for selector in selectors:
            if selector is not None:
                found[promql.parse(selector).metric] = values
    return found


def _of(sides: Sides, rollout: Rollout, namespace: str) -> SideValues:
    values = []
    deployments = {}
    for service in rollout.services:
        for track, template, side in (
            (Track.CANARY, sides.canary, service.canary),
            (Track.STABLE, sides.stable, service.stable),
        ):
            deployments[service.name, track] = side.deployment
            names = {
                "namespace": namespace,
                "service": service.name,
                "deployment": side.deployment,
                "backend": side.service,
                "port": str(service.port),
            }
            escaped = {name: re.escape(value) for name, value in names.items()}
            routes = [service.route] if service.route else [each.name for each in service.routes]
            escaped["route"] = f"({'|'.join(map(re.escape, routes))})"
            values.append(
                (re.compile(Template(template).substitute(escaped)), (service.name, track))
            )
    return SideValues(sides.label, tuple(values), deployments)
