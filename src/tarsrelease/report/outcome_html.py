"""An outcome as one HTML page that needs nothing else: no script, no font, no address. Pure."""

from __future__ import annotations

from jinja2 import Environment, StrictUndefined

from tarsrelease.model.format import duration
from tarsrelease.model.outcome import Outcome
from tarsrelease.report.results import MARKS, count_statuses, headline, show_observed

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{ outcome.step }} {{ outcome.release or "" }}: {{ word }}</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { padding: .3rem .6rem; text-align: left; vertical-align: top }
th, td { border-bottom: 1px solid #ccc }
td { overflow-wrap: anywhere }
.pass { color: #176c2c } .fail, .error { color: #b3151d } .inconclusive, .skipped { color: #7a5b00 }
@media (prefers-color-scheme: dark) {
  body { background: #16181c; color: #ddd }
  .pass { color: #5ecb79 } .fail, .error { color: #ff7b80 }
  .inconclusive, .skipped { color: #e3b94f }
}
</style>
<h1>{{ word }}: {{ outcome.step }} {{ outcome.release or "" }}</h1>
<p>{{ outcome.summary }}</p>
<p>{{ outcome.environment or "" }} · {{ outcome.started_at.isoformat(timespec="seconds") }} ·
took {{ took }} · {{ counted }}</p>
{% if outcome.error %}<p class="fail">{{ outcome.error.doing }}: {{ outcome.error.found }}.
Expected {{ outcome.error.expected }}. Next: {{ outcome.error.next }}</p>{% endif %}
<table>
<thead><tr><th>status</th><th>check</th><th>of</th><th>observed</th><th>expected</th>
<th>reason</th><th>took</th></tr></thead>
<tbody>
{% for check in outcome.checks %}<tr>
<td class="{{ check.status.value }}">{{ marks[check.status] }} {{ check.label }}</td>
<td>{{ check.id }}</td><td>{{ check.service or "" }}</td><td>{{ observed(check.observed) }}</td>
<td>{{ check.expected }}</td><td>{{ check.reason }}</td>
<td>{{ seconds(check.window) if check.window is not none else "" }}</td>
</tr>
{% endfor %}</tbody>
</table>
{% if outcome.next %}<p>Next: {{ outcome.next }}</p>{% endif %}
</html>
"""


def outcome_html(outcome: Outcome) -> str:
    """The page. Whatever a check says is text in it, never markup."""
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
    return page.render(
        outcome=outcome,
        word=headline(outcome),
        took=duration((outcome.finished_at - outcome.started_at).total_seconds()),
        counted=count_statuses(outcome.checks),
        marks=MARKS,
        observed=show_observed,
        seconds=duration,
    )
