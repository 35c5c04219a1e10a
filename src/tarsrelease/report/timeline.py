"""The timeline of a release as Markdown for a wiki, and as an iCalendar file (RFC 5545)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo

from tarsrelease.model.incident import EscalationLevel
from tarsrelease.model.rollout import Rollout
from tarsrelease.report.table import markdown_cell, markdown_table

Event = tuple[str, datetime, datetime, Sequence[str], Sequence[str]]
"""Title, start, end, participants, actions."""
_OCTETS = 75


def timeline_markdown(
    rollout: Rollout, environment: str, events: Sequence[Event], zone: tzinfo
) -> str:
    """Times in `zone`; then roles and contacts, the escalation path, and links."""
    name = zone.tzname(events[0][1]) if events else "UTC"
    rows = [
        (_when(starts, ends, zone), title, ", ".join(people), "\n".join(actions))
        for title, starts, ends, people, actions in events
    ]
    heading = f"# {rollout.application} {rollout.version} to {environment}"
    blocks: list[Sequence[str]] = [[markdown_cell(heading)]]
    blocks.append(["## Timeline"])
    blocks.append(markdown_table((f"time ({name})", "what", "who", "actions"), rows))
    roles = [
        (role.title, role.name, role.slack, role.phone, role.schedule, "yes" if role.votes else "")
        for role in rollout.readiness.roles.values()
    ]
    header = ("role", "name", "chat", "phone", "on-call schedule", "votes")
    blocks += [["## Roles"], markdown_table(header, roles)]
    levels = rollout.incidents.escalation
    if levels:
        blocks += [["## Escalation"], markdown_table(_LEVELS, list(_escalation(levels)))]
    if rollout.readiness.links:
        links = [f"- {markdown_cell(each.name)}: <{each.url}>" for each in rollout.readiness.links]
        blocks += [["## Links"], links]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


_LEVELS = ("level", "role", "name", "reach", "decides")


def _escalation(levels: Sequence[EscalationLevel]) -> Iterator[tuple[str, ...]]:
    for number, each in enumerate(levels, 1):
        yield f"L{number}", each.role, each.name, each.reach, each.decides


def _when(starts: datetime, ends: datetime, zone: tzinfo) -> str:
    first, last = starts.astimezone(zone), ends.astimezone(zone)
    until = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d %H:%M} to {until}"


def timeline_calendar(
    rollout: Rollout, environment: str, events: Sequence[Event], made_at: datetime
) -> str:
    """A VCALENDAR with one VEVENT per event. The UIDs stay the same, so a new file updates them."""
    links = [f"{each.name}: {each.url}" for each in rollout.readiness.links]
    rooms = [each.url for each in rollout.readiness.links if each.kind == "war-room"]
    product = f"{rollout.application} {rollout.version}"
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//tarsrelease//timeline//EN"]
    lines += ["CALSCALE:GREGORIAN", "METHOD:PUBLISH", f"X-WR-CALNAME:{_text(product)}"]
    seen: dict[str, int] = {}
    for title, starts, ends, people, actions in events:
        seen[title] = seen.get(title, 0) + 1
        slug = "".join(c if c.isalnum() and c.isascii() else "-" for c in title.lower())
        said = [*(f"Who: {', '.join(people)}" for _ in people[:1]), *actions, *links]
        lines += [
            "BEGIN:VEVENT",
            f"UID:{slug}-{seen[title]}.{rollout.version}.{rollout.application}.{environment}@tarsrelease",
            f"DTSTAMP:{_utc(made_at)}",
            f"DTSTART:{_utc(starts)}",
            f"DTEND:{_utc(ends)}",
            f"SUMMARY:{_text(f'{product}: {title}')}",
            *([f"DESCRIPTION:{_text(chr(10).join(said))}"] if said else []),
            *([f"LOCATION:{_text(rooms[0])}"] if rooms else []),
            "END:VEVENT",
        ]
    lines.append("END:VCALENDAR")
    return "".join(f"{folded}\r\n" for line in lines for folded in _folded(line))


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _text(text: str) -> str:
    """TEXT of RFC 5545, 3.3.11."""
    escaped = text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    plain = "".join(c if c.isprintable() or c == "\n" else " " for c in escaped)
    return plain.replace("\n", "\\n")


def _folded(line: str) -> Iterator[str]:
    """Lines of at most 75 octets (RFC 5545, 3.1); a continuation begins with a space."""
    part = ""
    for character in line:
        if len((part + character).encode()) > _OCTETS:
            yield part
            part = " "
        part += character
    yield part
