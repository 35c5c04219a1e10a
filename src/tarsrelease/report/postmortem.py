"""A post-mortem and lessons learned from the evidence, as Markdown with graphs. Pure.

What the evidence proves is filled in; what only people know stays a question in brackets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined, Template

from tarsrelease.model.format import duration
from tarsrelease.model.notice import event_in
from tarsrelease.model.outcome import Check, Outcome, Status
from tarsrelease.model.step_details import (
    GateDetails,
    IncidentDetails,
    MessagesDetails,
    NotifyDetails,
    RollbackDetails,
)
from tarsrelease.report.results import headline, show_observed
from tarsrelease.report.svg_plot import Panel, svg

GRAPH = "graphs.svg"
_OPEN = "[fill in]"
_PLOTTED = 4
"""Checks with a panel of their own, besides the traffic."""
_ENDS = ("run", "rehearse", "report day")
"""Outcomes that repeat those of their steps."""


class Facts(NamedTuple):
    """What the evidence says, for the templates."""

    title: str
    release: str
    environment: str
    began: str
    ended: str
    took: str
    result: str
    severity: str
    reason: str
    failed: Sequence[tuple[str, str, str, str]]
    timeline: Sequence[tuple[str, str, str]]
    rollback: str
    told: Sequence[str]
    undelivered: Sequence[str]
    went_well: Sequence[str]
    graph: str


BLANK = Facts(
    title="[application and release]",
    **dict.fromkeys(("release", "environment", "began", "ended", "took", "result"), _OPEN),
    severity=_OPEN,
    reason=_OPEN,
    failed=(("[check]", "[service]", "[observed]", "[expected]"),),
    timeline=(("[time, UTC]", "[step]", "[what happened]"),),
    rollback=_OPEN,
    told=(_OPEN,),
    undelivered=(),
    went_well=(_OPEN,),
    graph="",
)
"""The facts of an empty template."""


def facts_of(outcomes: Iterable[Outcome]) -> Facts:
    """The facts in the evidence of one release. `outcomes` has at least one."""
    ordered = sorted(outcomes, key=lambda outcome: (outcome.started_at, outcome.finished_at))
    steps = [outcome for outcome in ordered if outcome.step not in _ENDS] or ordered
    last = ordered[-1]
    release = next((each.release for each in ordered if each.release), None) or _OPEN
    began, ended = steps[0].started_at, max(each.finished_at for each in ordered)
    decided = next((e for e in steps if e.step == "gate" and str(e.verdict) == "rollback"), None)
    failing = decided or next((each for each in reversed(steps) if _failed(each)), None)
    rollback = next((each for each in reversed(steps) if each.step == "rollback"), None)
    return Facts(
        title=f"{release} in {last.environment or _OPEN}, {began:%Y-%m-%d}",
        release=release,
        environment=last.environment or _OPEN,
        began=_time(began),
        ended=_time(ended),
        took=duration((ended - began).total_seconds()),
        result=last.summary,
        severity=_severity(steps),
        reason=failing.summary if failing is not None else "no check failed",
        failed=[_check(check) for check in (_failed(failing) if failing is not None else [])],
        timeline=[(_time(e.started_at), _name(e), f"{headline(e)}: {e.summary}") for e in steps],
        rollback=_rollback(rollback),
        told=_told(steps),
        undelivered=[
            warning
            for each in steps
            if each.step.startswith(("messages", "notify"))
            for warning in each.details.warnings
        ],
        went_well=[f"{_name(e)}: {e.summary}" for e in steps if str(e.verdict) == "proceed"][:8],
        graph=GRAPH,
    )


def postmortem(facts: Facts) -> str:
    """The post-mortem."""
    return _template(_POSTMORTEM).render(facts._asdict())


def lessons(facts: Facts) -> str:
    """The lessons learned."""
    return _template(_LESSONS).render(facts._asdict())


def graphs(outcomes: Iterable[Outcome]) -> str:
    """The canary's traffic, and what the gates measured, over time, as SVG."""
    traffic: list[tuple[float, float | None]] = []
    values: dict[str, dict[str, list[tuple[float, float | None]]]] = {}
    limits: list[tuple[float, str]] = []
    gates = [each for each in outcomes if each.step == "gate"]
    for outcome in sorted(gates, key=lambda each: each.started_at):
        gate = GateDetails.of(outcome.details)
        if gate is None or gate.weight is None:
            continue
        begins = outcome.started_at.timestamp()
        traffic += [(begins, float(gate.weight)), (outcome.finished_at.timestamp(), gate.weight)]
        limits.append((begins, gate.stage or f"{gate.weight} %"))
        if str(outcome.verdict) == "rollback":
            traffic.append((outcome.finished_at.timestamp(), 0.0))
            limits.append((outcome.finished_at.timestamp(), "rollback"))
        for point in gate.history:
            at = outcome.finished_at - timedelta(seconds=gate.history[-1].elapsed - point.elapsed)
            for name, value in point.values.items():
                check, _, service = name.partition("/")
                line = values.setdefault(check, {}).setdefault(service, [])
                line.append((at.timestamp(), value))
    panels = [Panel("traffic on the canary", "%", {"canary": traffic})] if traffic else []
    panels += [Panel(check, "", dict(lines)) for check, lines in list(values.items())[:_PLOTTED]]
    return svg("The release over time", panels, limits)


