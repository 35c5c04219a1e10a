"""Argo Rollouts' Rollout and AnalysisTemplate.

Source: argo-rollouts.readthedocs.io, "Canary Deployment Strategy" and "Analysis & Progressive
Delivery".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tarsrelease.imports.durations import seconds_of
from tarsrelease.imports.fragment import Fragment
from tarsrelease.imports.queries import condition, filled
from tarsrelease.model.format import duration

_TEMPLATES = ("AnalysisTemplate", "ClusterAnalysisTemplate")
_STEPS = {
    "setCanaryScale": "capacity follows the weight",
    "experiment": "there are no experiments; the canary is compared with stable",
    "setHeaderRoute": "every canary is reachable by header from its deploy on",
    "setMirrorRoute": "requests are never sent twice",
    "plugin": "there are no step plugins; use a check of kind `command`",
}
_CHART = "the chart's Deployments say it"
_WARM = "stable stays warm until the promotion is over"
_SPEC_READ = (
    *("selector", "template", "strategy", "workloadRef", "replicas"),
    *("revisionHistoryLimit", "minReadySeconds"),
)
_SPEC = {
    "progressDeadlineSeconds": "every step has its own deadline",
    "progressDeadlineAbort": "every step has its own deadline",
    "rollbackWindow": "a rollback goes to the last good revision",
    "analysis": "the evidence keeps every evaluation",
    "paused": "`tarsrelease hold` holds a release",
}
_CANARY_READ = ("stableService", "canaryService", "trafficRouting", "steps", "analysis")
_CANARY = {
    "maxSurge": _CHART,
    "maxUnavailable": _CHART,
    "antiAffinity": _CHART,
    "minPodsPerReplicaSet": _CHART,
    "stableMetadata": "the values of the chart say it",
    "canaryMetadata": "the values of the chart say it",
    "pingPong": "stable and canary are two Helm releases",
    "dynamicStableScale": "stable keeps its replicas until the release is over",
    "scaleDownDelaySeconds": _WARM,
    "scaleDownDelayRevisionLimit": _WARM,
    "abortScaleDownDelaySeconds": "the canary is removed after a rollback",
}
_BLUE_GREEN_READ = (
    *("activeService", "previewService", "autoPromotionEnabled"),
    *("prePromotionAnalysis", "postPromotionAnalysis"),
)
_BLUE_GREEN = {
    "previewReplicaCount": "capacity follows the weight",
    "autoPromotionSeconds": "the stage has a duration",
    "activeMetadata": "the values of the chart say it",
    "previewMetadata": "the values of the chart say it",
    **{key: _CANARY[key] for key in ("antiAffinity", "abortScaleDownDelaySeconds")},
    **dict.fromkeys(("scaleDownDelaySeconds", "scaleDownDelayRevisionLimit"), _WARM),
}
_ANALYSIS_READ = ("templates", "args", "metrics", "startingStep")
_DEFAULT_STAGE = 300.0
_WEB = "use a check of kind `external` or `command`"


def read_argo_rollouts(objects: Sequence[Mapping[str, Any]], into: Fragment) -> None:
    """Read every Rollout, with the AnalysisTemplates that it names.

    Without a Rollout, the checks of all templates are those of every stage.
    """
    templates = {_name(each): each for each in objects if each.get("kind") in _TEMPLATES}
    rollouts = [each for each in objects if each.get("kind") == "Rollout"]
    reader = _Reader(templates, into)
    for each in rollouts:
        _rollout(each, reader, into)
    if not rollouts:
        into.checks += reader.all()
    for name in sorted(templates.keys() - reader.used):
        into.lacks(f"{templates[name]['kind']} {name}", "metrics", "no Rollout names it")


def _rollout(rollout: Mapping[str, Any], reader: _Reader, into: Fragment) -> None:
    whose, spec = f"Rollout {_name(rollout)}", rollout.get("spec") or {}
    into.rest(whose, spec, _SPEC_READ, _SPEC)
    strategy = spec.get("strategy") or {}
    canary = strategy.get("canary")
    if canary is None:
        canary = _blue_green(whose, strategy.get("blueGreen") or {}, reader, into)
    _service(rollout, spec, canary, into)
    background = canary.get("analysis") or {}
    into.checks += reader.named(whose, background)
    if background.get("startingStep"):
        into.lacks(whose, "startingStep", "the checks of all stages begin with the first")
    _stages(whose, canary.get("steps") or (), reader, into)
    into.rest(whose, canary, _CANARY_READ, _CANARY)


def _blue_green(
    whose: str, given: Mapping[str, Any], reader: _Reader, into: Fragment
) -> dict[str, Any]:
    """The canary strategy that is nearest to it: one stage at 100 %."""
    into.lacks(whose, "strategy blueGreen", "traffic is shifted in stages; one at 100 % is made")
    into.rest(whose, given, _BLUE_GREEN_READ, _BLUE_GREEN)
    into.checks += reader.named(whose, given.get("postPromotionAnalysis") or {})
    return {
        "stableService": given.get("activeService"),
        "canaryService": given.get("previewService"),
        "analysis": given.get("prePromotionAnalysis"),
        "steps": [{"pause": {}}] if given.get("autoPromotionEnabled") is False else [],
    }


def _service(
    rollout: Mapping[str, Any],
    spec: Mapping[str, Any],
    canary: Mapping[str, Any],
    into: Fragment,
) -> None:
    name = _name(rollout)
    routing = canary.get("trafficRouting") or {}
    plugins = routing.get("plugins") or {}
    gateway = plugins.get("argoproj-labs/gatewayAPI") or {}
    containers: Any = ((spec.get("template") or {}).get("spec") or {}).get("containers") or ({},)
    ports = [port.get("containerPort") for port in containers[0].get("ports") or ()]
    deployment = str((spec.get("workloadRef") or {}).get("name") or name)
    stable = str(canary.get("stableService") or name)
    into.services.append(
        {
            "name": name,
            "port": int(ports[0] or 8080) if ports else 8080,
            "stable": {"deployment": deployment, "service": stable},
            "canary": {
                "deployment": f"{deployment}-canary",
                "service": str(canary.get("canaryService") or f"{name}-canary"),
            },
            "route": str(gateway.get("httpRoute") or name),
            "hosts": ["web"],
            "paths": ["/"],
            "smoke": [{"path": "/"}],
        }
    )
    others = sorted(set(routing) - {"plugins", "managedRoutes"} | set(plugins))
    for other in others:
        if other != "argoproj-labs/gatewayAPI":
            into.lacks(f"Rollout {name}", f"trafficRouting {other}", "it needs a Gateway API route")


def _stages(
    whose: str,
    steps: Sequence[Mapping[str, Any]],
    reader: _Reader,
    into: Fragment,
) -> None:
    asked = False
    for step in steps:
        if "setWeight" in step:
            weight = int(step["setWeight"])
            if weight > (into.stages[-1]["weight"] if into.stages else 0):
                into.stages.append({"weight": weight, "seconds": 0.0})
                if asked:
                    into.stages[-1]["approval"] = True
                asked = False
            elif weight:
                into.lacks(whose, f"setWeight {weight}", "the weights of stages must rise")
            continue
        stage = into.stages[-1] if into.stages else None
        if "pause" in step:
            lasts = seconds_of((step["pause"] or {}).get("duration"))
            asked = asked or lasts is None
            if stage is not None and lasts is not None:
                stage["seconds"] += lasts
        elif "analysis" in step:
            found = reader.named(whose, step["analysis"] or {})
            if stage is None:
                into.lacks(whose, "analysis before any weight", "the smoke test judges weight 0")
            elif found:
                stage.setdefault("checks", []).extend(found)
        else:
            what = next(iter(step), "step")
            into.lacks(whose, what, _STEPS.get(what, "there is no such step"))
    if not into.stages or into.stages[-1]["weight"] != 100:
        into.stages.append({"weight": 100, "seconds": 0.0})
        if asked:
            into.stages[-1]["approval"] = True
    without = [stage["weight"] for stage in into.stages if not stage["seconds"]]
    if without:
        said = ", ".join(f"{weight} %" for weight in without)
        into.lacks(whose, f"duration of {said}", f"it has none; {duration(_DEFAULT_STAGE)} is set")
    into.stages = [
        {"weight": stage["weight"], "duration": duration(stage.pop("seconds") or _DEFAULT_STAGE)}
        | {key: value for key, value in stage.items() if key in ("approval", "checks")}
        for stage in into.stages
    ]


class _Reader:
    """Reads AnalysisTemplates; `used` are those that a Rollout names."""

    def __init__(self, templates: Mapping[str, Mapping[str, Any]], into: Fragment) -> None:
        self._templates, self._into = templates, into
        self.used: set[str] = set()

    def all(self) -> list[dict[str, Any]]:
        """The checks of all templates, those of an included template once."""
        specs = [each.get("spec") or {} for each in self._templates.values()]
        included = {
            str(reference.get("templateName"))
            for spec in specs
            for reference in spec.get("templates") or ()
        }
        first = [name for name in self._templates if name not in included]
        return [check for name in first for check in self.checks(name, {}, ())]

    def named(self, whose: str, analysis: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The checks of the templates that an analysis names, with its arguments."""
        self._into.rest(whose, analysis, _ANALYSIS_READ, {})
        return self._of(whose, analysis, _arguments(analysis.get("args") or ()), ())

    def _of(
        self, whose: str, spec: Mapping[str, Any], given: Mapping[str, str], path: tuple[str, ...]
    ) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for reference in spec.get("templates") or ():
            name = str(reference.get("templateName"))
            if name not in self._templates:
                self._into.lacks(whose, f"AnalysisTemplate {name}", "it is in none of the files")
            elif name not in path:
                found += self.checks(name, given, path)
        return found

    def checks(
        self, name: str, given: Mapping[str, str], path: tuple[str, ...]
    ) -> list[dict[str, Any]]:
        """The checks of a template and of those that it includes; `path` are those around it."""
        self.used.add(name)
        template = self._templates[name]
        whose, spec = f"{template['kind']} {name}", template.get("spec") or {}
        self._into.rest(whose, spec, _ANALYSIS_READ, {})
        values = {**_arguments(spec.get("args") or ()), **given}
        own = [_check(whose, metric, values, self._into) for metric in spec.get("metrics") or ()]
        included = self._of(whose, spec, values, (*path, name))
        return [check for check in own if check is not None] + included


