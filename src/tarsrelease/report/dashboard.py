"""The release in progress as one HTML page, live or frozen. Pure.

The page needs nothing else: no font, no address, and a script only where it is live. It has no form
and no link that changes anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined, Template

from tarsrelease.model.base import Value
from tarsrelease.model.format import duration
from tarsrelease.model.journal import Entry, Phase, VoteFacts
from tarsrelease.model.notice import Told, event_in
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.model.step_details import ItemRow, MessagesDetails, NotifyDetails, StatusDetails
from tarsrelease.report.results import MARKS, count_statuses, headline, show_observed, show_samples
from tarsrelease.report.rows import ordered
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.votes import of_this_round

_WIDTH, _HEIGHT = 720, 160
_RECENT = 12
_SAID = (
    *("severity", "role", "vote", "criterion", "item", "text", "owner"),
    *("by", "reason", "note", "why"),
)
"""The facts of a journal's entry that the page shows."""
_STEP = timedelta(seconds=10)
"""The plot of a release in progress ends at the last multiple of it, so that few updates change
nothing else."""
_WORDS = {
    Status.PASS: "done",
    Status.FAIL: "open",
    Status.SKIPPED: "to come",
    Status.INCONCLUSIVE: "unclear",
    Status.ERROR: "not measured",
}


class Dashboard(Value):
    """What the page shows. `status` is an outcome of `status`; `recorded` are the evidence's;
    `items` are those of all checklists.

    `problem` says why the cluster could not be read; `status` is then the last one that could.
    """

    application: str
    release: str
    environment: str
    status: Outcome | None
    recorded: tuple[Outcome, ...] = ()
    journal: tuple[Entry, ...] = ()
    items: tuple[ItemRow, ...] = ()
    problem: str = ""


class Point(NamedTuple):
    """The canary's share from a moment on, in percent."""

    at: datetime
    weight: int


def page(found: Dashboard, at: datetime, *, nonce: str | None = None) -> str:
    """The whole page: with `nonce`, its script asks for changes; without, it is frozen."""
    title = f"{found.application} {found.release} in {found.environment}"
    return framed(title, content(found), at, nonce)


def framed(title: str, content: str, at: datetime, nonce: str | None) -> str:
    """A page with this content (HTML): see `page`."""
    moment = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return rendered(_PAGE, title=title, content=content, at=moment, nonce=nonce)


def rendered(source: str, **values: Any) -> str:
    """The template with these values, which are text and never markup."""
    return _template(source).render(**values)


def content(found: Dashboard) -> str:
    """The part of the page that changes. Whatever anybody wrote is text in it, never markup."""
    details = StatusDetails.of(found.status.details) if found.status else None
    gate = next((o for o in reversed(found.recorded) if o.step == "gate"), None)
    return rendered(
        _CONTENT,
        found=found,
        details=details,
        position=details.position if details else None,
        until=_moment(details.position.until) if details else "",
        since=_moment(details.position.since) if details else "",
        steps=[step_row(each) for each in found.recorded[-_RECENT:]],
        gate=gate,
        counted=count_statuses(gate.checks) if gate else "",
        checks=[_row(check) for check in ordered(gate.checks)] if gate else [],
        plot=_plot(traffic(found.journal, found.release), found.status),
        entries=[_entry(each) for each in reversed(found.journal[-_RECENT:])],
        messages=_messages(found.recorded),
        votes=_votes(of_this_round(found.journal, found.release, None)),
        items=_items(found.items),
        holder=details.lock if details else None,
        moment=_moment,
        word=headline,
    )


def traffic(entries: Iterable[Entry], release: str) -> list[Point]:
    """The canary's share over the last attempt, from what was written."""
    found = []
    for entry in release_journal.of_this_attempt(list(entries), release):
        if entry.action == release_journal.SHIFT and entry.phase is Phase.RESULT:
            found.append(Point(entry.at, entry.facts.weight or 0))
        elif entry.action == release_journal.MOVE_ALL:
            found.append(Point(entry.at, 0 if getattr(entry.facts, "to", "") == "stable" else 100))
        elif entry.action == release_journal.DEPLOY and entry.phase is Phase.INTENT:
            found.append(Point(entry.at, 0))
    return [p for n, p in enumerate(found) if n == 0 or p.weight != found[n - 1].weight]


class Plot(NamedTuple):
    """A step line in SVG: its path, and labels at the left and right ends."""

    path: str
    begins: str
    ends: str
    now: int


