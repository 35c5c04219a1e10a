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
_DEFAULT_STAGE = 300.0
_WEB = "use a check of kind `external` or `command`"


def read_argo_rollouts(objects: Sequence[Mapping[str, Any]], into: Fragment) -> None:
    """Read every Rollout, with the AnalysisTemplates that it names.

    Without a Rollout, the checks of all templates are those of every stage.
    """
    templates = {_name(each): each for each in objects if each.get("kind") in _TEMPLATES}
    rollouts = [each for each in objects if each.get("kind") == "Rollout"]
    for each in rollouts:
        _rollout(each, templates, into)
    if not rollouts:
        for name, template in templates.items():
            into.checks += _checks(f"{template['kind']} {name}", template, {}, into)


def _rollout(
    rollout: Mapping[str, Any], templates: Mapping[str, Mapping[str, Any]], into: Fragment
) -> None:
    whose, spec = f"Rollout {_name(rollout)}", rollout.get("spec") or {}
    strategy = spec.get("strategy") or {}
    canary = strategy.get("canary")
    if canary is None:
        into.lacks(
            whose, "strategy blueGreen", "traffic is shifted in stages; one at 100 % is made"
        )
        canary = {"analysis": (strategy.get("blueGreen") or {}).get("prePromotionAnalysis")}
    _service(rollout, spec, canary, into)
    background = canary.get("analysis") or {}
    into.checks += _named(whose, background, templates, into)
    if background.get("startingStep"):
        into.lacks(whose, "startingStep", "the checks of all stages begin with the first")
    _stages(whose, canary.get("steps") or (), templates, into)
    for what, why in (
        ("maxSurge", "the chart's Deployments say it"),
        ("antiAffinity", "the chart's Deployments say it"),
        ("dynamicStableScale", "stable keeps its replicas until the release is over"),
        ("abortScaleDownDelaySeconds", "the canary is removed after a rollback"),
    ):
        if what in canary:
            into.lacks(whose, what, why)


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
    stable = str(canary.get("stableService") or name)
    into.services.append(
        {
            "name": name,
            "port": int(ports[0] or 8080) if ports else 8080,
            "stable": {"deployment": name, "service": stable},
            "canary": {
                "deployment": f"{name}-canary",
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
    templates: Mapping[str, Mapping[str, Any]],
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
            found = _named(whose, step["analysis"] or {}, templates, into)
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


def _named(
    whose: str,
    analysis: Mapping[str, Any],
    templates: Mapping[str, Mapping[str, Any]],
    into: Fragment,
) -> list[dict[str, Any]]:
    """The checks of the templates that an analysis names, with its arguments."""
    found: list[dict[str, Any]] = []
    given = _arguments(analysis.get("args") or ())
    for reference in analysis.get("templates") or ():
        name = str(reference.get("templateName"))
        template = templates.get(name)
        if template is None:
            into.lacks(whose, f"AnalysisTemplate {name}", "it is in none of the files")
        else:
            found += _checks(f"{template['kind']} {name}", template, given, into)
    return found


def _checks(
    whose: str, template: Mapping[str, Any], given: Mapping[str, str], into: Fragment
) -> Iterable[dict[str, Any]]:
    spec = template.get("spec") or {}
    values = {**_arguments(spec.get("args") or ()), **given}
    for metric in spec.get("metrics") or ():
        name, provider = str(metric.get("name", "metric")), metric.get("provider") or {}
        query = (provider.get("prometheus") or {}).get("query")
        if query is None:
            kind = next(iter(provider), "no provider")
            into.lacks(whose, f"metric {name}", f"{kind}: {_WEB}")
            continue
        try:
            limit = condition(
                *(filled(metric.get(f"{one}Condition"), values) for one in ("success", "failure"))
            )
        except ValueError as problem:
            into.lacks(whose, f"metric {name}", str(problem))
            continue
        check = into.queried(whose, name, str(query), limit, values)
        if check is not None:
            yield check
        for what in ("failureLimit", "consecutiveErrorLimit", "inconclusiveLimit"):
            if metric.get(what):
                into.lacks(
                    whose,
                    f"{what} of {name}",
                    "a rollback needs proof, not a number of failed measurements",
                )


def _arguments(given: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Arguments with a value; those that are taken from pods or secrets select the canary."""
    return {str(one["name"]): str(one["value"]) for one in given if one.get("value") is not None}


def _name(found: Mapping[str, Any]) -> str:
    return str((found.get("metadata") or {}).get("name", "(no name)"))
