"""Flagger's Canary and MetricTemplate (docs.flagger.app, "How it works" and "Metrics Analysis")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tarsrelease.imports.durations import written
from tarsrelease.imports.fragment import Fragment
from tarsrelease.imports.queries import Condition

_PRESETS = {"istio": "istio", "linkerd": "linkerd", "traefik": "traefik"}
_PERCENTILE = 0.99
"""Flagger's own request-duration is the 99th percentile."""
_APPROVALS = ("confirm-rollout", "confirm-traffic-increase", "confirm-promotion")
_WEBHOOKS = {
    "pre-rollout": "use `smoke` of the service, or a check of kind `command`",
    "rollout": "use a check of kind `command`; load comes from users or from your own generator",
    "post-rollout": "run it as a job after `promote`",
    "rollback": "`tarsrelease abort` and `tarsrelease rollback` do it from anywhere",
    "event": "`notifications` in the environment file",
}
_ROUTE = "it needs a Gateway API route"
_SPEC_READ = ("provider", "targetRef", "service", "analysis", "canaryAnalysis")
_SPEC = {
    "skipAnalysis": "every stage is evaluated",
    "autoscalerRef": "stable keeps its autoscaler, pinned until the release is over",
    "progressDeadlineSeconds": "every step has its own deadline",
    "ingressRef": _ROUTE,
    "routeRef": _ROUTE,
    "suspend": "`tarsrelease hold` holds a release",
}
_CHART = ("targetPort", "portName", "portDiscovery", "appProtocol", "apex", "primary", "canary")
_ANALYSIS_READ = (
    *("interval", "threshold", "metrics", "webhooks"),
    *("maxWeight", "stepWeight", "stepWeights", "stepWeightPromotion"),
)
_ANALYSIS = {
    "match": "A/B tests by header are not staged; the canary header reaches the canary",
    "mirror": "requests are never sent twice",
    "mirrorWeight": "requests are never sent twice",
    "iterations": "traffic is shifted in stages; set stepWeights",
    "sessionAffinity": "the route's owner may set it",
    "alerts": "`notifications` in the environment file",
    "primaryReadyThreshold": "all pods must be ready",
    "canaryReadyThreshold": "all pods must be ready",
}


def read_flagger(objects: Sequence[Mapping[str, Any]], into: Fragment) -> None:
    """Read every Canary, with the MetricTemplates that they name."""
    templates = {
        _name(each): each.get("spec") or {}
        for each in objects
        if each.get("kind") == "MetricTemplate"
    }
    for each in objects:
        if each.get("kind") == "Canary":
            _canary(each, templates, into)
    for name in sorted(templates.keys() - _named(objects)):
        into.lacks(f"MetricTemplate {name}", "query", "no Canary names it, and the limit is there")


def _named(objects: Sequence[Mapping[str, Any]]) -> set[str]:
    """The MetricTemplates that a Canary's metrics name."""
    specs = [each.get("spec") or {} for each in objects if each.get("kind") == "Canary"]
    analyses = [spec.get("analysis") or spec.get("canaryAnalysis") or {} for spec in specs]
    metrics = [metric for analysis in analyses for metric in analysis.get("metrics") or ()]
    return {str((metric.get("templateRef") or {}).get("name")) for metric in metrics}


def _canary(
    canary: Mapping[str, Any], templates: Mapping[str, Mapping[str, Any]], into: Fragment
) -> None:
    whose, spec = f"Canary {_name(canary)}", canary.get("spec") or {}
    analysis = spec.get("analysis") or spec.get("canaryAnalysis") or {}
    provider = str(spec.get("provider") or "")
    _service(canary, spec, into)
    into.rest(whose, spec, _SPEC_READ, _SPEC)
    for metric in analysis.get("metrics") or ():
        check = _metric(whose, metric, provider, templates, into)
        if check is not None:
            into.checks.append(check)
    _stages(whose, analysis, into)
    _webhooks(whose, analysis.get("webhooks") or (), into)
    into.rest(whose, analysis, _ANALYSIS_READ, _ANALYSIS)
    if analysis.get("threshold") is not None:
        into.lacks(
            whose,
            f"threshold {analysis['threshold']}",
            "a rollback needs proof, not a number of failed checks",
        )