def _check(
    whose: str, metric: Mapping[str, Any], values: Mapping[str, str], into: Fragment
) -> dict[str, Any] | None:
    name, provider = str(metric.get("name", "metric")), metric.get("provider") or {}
    query = (provider.get("prometheus") or {}).get("query")
    if query is None:
        kind = next(iter(provider), "no provider")
        into.lacks(whose, f"metric {name}", f"{kind}: {_WEB}")
        return None
    try:
        limit = condition(
            *(filled(metric.get(f"{one}Condition"), values) for one in ("success", "failure"))
        )
    except ValueError as problem:
        into.lacks(whose, f"metric {name}", str(problem))
        return None
    check = into.queried(whose, name, str(query), limit, values)
    for what in ("failureLimit", "consecutiveErrorLimit", "inconclusiveLimit"):
        if check is not None and metric.get(what):
            into.lacks(
                whose,
                f"{what} of {name}",
                "a rollback needs proof, not a number of failed measurements",
            )
    return check


def _arguments(given: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Arguments with a value; those that are taken from pods or secrets select the canary."""
    return {str(one["name"]): str(one["value"]) for one in given if one.get("value") is not None}


def _name(found: Mapping[str, Any]) -> str:
    return str((found.get("metadata") or {}).get("name", "(no name)"))
