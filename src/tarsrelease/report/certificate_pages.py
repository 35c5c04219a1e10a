"""A certificate as one HTML page that needs nothing else, and as Markdown. Pure."""

from __future__ import annotations

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tarsrelease.report.certificate import Certificate
from tarsrelease.report.table import markdown_cell, markdown_table

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{ word }}: {{ c.release }} in {{ c.environment }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto }
body { max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; font-size: .9em }
th, td { padding: .3rem .6rem; text-align: left; vertical-align: top }
th, td { border-bottom: 1px solid #ccc }
td { overflow-wrap: anywhere } svg { max-width: 100%; height: auto }
.PASS { color: #176c2c } .FAIL { color: #b3151d } .NOT { color: #7a5b00 }
@media (prefers-color-scheme: dark) {
  body { background: #16181c; color: #ddd } th, td { border-color: #444 }
  .PASS { color: #5ecb79 } .FAIL { color: #ff7b80 } .NOT { color: #e3b94f }
}
@media print {
  body { background: #fff; color: #000; margin: 0; font-size: 11px }
  tr, svg { break-inside: avoid } details { display: block }
}
</style>
<h1>{{ word }}: {{ c.release }} in {{ c.environment }}</h1>
<p>{{ c.ended }}.<br>{{ c.started_at.isoformat(timespec="seconds") }} to
{{ c.finished_at.isoformat(timespec="seconds") }}.<br>Bundle {{ c.identity or "not recorded" }}.</p>
{% if c.overrides %}<p>Overrides of this environment:</p>
<ul>{% for line in c.overrides %}<li>{{ line }}</li>{% endfor %}</ul>{% endif %}
<h2>Success metrics</h2>
<p>{{ unchecked }} of {{ c.metrics | length }} metrics were NOT CHECKED.</p>
<table><thead><tr><th>group</th><th>metric</th><th>required</th><th>value</th><th>result</th></tr>
</thead><tbody>
{% for m in c.metrics %}<tr><td>{{ m.group }}</td><td>{{ m.name }}</td><td>{{ m.required }}</td>
<td>{{ m.value }}</td><td class="{{ m.result }}">{{ m.result }}</td></tr>
{% endfor %}</tbody></table>
<h2>Measurements over the release</h2>
{{ plot }}
{% for t in c.tables %}<h2>{{ t.title }}</h2>
<table><thead><tr>{% for h in t.header %}<th>{{ h }}</th>{% endfor %}</tr></thead><tbody>
{% for row in t.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>
{% endfor %}</html>
"""


def _word(found: Certificate) -> str:
    return "CERTIFIED" if found.certified else "NOT CERTIFIED"


def certificate_html(found: Certificate, plot: str) -> str:
    """The page. Whatever evidence says is text in it; `plot` is an SVG of our own."""
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
    return page.render(
        c=found,
        word=_word(found),
        plot=Markup(plot),  # noqa: S704 - our own SVG
        unchecked=sum(metric.result == "NOT CHECKED" for metric in found.metrics),
    )


def certificate_markdown(found: Certificate) -> str:
    """The same without the plot."""
    lines = [
        f"# {_word(found)}: {markdown_cell(found.release)} in {markdown_cell(found.environment)}",
        "",
        f"{markdown_cell(found.ended)}. {found.started_at:%Y-%m-%d %H:%M} to "
        f"{found.finished_at:%Y-%m-%d %H:%M} UTC. Bundle `{found.identity or 'not recorded'}`.",
        *(f"- Override: {markdown_cell(line)}" for line in found.overrides),
        "",
        "## Success metrics",
        *markdown_table(
            ("group", "metric", "required", "value", "result"),
            [(m.group, m.name, m.required, m.value, m.result) for m in found.metrics],
        ),
    ]
    for table in found.tables:
        lines += ["", f"## {table.title}", *markdown_table(table.header, table.rows)]
    return "\n".join(lines) + "\n"