def _plot(points: Sequence[Point], status: Outcome | None) -> Plot | None:
    """Up to the time of `status` while the canary has traffic, else up to the last change."""
    if len(points) < 2:
        return None
    first, last = points[0].at, points[-1].at
    if status is not None and points[-1].weight:
        last = max(last, status.finished_at - (status.finished_at - first) % _STEP)
    span = max((last - first).total_seconds(), 1.0)
    steps = [f"M0 {_y(points[0].weight):.1f}"]
    for point in points[1:]:
        x = (point.at - first).total_seconds() / span * _WIDTH
        steps.append(f"H{x:.1f} V{_y(point.weight):.1f}")
    steps.append(f"H{_WIDTH}")
    return Plot(" ".join(steps), f"{first:%H:%M:%S}", f"{last:%H:%M:%S}", points[-1].weight)


def _y(weight: int) -> float:
    return _HEIGHT * (1 - weight / 100)


def _row(check: Check) -> dict[str, str]:
    return {
        "status": check.status.value,
        "mark": MARKS[check.status],
        "id": check.id,
        "service": check.service or "",
        "observed": show_observed(check.observed),
        "expected": check.expected,
        "requests": show_samples(check),
        "reason": check.reason,
    }


def step_row(outcome: Outcome) -> dict[str, str]:
    """A step as a row of a table."""
    took = (outcome.finished_at - outcome.started_at).total_seconds()
    return {
        "at": _moment(outcome.started_at),
        "step": outcome.step,
        "word": headline(outcome),
        "tone": "pass" if outcome.verdict is Verdict.PROCEED else "fail",
        "took": duration(took),
        "summary": outcome.summary,
    }


def _entry(entry: Entry) -> dict[str, str]:
    facts = entry.facts
    said = [f"{facts.weight} %"] if facts.weight is not None else []
    said += [facts.verdict] if facts.verdict else []
    said += [str(getattr(facts, name)) for name in _SAID if getattr(facts, name, "")]
    return {
        "at": _moment(entry.at),
        "action": entry.action,
        "phase": entry.phase.value,
        "said": ", ".join(said),
    }


def _messages(recorded: Iterable[Outcome]) -> list[str]:
    """Who was told what, the newest first."""
    found = []
    for outcome in recorded:
        several = MessagesDetails.of(outcome.details)
        if several is not None:
            found += [_told(each) for each in several.told]
            found += [f"not told: {warning}" for warning in several.warnings]
        details = NotifyDetails.of(outcome.details)
        if details is None:
            continue
        event = event_in(details.key)
        to = ", ".join(details.delivered) or "nobody"
        found.append(f"{_moment(outcome.finished_at)} {event}: {to}")
        found += [f"not told: {warning}" for warning in details.warnings]
    return found[::-1][:_RECENT]


def _told(told: Told) -> str:
    event = f"{told.notice.event} {told.notice.about}".strip()
    return f"{_moment(told.at)} {event}: {', '.join(told.delivered) or 'nobody'}"


def _votes(journal: Iterable[Entry]) -> list[dict[str, str]]:
    """The last vote of each role in these entries."""
    found = {}
    for entry in journal:
        vote = VoteFacts.of(entry.facts)
        if vote is not None:
            found[vote.role] = {
                "at": _moment(entry.at),
                "role": vote.role,
                "vote": str(vote.vote),
                "by": vote.by,
                "reason": vote.reason,
            }
    return list(found.values())


def _items(rows: Iterable[ItemRow]) -> list[dict[str, str]]:
    """Every item with its mark."""
    return [
        {**row.model_dump(), "mark": MARKS[Status(row.status)], "word": _WORDS[Status(row.status)]}
        for row in rows
    ]


def _moment(at: datetime | None) -> str:
    return f"{at:%H:%M:%S} UTC" if at is not None else ""


@cache
def _template(source: str) -> Template:
    return Environment(autoescape=True, undefined=StrictUndefined).from_string(source)


_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{% if nonce is none -%}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
{% endif -%}
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --line: #c9ccd1; --ink: #1f2328; --soft: #57606a;
  --ground: #fff; --good: #116329; --bad: #a40e26; --open: #7a4d00; --mark: #0550ae }
