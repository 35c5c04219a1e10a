"""A release to several targets as one HTML page, live or frozen. Pure."""

from __future__ import annotations

from datetime import datetime

from tarsrelease.model.base import Value
from tarsrelease.model.details import TargetRow
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.report.dashboard import framed, rendered, step_row
from tarsrelease.report.fleet_rows import (
    LEGEND,
    problems,
    result,
    sign,
    spread,
    target_of,
    waves,
    where,
)

_RECENT = 20
_OPEN = 60
"""Targets of a wave, above which its table is folded."""


class FleetBoard(Value):
    """What the page shows. `status` is the outcome of `status` on all targets; `recorded` are the
    evidence's outcomes, those of a target with its name: ``production/eu-1``."""

    application: str
    release: str
    environment: str
    status: Outcome
    recorded: tuple[Outcome, ...] = ()


def fleet_page(found: FleetBoard, at: datetime, *, nonce: str | None = None) -> str:
    """The whole page: with `nonce`, its script asks for changes; without, it is frozen."""
    title = f"{found.application} {found.release} in {found.environment}"
    return framed(title, fleet_content(found), at, nonce)


def fleet_content(found: FleetBoard) -> str:
    """The part of the page that changes. Whatever anybody wrote is text in it, never markup."""
    rows = found.status.details.targets
    last = {target_of(one): one for one in found.recorded if target_of(one)}
    groups = waves(rows)
    return rendered(
        _CONTENT,
        found=found,
        where=where(rows),
        count=len(rows),
        waves=[
            {
                "number": number,
                "rows": alike,
                "spread": spread(alike),
                "where": where(alike),
                "open": len(alike) <= _OPEN,
            }
            for number, alike in groups
        ],
        wrong=problems(rows),
        last={name: step_row(one) for name, one in last.items()},
        steps=[
            {**step_row(one), "target": target_of(one)} for one in found.recorded[-_RECENT:][::-1]
        ],
        legend=LEGEND,
        sign=sign,
        result=result,
        tone=_tone,
    )


def _tone(row: TargetRow) -> str:
    if row.exit_code != 0 or row.at == "rolled back":
        return "fail"
    return "pass" if row.verdict == Verdict.PROCEED else "skipped"


_CONTENT = """\
<h1>{{ found.application }} {{ found.release }} in {{ found.environment }}</h1>
<p class="big" aria-live="polite"><strong>{{ count }} targets</strong>: {{ where }}</p>
<p>One of them: <code>tarsrelease dashboard --environment {{ found.environment }}
--target NAME</code></p>
<h2>Canary at each target</h2>
{% for wave in waves %}
<h3>{% if wave.number %}Wave {{ wave.number }}: {% endif %}{{ wave.rows|length }} targets
{%- if wave.spread %}, canary {{ wave.spread }}{% endif %}</h3>
<p class="map">
{%- for row in wave.rows %}<a href="#at-{{ row.target }}" class="{{ tone(row) }}"
 title="{{ row.target }}: {{ row.at or result(row) }}
{%- if row.weight is not none %}, {{ row.weight }} %{% endif %}">
<span aria-hidden="true">{{ sign(row) }}</span><span class="told">{{ row.target }}</span></a>
{%- endfor %}</p>
{% endfor %}
<p class="soft">{{ legend }}</p>
{% if wrong %}
<h2>Not in order: {{ wrong|length }} of {{ count }}</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Not in order"><table>
<thead><tr><th scope="col">target</th><th scope="col">result</th><th scope="col">next</th>
<th scope="col">what</th></tr></thead><tbody>
{% for row in wrong %}<tr><td>{{ row.target }}</td><td class="fail">{{ result(row) }}</td>
<td>{{ row.next }}</td><td>{{ row.summary }}</td></tr>
{% endfor %}</tbody></table></div>
{% endif %}
<h2>Targets</h2>
{% for wave in waves %}
<details{% if wave.open %} open{% endif %}><summary>{% if wave.number %}Wave {{ wave.number }}:
{% endif %}{{ wave.where }}</summary>
<div class="scroll" tabindex="0" role="region" aria-label="Wave {{ wave.number or 1 }}"><table>
<thead><tr><th scope="col">target</th><th scope="col">canary</th><th scope="col">where</th>
<th scope="col">last step</th><th scope="col">what</th></tr></thead><tbody>
{% for row in wave.rows %}<tr id="at-{{ row.target }}"><td>{{ row.target }}</td>
<td>{% if row.weight is not none %}{{ row.weight }} %{% endif %}</td>
<td class="{{ tone(row) }}">{{ row.at or result(row) }}</td>
<td>{% if row.target in last %}{{ last[row.target].step }}:
<span class="{{ last[row.target].tone }}">{{ last[row.target].word }}</span>
{{ last[row.target].at }}{% endif %}</td>
<td>{{ row.summary }}</td></tr>
{% endfor %}</tbody></table></div></details>
{% endfor %}
{% if steps %}
<h2>Steps, the newest first</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Steps"><table>
<thead><tr><th scope="col">began</th><th scope="col">target</th><th scope="col">step</th>
<th scope="col">result</th><th scope="col">took</th><th scope="col">what</th></tr></thead><tbody>
{% for row in steps %}<tr><td>{{ row.at }}</td><td>{{ row.target }}</td><td>{{ row.step }}</td>
<td class="{{ row.tone }}">{{ row.word }}</td><td>{{ row.took }}</td><td>{{ row.summary }}</td></tr>
{% endfor %}</tbody></table></div>
{% endif %}
"""
