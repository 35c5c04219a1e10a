"""The timeline: its times follow the window and the journal, as Markdown and as a calendar."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from bundle_samples import ROLLOUT
from hypothesis import given
from hypothesis import strategies as st

from tarsrelease.cli import main
from tarsrelease.model.journal import DeployFacts, Entry, Facts, Phase
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.window import DeploymentWindow, FixedWindow
from tarsrelease.readiness.timeline import planned, timeline
from tarsrelease.report.timeline import Event, timeline_calendar, timeline_markdown
from tarsrelease.rollout.schedule import schedule

NOW = datetime(2026, 12, 1, 6, tzinfo=UTC)  # a Tuesday
LINKS = [
    {"name": "War room", "url": "https://meet.example/shop", "kind": "war-room"},
    {"name": "Overview", "url": "https://grafana.example/d/shop?a=1;b=2", "kind": "dashboards"},
]


def rollout(window: object = None, **readiness: object) -> Rollout:
    written = yaml.safe_load(ROLLOUT)
    found = Rollout.model_validate(written | {"readiness": {"links": LINKS, **readiness}})
    return found.model_copy(update={"window": window})


WEEKLY = DeploymentWindow(days=("tue",), hours="09:00-13:00", timezone="Europe/Berlin")


def entry(action: str, at: datetime, phase: Phase, facts: Facts) -> Entry:
    version = rollout().version
    return Entry(
        at=at, run="r", release=version, step=action, action=action, phase=phase, facts=facts
    )


def test_it_begins_with_the_window_and_ends_with_the_planned_stages() -> None:
    mine = rollout(WEEKLY)
    when = planned(mine, [], NOW)
    assert when is not None
    assert when.starts == datetime(2026, 12, 1, 8, tzinfo=UTC)
    assert when.ends - when.starts == timedelta(minutes=schedule(mine, mine).minutes)
    open_now = planned(mine, [], NOW + timedelta(hours=4))
    assert open_now is not None
    assert open_now.starts == when.starts, "the window that is open, not the next one"
    assert planned(rollout(), [], NOW) is None
    chosen = planned(rollout(), [], NOW, starts=NOW)
    assert chosen is not None
    assert chosen.starts == NOW


def test_a_fixed_window_and_the_journal_replace_the_plan() -> None:
    agreed = FixedWindow(starts=NOW - timedelta(days=1), ends=NOW)
    when = planned(rollout(agreed), [], NOW)
    assert when is not None
    assert when.starts == agreed.starts
    begun = NOW + timedelta(minutes=7)
    done = begun + timedelta(minutes=99)
    entries = [
        entry("deploy", begun, Phase.INTENT, DeployFacts()),
        entry("promote", done, Phase.RESULT, Facts()),
    ]
    real = planned(rollout(agreed), entries, NOW)
    assert real is not None
    assert (real.starts, real.ends) == (begun, done)
    assert real.at("end+2h") == done + timedelta(hours=2)


def events(mine: Rollout) -> list[Event]:
    when = planned(mine, [], NOW, starts=NOW)
    assert when is not None
    return [(e.title, e.starts, e.ends, e.participants, e.actions) for e in timeline(mine, when)]


def test_every_phase_and_due_checklist_is_in_order_with_its_participants() -> None:
    found = events(rollout())
    assert [start for _, start, _, _, _ in found] == sorted(start for _, start, _, _, _ in found)
    by_title = {title: (start - NOW, people) for title, start, _, people, _ in found}
    assert by_title["Final preparation"][0] == timedelta(minutes=-60)
    assert by_title["Final preparation"][1] == ("Release manager", "SRE lead", "QA lead")
    assert by_title["Checklist: Technical"][0] == timedelta(hours=-24)
    assert "Checklist: During the release" not in by_title


def test_the_page_has_the_window_s_own_times_roles_and_links() -> None:
    roles = {"sre": {"title": "SRE | lead", "name": "Ada", "slack": "@ada", "votes": True}}
    mine = rollout(
        WEEKLY,
        roles=roles,
        timeline=[{"title": "Release", "participants": ["sre"]}],
        checklists={name: {"title": name} for name in ("stakeholders", "technical")},
    )
    text = timeline_markdown(mine, "production", events(mine)[-1:], WEEKLY.zone)
    assert "time (CET)" in text
    assert "SRE \\| lead" in text, "a bar does not leave its cell"
    assert "- War room: <https://meet.example/shop>" in text


def unfolded(calendar: str) -> list[str]:
    """The content lines, each held to RFC 5545: CRLF, at most 75 octets."""
    assert calendar.endswith("\r\n")
    lines = calendar[:-2].split("\r\n")
    assert all(len(line.encode()) <= 75 for line in lines)
    assert not any("\r" in line or "\n" in line for line in lines)
    found: list[str] = []
    for line in lines:
        if line.startswith(" "):
            found[-1] += line[1:]
        else:
            found.append(line)
    return found


ALLOWED_ONCE = {"UID", "DTSTAMP", "DTSTART", "DTEND", "SUMMARY", "DESCRIPTION", "LOCATION"}


def components(calendar: str) -> Iterator[dict[str, str]]:
    """The events of a VCALENDAR by property (RFC 5545, 3.6.1)."""
    lines = unfolded(calendar)
    assert (lines[0], lines[-1]) == ("BEGIN:VCALENDAR", "END:VCALENDAR")
    begins = lines.index("BEGIN:VEVENT")
    header = dict(line.split(":", 1) for line in lines[1:begins])
    assert header["VERSION"] == "2.0"
    assert header["PRODID"]
    event: dict[str, str] | None = None
    for line in lines[begins:-1]:
        name, colon, value = line.partition(":")
        assert colon
        if line == "BEGIN:VEVENT":
            assert event is None
            event = {}
        elif line == "END:VEVENT":
            assert event is not None
            assert {"UID", "DTSTAMP", "DTSTART"} <= event.keys()
            yield event
            event = None
        else:
            assert event is not None
            assert name in ALLOWED_ONCE
            assert name not in event
            event[name] = value
    assert event is None


def plain(value: str) -> str:
    """TEXT without its escapes; every special character must be escaped (3.3.11)."""
    assert not re.search(r"(?<!\\)(?:\\\\)*[;,]", value)
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], value)


def test_the_calendar_is_valid_and_its_ids_stay_the_same() -> None:
    mine = rollout()
    found = list(components(timeline_calendar(mine, "production", events(mine), NOW)))
    assert len(found) == len(events(mine))
    ids = [each["UID"] for each in found]
    assert len(set(ids)) == len(ids)
    later = timeline_calendar(mine, "production", events(mine), NOW + timedelta(days=1))
    assert [each["UID"] for each in components(later)] == ids
    release = next(each for each in found if each["SUMMARY"].endswith(": Release"))
    assert release["DTSTART"] == "20261201T060000Z"
    assert release["LOCATION"] == "https://meet.example/shop"
    assert "Who: Release manager, SRE lead, QA lead" in plain(release["DESCRIPTION"])
    assert "https://grafana.example/d/shop?a=1;b=2" in plain(release["DESCRIPTION"])


def test_the_command_prints_a_calendar_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.chdir(Path(__file__).parents[2])
    place = ("--release", "release/v1_0_1", "--environment", "rehearsal")
    starts = ("--starts", "2026-12-01T09:00Z")
    calendar = ["check", "readiness", *place, "--timeline", "ics"]
    with pytest.raises(SystemExit) as ended:
        main([*calendar, *starts])
    assert not ended.value.code
    out, said = capfdbinary.readouterr()
    found = list(components(out.decode()))
    assert "20261201T080000Z" in {each["DTSTART"] for each in found}
    assert b"the window is rollout.yaml's" in said, "the journal could not be read"
    with pytest.raises(SystemExit) as ended:
        main(calendar)
    assert ended.value.code == 2, "a rehearsal has no window"
    assert not (tmp_path / "evidence").exists()


@given(st.text(max_size=200), st.lists(st.text(max_size=120), max_size=3))
def test_no_text_breaks_the_calendar(title: str, actions: list[str]) -> None:
    given_events = [(title, NOW, NOW, (), tuple(actions))]
    (event,) = components(timeline_calendar(rollout(), "production", given_events, NOW))
    printable = "".join(c if c.isprintable() or c == "\n" else " " for c in title)
    assert plain(event["SUMMARY"]).endswith(f": {printable}")