@media (prefers-color-scheme: dark) { :root { --line: #3d444d; --ink: #e6edf3; --soft: #9da7b3;
  --ground: #0d1117; --good: #57d364; --bad: #ff8b84; --open: #e3b341; --mark: #79c0ff } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; color: var(--ink);
  background: var(--ground); font: 1rem/1.45 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: 0 0 .3rem } h2 { font-size: 1.1rem; margin: 1.4rem 0 .3rem }
.big { font-size: 1.25rem; margin: .2rem 0 } .soft { color: var(--soft) }
.pass { color: var(--good) } .fail, .error { color: var(--bad) }
.inconclusive, .skipped { color: var(--open) }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem .3rem 0; text-align: left;
  vertical-align: top } td { overflow-wrap: break-word }
.scroll td:last-child { min-width: 18rem }
svg { width: 100%; height: auto; border: 1px solid var(--line); font-size: 14px }
@media (max-width: 40rem) { svg { font-size: 26px } }
h3 { font-size: 1rem; margin: .8rem 0 .2rem } summary { cursor: pointer; padding: .3rem 0 }
.map { display: flex; flex-wrap: wrap; gap: 3px; margin: .2rem 0; font-size: .8rem }
.map a { width: 1.6rem; height: 1.6rem; line-height: 1.5rem; text-align: center; overflow: hidden;
  border: 1px solid currentColor; border-radius: 3px; text-decoration: none; position: relative }
.told { position: absolute; clip-path: inset(50%); white-space: nowrap }
tr:target { outline: 2px solid var(--mark) }
code { font-size: 1rem } ul { padding-left: 1.2rem }
:focus-visible { outline: 3px solid var(--mark); outline-offset: 2px }
@media print { body { max-width: none } }
</style>
<main id="now" tabindex="-1">{{ content|safe }}</main>
<footer class="soft" id="age">As of {{ at }}{{ "" if nonce else "; it does not change any more" }}.
</footer>
{% if nonce is not none -%}
<script nonce="{{ nonce }}">
const now = document.getElementById("now"), age = document.getElementById("age");
const source = new EventSource("events");
source.onmessage = (event) => {
  const news = JSON.parse(event.data);
  if (news.content !== undefined) replace(news.content);
  age.textContent = "As of " + news.at + ".";
};
function replace(content) {  // a reader keeps the place: what is scrolled, and what has the focus
  const tables = () => [...now.querySelectorAll(".scroll")].map((t) => [t.ariaLabel, t]);
  const left = Object.fromEntries(tables().map(([name, t]) => [name, t.scrollLeft]));
  const focused = now.contains(document.activeElement) && document.activeElement.ariaLabel;
  now.innerHTML = content;
  for (const [name, table] of tables()) {
    table.scrollLeft = left[name] || 0;
    if (name === focused) table.focus({preventScroll: true});
  }
}
source.onerror = () => { age.textContent = "Connection lost; trying again. " + age.textContent; };
</script>
{% endif -%}
</html>
"""

_CONTENT = """\
<h1>{{ found.application }} {{ found.release }} in {{ found.environment }}</h1>
{% if found.problem %}
<p class="fail" role="alert">The cluster cannot be read: {{ found.problem }}</p>
{% endif %}
{% if position %}
<p class="big" aria-live="polite"><strong>{{ position.at }}</strong>: {{ position.says }}</p>
<p>Canary: {{ position.weight }} % of the traffic{% if since %} since {{ since }}{% endif %}.
{% if position.waits_for %}Waits for {{ position.waits_for }}
{%- if until %} until {{ until }}{% endif %}.{% endif %}</p>
{% if position.next.startswith("tarsrelease ") %}<p>Next: <code>{{ position.next }}</code></p>
{% else %}<p>Next: {{ position.next }}</p>{% endif %}
{% for line in details.lines %}<p class="fail">{{ line }}</p>{% endfor %}
{% if holder %}<p class="soft">The lock: run {{ holder.run }} of {{ holder.owner }}, until
{{ moment(holder.expires_at) }}.</p>{% endif %}
{% else %}<p class="big">Nothing is known of this release yet.</p>{% endif %}
{% if plot %}
<h2>Traffic on the canary</h2>
<svg viewBox="-56 -16 784 214" role="img"
 aria-label="Traffic on the canary from {{ plot.begins }} to {{ plot.ends }}, now {{ plot.now }} %">
