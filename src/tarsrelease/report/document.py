"""Tables and a plot as one HTML page that needs nothing else, and as Markdown. Pure."""

from __future__ import annotations

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tarsrelease.model.base import Value
from tarsrelease.report.table import markdown_cell, markdown_table


class Table(Value):
    """A section of a page."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Document(Value):
    """A page: title, a first sentence in bold, lines and list items, tables around the plot."""

    title: str
    first: str = ""
    lines: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    before: tuple[Table, ...] = ()
    plot_title: str
    after: tuple[Table, ...] = ()


_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{ d.title }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto }
body { max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; font-size: .9em }
th, td { padding: .3rem .6rem; text-align: left; vertical-align: top }
th, td { border-bottom: 1px solid #ccc }
td { overflow-wrap: anywhere } td:first-child { overflow-wrap: normal }
svg { max-width: 100%; height: auto } .PASS, .FAIL, .NOT { min-width: 7.5em }
.PASS { color: #176c2c } .FAIL { color: #b3151d } .NOT { color: #7a5b00 }
@media (prefers-color-scheme: dark) {
  body { background: #16181c; color: #ddd } th, td { border-color: #444 }
  .PASS { color: #5ecb79 } .FAIL { color: #ff7b80 } .NOT { color: #e3b94f }
}
@media print {
  body { background: #fff; color: #000; margin: 0; font-size: 11px }
  tr, svg { break-inside: avoid }
}
</style>
{% macro section(t) %}<h2>{{ t.title }}</h2>
<table><thead><tr>{% for h in t.header %}<th>{{ h }}</th>{% endfor %}</tr></thead><tbody>
{% for row in t.rows %}<tr>{% for cell in row %}<td class="{{ result(cell) }}">{{ cell }}</td>
{%- endfor %}</tr>
{% endfor %}</tbody></table>
{% endmacro -%}
<h1>{{ d.title }}</h1>
{% if d.first %}<p><b>{{ d.first }}</b></p>{% endif %}
<p>{% for line in d.lines %}{{ line }}<br>{% endfor %}</p>
{% if d.items %}<ul>{% for item in d.items %}<li>{{ item }}</li>{% endfor %}</ul>{% endif %}
{% for t in d.before %}{{ section(t) }}{% endfor %}
<h2>{{ d.plot_title }}</h2>
{{ plot }}
{% for t in d.after %}{{ section(t) }}{% endfor %}</html>
"""


def _result(cell: str) -> str:
    """The class of a cell that is a result."""
    return next((word for word in ("PASS", "FAIL", "NOT") if cell.split(" ")[0] == word), "")


def html(found: Document, plot: str) -> str:
    """The page. Whatever the document says is text in it; `plot` is an SVG of our own."""
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
    return page.render(d=found, result=_result, plot=Markup(plot))  # noqa: S704 - our own SVG


def markdown(found: Document) -> str:
    """The same without the plot."""
    lines = [f"# {markdown_cell(found.title)}", ""]
    if found.first:
        lines += [f"**{markdown_cell(found.first)}**", ""]
    for line in found.lines:
        lines += [markdown_cell(line), ""]
    lines += [f"- {markdown_cell(item)}" for item in found.items]
    for table in (*found.before, *found.after):
        lines += ["", f"## {table.title}", *markdown_table(table.header, table.rows)]
    return "\n".join(lines) + "\n"