def _failed(outcome: Outcome) -> list[Check]:
    return [check for check in outcome.checks if check.status is Status.FAIL]


def _check(check: Check) -> tuple[str, str, str, str]:
    return (check.id, check.service or "", show_observed(check.observed), check.expected)


def _name(outcome: Outcome) -> str:
    gate = GateDetails.of(outcome.details)
    return f"{outcome.step} {gate.stage}" if gate is not None and gate.stage else outcome.step


def _severity(steps: Sequence[Outcome]) -> str:
    found = [d.classification for e in steps if (d := IncidentDetails.of(e.details)) is not None]
    known = [each.severity for each in found if each.severity is not None]
    return str(min(known)) if known else "[P0 to P3: `tarsrelease incident classify`]"


def _rollback(outcome: Outcome | None) -> str:
    details = RollbackDetails.of(outcome.details) if outcome is not None else None
    if outcome is None:
        return "none"
    took = duration((outcome.finished_at - outcome.started_at).total_seconds())
    moved = details.traffic_moved_at if details is not None else None
    at = _time(datetime.fromisoformat(moved)) if moved else ""
    return took + (f"; all traffic was on stable at {at}" if at else "")


def _told(steps: Sequence[Outcome]) -> list[str]:
    found = []
    for outcome in steps:
        several = MessagesDetails.of(outcome.details)
        for each in several.told if several is not None else ():
            who = ", ".join(each.delivered) or "nobody"
            event = f"{each.notice.event} {each.notice.about}".strip()
            found.append(f"{_time(each.at)} {event}: {who}")
        one = NotifyDetails.of(outcome.details)
        if one is not None:
            who = ", ".join(one.delivered) or "nobody"
            found.append(f"{_time(outcome.finished_at)} {event_in(one.key)}: {who}")
    return found


def _time(at: datetime) -> str:
    return f"{at:%H:%M:%S}"


def _cell(text: object) -> str:
    """Text for a cell of a table: no markup, one line."""
    found = " ".join(str(text).split())
    for sign in "\\`*_|<>[]":
        found = found.replace(sign, f"\\{sign}") if not found.startswith("[") else found
    return found


@cache
def _template(source: str) -> Template:
    environment = Environment(
        autoescape=False,  # noqa: S701 - Markdown; the filter `cell` escapes it
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = _cell
    return environment.from_string(source)


_POSTMORTEM = """\
# Post-mortem: {{ title }}

Blameless: it describes what the system and the process let happen, not who did it.

| | |
|---|---|
| Release | {{ release|cell }} |
| Environment | {{ environment|cell }} |
| Began, ended (UTC) | {{ began }}, {{ ended }} |
| Duration | {{ took }} |
| Severity | {{ severity }} |
| Result | {{ result|cell }} |
| Rollback | {{ rollback|cell }} |
| Authors | [names] |

## Summary

{{ reason|cell }}

[Two or three sentences: what users noticed, for how long, how many.]

## What the gates measured

| check | service | observed | expected |
|---|---|---|---|
{% for check, service, observed, expected in failed %}
| {{ check|cell }} | {{ service|cell }} | {{ observed|cell }} | {{ expected|cell }} |
{% endfor %}
{% if graph %}

![The release over time]({{ graph }})
{% endif %}

## Timeline

| UTC | step | what happened |
|---|---|---|
{% for at, step, what in timeline %}
| {{ at }} | {{ step|cell }} | {{ what|cell }} |
{% endfor %}

## Who was told

{% for line in told %}
- {{ line|cell }}
{% endfor %}
{% for line in undelivered %}
- NOT DELIVERED: {{ line|cell }}
{% endfor %}

## Root cause

[Why did it happen? Ask "why" until the answer is something that can be changed.]

## Detection and response

[What found it, what could have found it earlier, and what delayed the response?]

## Action items

| action | owner | due | kind (prevent, detect, respond) |
|---|---|---|---|
| [action] | [name] | [date] | [kind] |
"""

_LESSONS = """\
# Lessons learned: {{ title }}

Fill in within 48 hours after the release.

{{ result|cell }} It took {{ took }} ({{ began }} to {{ ended }} UTC).
{% if graph %}

![The release over time]({{ graph }})
{% endif %}

## What went well

{% for line in went_well %}
- {{ line|cell }}
{% endfor %}
- [what else]

## What could be improved

{% for check, service, observed, expected in failed %}
- {{ check|cell }} {{ service|cell }}: {{ observed|cell }}, expected {{ expected|cell }}
{% endfor %}
{% for line in undelivered %}
- A message was not delivered: {{ line|cell }}
{% endfor %}
- [what else]

## Unexpected issues

- [what nobody had expected]

## Timeline

| UTC | step | what happened |
|---|---|---|
{% for at, step, what in timeline %}
| {{ at }} | {{ step|cell }} | {{ what|cell }} |
{% endfor %}

## Action items for the next release

- [ ] [action] - Owner: [name] - Due: [date]
"""
