"""The chart value that leaves a route out of stable's render."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tarsrelease.context import Context
from tarsrelease.model.errors import UsageError
from tarsrelease.model.rollout import RouteRef
from tarsrelease.model.route_ownership import Switch
from tarsrelease.ports.cluster import Settled
from tarsrelease.rollout.canary_objects import name_of, switched_off, switches


def switch_for(context: Context, ref: RouteRef, settled: Settled) -> Switch:
    """The value, found by trying each switch of the chart; () if the chart does not render it.

    `settled` gives stable's present values. Raises UsageError if no value leaves out the route
    and nothing else.
    """
    wanted = f"{ref.kind}/{ref.name}"
    application, chart = context.rollout.application, context.release.chart
    whole = _rendered(context, {})
    if wanted not in whole:
        return ()
    given = settled.values(application) or {}
    paths = [*switches(context.cluster.charts.defaults(chart)), *switches(given)]
    for path in dict.fromkeys(paths):
        if whole - _rendered(context, switched_off(path)) == {wanted}:
            return path
    template = '{{- if dig "httpRoute" "enabled" true .Values.AsMap }} … {{- end }}'
    raise UsageError(
        doing=f"adopting {ref}",
        found=f"the chart of {application} always renders it, and Helm would reset its weights",
        expected="a value that leaves out this route and nothing else",
        next_step=f"in the chart, wrap the route's template in {template}, build the bundle again, "
        "then run this command again",
    )


def _rendered(context: Context, off: Mapping[str, Any]) -> set[str]:
    """``Kind/name`` of what the next upgrade of stable would apply."""
    application = context.rollout.application
    found = context.cluster.charts.render(
        application,
        context.release.chart,
        [off, context.environment.helm.values, context.release.manifest.image_values],
        values_from=application,
    )
    return {name_of(each) for each in found}