def _service(canary: Mapping[str, Any], spec: Mapping[str, Any], into: Fragment) -> None:
    service, target = spec.get("service") or {}, (spec.get("targetRef") or {}).get("name")
    name = str(service.get("name") or target or _name(canary))
    into.services.append(
        {
            "name": name,
            "port": int(service.get("port") or 80),
            "stable": {"deployment": str(target or name), "service": name},
            "canary": {"deployment": f"{target or name}-canary", "service": f"{name}-canary"},
            "route": name,
            "hosts": ["web"],
            "paths": ["/"],
            "smoke": [{"path": "/"}],
        }
    )
    route = dict.fromkeys(service, "the route belongs to its owner; only its weights change")
    chart = dict.fromkeys(_CHART, "the chart's Services say it")
    into.rest(f"Canary {_name(canary)}, service", service, ("name", "port"), route | chart)


def _metric(
    whose: str,
    metric: Mapping[str, Any],
    provider: str,
    templates: Mapping[str, Mapping[str, Any]],
    into: Fragment,
) -> dict[str, Any] | None:
    name = str(metric.get("name", "metric"))
    limit = _range(metric)
    if limit is None:
        into.lacks(whose, f"metric {name}", "it needs either a minimum or a maximum, not both")
        return None
    reference = metric.get("templateRef")
    if reference or metric.get("query"):
        template = templates.get(str((reference or {}).get("name")), {})
        kind = (template.get("provider") or {}).get("type", "prometheus")
        query = metric.get("query") or template.get("query")
        if not query:
            into.lacks(whose, f"metric {name}", "its MetricTemplate is in none of the files")
            return None
        if kind != "prometheus":
            into.lacks(whose, f"metric {name}", f"{kind}: use a check of kind `external`")
            return None
        return into.queried(whose, name, str(query), limit, metric.get("templateVariables") or {})
    return _builtin(whose, name, provider, limit, into)


def _builtin(
    whose: str, name: str, provider: str, limit: Condition, into: Fragment
) -> dict[str, Any] | None:
    preset = _PRESETS.get(provider.partition(":")[0])
    if name not in ("request-success-rate", "request-duration"):
        into.lacks(whose, f"metric {name}", "it is not one of Flagger's own, and has no query")
    elif preset is None:
        into.lacks(
            whose,
            f"metric {name}",
            f"provider {provider or '(none)'} has no preset; choose one of docs/metrics.md",
        )
    elif name == "request-success-rate":
        if limit.at_least and 0 < limit.limit < 100:
            return into.preset(whose, name, preset, None, {"at_least": f"{limit.limit:g}%"})
        into.lacks(whose, f"metric {name}", "its minimum must be between 0 and 100, both excluded")
    else:
        slower = f"{limit.limit:g}ms"
        return into.preset(whose, name, preset, slower, {"below": f"{1 - _PERCENTILE:.0%}"})
    return None


def _range(metric: Mapping[str, Any]) -> Condition | None:
    given = metric.get("thresholdRange") or {}
    if metric.get("threshold") is not None:
        at_least = metric.get("name") == "request-success-rate"
        given = {"min" if at_least else "max": metric["threshold"]}
    low, high = given.get("min"), given.get("max")
    if (low is None) == (high is None):
        return None
    return Condition(low is not None, float(str(low if low is not None else high)))


def _stages(whose: str, analysis: Mapping[str, Any], into: Fragment) -> None:
    interval = written(analysis.get("interval"), "1m")
    given = analysis.get("stepWeights")
    if not given:
        step = int(analysis.get("stepWeight") or 0)
        top = int(analysis.get("maxWeight") or 100)
        given = range(step, top + 1, step) if step else ()
    weights = sorted({int(weight) for weight in given if 0 < int(weight) < 100})
    into.stages = [{"weight": weight, "duration": interval} for weight in (*weights, 100)]
    into.lacks(
        whose,
        f"promotion at {weights[-1]} %" if weights else "no weight",
        "100 % is a stage of its own before the promotion; it was added",
    )
    if analysis.get("stepWeightPromotion"):
        step = int(analysis["stepWeightPromotion"])
        into.promotion = {"weights": [*range(100 - step, 0, -step), 0]}


def _webhooks(whose: str, webhooks: Sequence[Mapping[str, Any]], into: Fragment) -> None:
    for hook in webhooks:
        kind, name = str(hook.get("type") or "rollout"), str(hook.get("name", ""))
        if kind in _APPROVALS:
            # A gate before the traffic is the first stage's, one before the promotion the last's.
            stage = into.stages[-1 if kind == "confirm-promotion" else 0]
            stage["approval"] = True
        else:
            into.lacks(
                whose, f"webhook {name} ({kind})", _WEBHOOKS.get(kind, "there is no such hook")
            )


def _name(found: Mapping[str, Any]) -> str:
    return str((found.get("metadata") or {}).get("name", "(no name)"))