<g stroke="currentColor" stroke-opacity=".25"><path d="M0 0H720M0 80H720M0 160H720"/></g>
<path d="{{ plot.path }}" fill="none" stroke="currentColor" stroke-width="2.5"/>
<g fill="currentColor" text-anchor="end" dominant-baseline="middle">
<text x="-8" y="0">100</text><text x="-8" y="80">50</text><text x="-8" y="160">0</text>
<text x="0" y="182" text-anchor="start">{{ plot.begins }}</text>
<text x="720" y="182">{{ plot.ends }}</text></g></svg>
{% endif %}
{% if details and details.routes %}
<h2>Routes</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Routes"><table>
<thead><tr><th scope="col">service</th><th scope="col">canary</th><th scope="col">stage</th>
<th scope="col">accepted</th></tr></thead><tbody>
{% for route in details.routes %}<tr><td>{{ route.service }}</td><td>{{ route.weight }} %</td>
<td>{{ route.stage or "" }}</td><td class="{{ 'pass' if route.accepted else 'fail' }}">
{{ "yes" if route.accepted else (route.problem or "no") }}</td></tr>
{% endfor %}</tbody></table></div>
{% endif %}
{% if gate %}
<h2>Last gate: {{ word(gate) }}</h2>
<p>{{ gate.summary }} <span class="soft">({{ counted }})</span></p>
<div class="scroll" tabindex="0" role="region" aria-label="Checks of the last gate"><table>
<thead><tr><th scope="col">status</th><th scope="col">check</th><th scope="col">service</th>
<th scope="col">observed</th><th scope="col">expected</th><th scope="col">requests</th>
<th scope="col">reason</th></tr></thead><tbody>
{% for row in checks %}<tr><td class="{{ row.status }}">{{ row.mark }} {{ row.status }}</td>
<td>{{ row.id }}</td><td>{{ row.service }}</td><td>{{ row.observed }}</td>
<td>{{ row.expected }}</td>
<td>{{ row.requests }}</td><td>{{ row.reason }}</td></tr>
{% endfor %}</tbody></table></div>
{% endif %}
{% if steps %}
<h2>Steps</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Steps"><table>
<thead><tr><th scope="col">began</th><th scope="col">step</th><th scope="col">result</th>
<th scope="col">took</th><th scope="col">what</th></tr></thead><tbody>
{% for row in steps %}<tr><td>{{ row.at }}</td><td>{{ row.step }}</td>
<td class="{{ row.tone }}">{{ row.word }}</td><td>{{ row.took }}</td><td>{{ row.summary }}</td></tr>
{% endfor %}</tbody></table></div>
{% endif %}
{% if entries %}
<h2>Journal, the newest first</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Journal"><table>
<thead><tr><th scope="col">at</th><th scope="col">action</th><th scope="col">phase</th>
<th scope="col">what</th></tr></thead><tbody>
{% for row in entries %}<tr><td>{{ row.at }}</td><td>{{ row.action }}</td><td>{{ row.phase }}</td>
<td>{{ row.said }}</td></tr>
{% endfor %}</tbody></table></div>
{% endif %}
{% if votes %}
<h2>Votes</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Votes"><table>
<thead><tr><th scope="col">role</th><th scope="col">vote</th><th scope="col">by</th>
<th scope="col">at</th><th scope="col">reason</th></tr></thead><tbody>
{% for row in votes %}<tr><td>{{ row.role }}</td>
<td class="{{ 'pass' if row.vote|upper == 'GO' else 'fail' }}">{{ row.vote|upper }}</td>
<td>{{ row.by }}</td><td>{{ row.at }}</td><td>{{ row.reason }}</td></tr>
{% endfor %}</tbody></table></div>
{% endif %}
{% if messages %}
<h2>Messages</h2>
<ul>{% for message in messages %}<li>{{ message }}</li>{% endfor %}</ul>
{% endif %}
{% if items %}
<h2>Checklists: {{ items|selectattr("status", "equalto", "pass")|list|length }} of
{{ items|length }} items done</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Checklists"><table>
<thead><tr><th scope="col">state</th><th scope="col">checklist</th><th scope="col">item</th>
<th scope="col">who</th><th scope="col">when</th><th scope="col">evidence</th></tr></thead><tbody>
{% for row in items %}<tr><td class="{{ row.status }}">{{ row.mark }} {{ row.word }}</td>
<td>{{ row.checklist }}</td><td>{{ row.item }}: {{ row.text }}</td><td>{{ row.who }}</td>
<td>{{ row.when }}</td><td>{{ row.evidence }}</td></tr>
{% endfor %}</tbody></table></div>
{% endif %}
"""
