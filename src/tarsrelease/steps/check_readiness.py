"""Readiness: the checklists of a release, measured, recorded or confirmed by people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from tarsrelease.context import Context
from tarsrelease.model.details import Table
from tarsrelease.model.errors import UsageError
from tarsrelease.model.journal import Entry, FollowUpFacts, MigrateFacts, Phase, TickFacts
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.model.people import OnCall
from tarsrelease.model.readiness import Checklist, ChecklistItem, MachineCheck, Part
from tarsrelease.model.step_details import GateDetails, ItemRow, ReadinessDetails
from tarsrelease.operations.journaling import journal
from tarsrelease.operations.outcome import StepReport
from tarsrelease.operations.readiness_checks import Outside, measure, of_check, who_is_on_call
from tarsrelease.readiness import checklists
from tarsrelease.readiness.timeline import Planned, planned
from tarsrelease.report.results import MARKS, count_statuses
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.window import in_force
from tarsrelease.steps.check_go_no_go import in_staging, verified

STEP = "check readiness"
HEADER = ("", "item", "who", "when", "evidence")


def check_readiness(
    context: Context, part: Part, outside: Outside, recorded: Sequence[Outcome]
) -> Outcome:
    """Proceed if no item of this part failed or is overdue; `recorded` are outcomes so far."""
    report = StepReport(context, STEP)
    rollout, now = context.rollout, report.started_at
    entries = context.cluster.journal.entries()
    when = planned(in_force(rollout, entries), entries, now)
    after = release_journal.promotion_begun(entries, rollout.version)
    lists = checklists.lists_of(rollout, part)
    items = {name: item for each in lists for name, item in each.items.items()}
    duty, on_call = who_is_on_call(outside, when.starts if when else None)
    measured = measure(
        context,
        outside,
        recorded,
        list(dict.fromkeys(item.check for item in items.values() if item.check)),
        {
            MachineCheck.ARTIFACTS: lambda: of_check(verified(recorded, context.release.version)),
            MachineCheck.STAGING: lambda: of_check(in_staging(context.release, outside.staging)),
            MachineCheck.ON_CALL: lambda: duty,
        },
    )
    ticks = checklists.ticks(entries, rollout.version)
    checks: list[Check] = []
    rows: list[ItemRow] = []
    for each in lists:
        due = _due(each, part, when, after=after)
        for name, item in each.items.items():
            found = (
                measured.get(item.check) if item.check else _step(context, item, entries, recorded)
            )
            check = checklists.state(name, item, found, ticks.get(name), due, now)
            checks.append(check)
            who, at = _who_and_when(context, item, check, ticks.get(name), now)
            rows.append(checklists.row(check, each.title, who, at))
    if part == "days":
        more = _follow_ups(context, entries, ticks, now)
        checks += [check for check, _ in more]
        rows += [row for _, row in more]
    wrong = [check for check in checks if check.status not in (Status.PASS, Status.SKIPPED)]
    first = f"; {wrong[0].service}" if wrong else ""
    return report.outcome(
        Verdict.NO_GO if wrong else Verdict.PROCEED,
        f"{'not ready' if wrong else 'ready'}: {count_statuses(checks)}{first}",
        checks=checks,
        details=ReadinessDetails(
            part=part,
            items=tuple(rows),
            on_call=tuple(on_call),
            table=_table(rows),
            lines=tuple(_duty(on_call, when)),
        ),
        next_step="confirm an item with --tick ITEM --by NAME, or do what its evidence says"
        if wrong
        else "tarsrelease check go-no-go",
    )


def items_so_far(
    context: Context, entries: Sequence[Entry], recorded: Sequence[Outcome]
) -> list[ItemRow]:
    """Every item of every checklist, without measuring anything.

    What a machine measures is as the last `check readiness` in `recorded` found it.
    """
    rollout, now = context.rollout, context.clock.now()
    when = planned(in_force(rollout, entries), entries, now)
    after = release_journal.promotion_begun(entries, rollout.version)
    ticks = checklists.ticks(entries, rollout.version)
    measured: dict[str, ItemRow] = {}
    for outcome in recorded:
        details = ReadinessDetails.of(outcome.details)
        measured |= {row.item: row for row in details.items} if details else {}
    rows: list[ItemRow] = []
    for each in checklists.checklists_of(rollout).values():
        due = _due(each, each.part, when, after=after)
        for name, item in each.items.items():
            if item.check is not None and name in measured:
                rows.append(measured[name])
                continue
            found = _step(context, item, entries, recorded)
            check = checklists.state(name, item, found, ticks.get(name), due, now)
            who, at = _who_and_when(context, item, check, ticks.get(name), now)
            rows.append(checklists.row(check, each.title, who, at))
    return rows + [row for _, row in _follow_ups(context, entries, ticks, now)]


def _due(each: Checklist, part: Part, when: Planned | None, *, after: bool) -> datetime | None:
    """When the checklist is due: at once before the release; after it, only if it was promoted."""
    if part == "before":
        return None
    if when is None or (part != "during" and not after):
        return checklists.NEVER
    return when.at(each.due)


def _table(rows: Sequence[ItemRow]) -> Table:
    marks = {status.value: mark for status, mark in MARKS.items()}
    return Table(
        header=HEADER,
        rows=tuple(
            (marks[row.status], f"{row.item}: {row.text}", row.who, row.when, row.evidence)
            for row in rows
        ),
    )


def _duty(on_call: Sequence[OnCall], when: Planned | None) -> list[str]:
    if not on_call or when is None:
        return []
    return [
        f"On call at {when.starts:%Y-%m-%d %H:%M %Z}:",
        *(f"  level {each.level}: {each.person} ({each.policy})" for each in on_call),
    ]


def _who_and_when(
    context: Context,
    item: ChecklistItem,
    check: Check,
    tick: tuple[Entry, TickFacts] | None,
    now: datetime,
) -> tuple[str, str]:
    """Who did it and when; who has to, if it is open."""
    readiness = context.rollout.readiness
    role = readiness.roles.get(item.role or "")
    title = readiness.title(item.role)
    asked = f"{title} ({role.name})" if role and role.name else title
    if tick is not None and "confirmed by" in check.reason:
        entry, facts = tick
        return facts.by, f"{entry.at:%Y-%m-%d %H:%M}"
    if item.check and check.status is not Status.SKIPPED:
        return asked or "tarsrelease", f"{now:%Y-%m-%d %H:%M}"
    return asked, ""


def _step(
    context: Context, item: ChecklistItem, entries: Sequence[Entry], recorded: Sequence[Outcome]
) -> Check | None:
    """What evidence and journal say about the item's step; None if nothing is recorded."""
    if item.step is None:
        return None
    version, environment = context.release.version, context.environment.name
    found = [
        (each.finished_at, each.verdict is Verdict.PROCEED, each.summary)
        for each in recorded
        if each.step == item.step
        and (each.release, each.environment) == (version, environment)
        and (item.weight is None or _weight(each) == item.weight)
    ]
    found += [
        (entry.at, _went_well(entry), f"journal, run {entry.run}")
        for entry in release_journal.of_this_attempt(entries, version)
        if entry.phase is Phase.RESULT
        and _ACTIONS.get(item.step) == entry.action
        and (item.weight is None or entry.facts.weight == item.weight)
    ]
    found += [
        (entry.at, True, f"journal, run {entry.run}")
        for entry in entries
        if item.step == "migrate up"
        and entry.release == version
        and entry.action == release_journal.MIGRATE
        and entry.phase is Phase.RESULT
        and (facts := MigrateFacts.of(entry.facts)) is not None
        and facts.direction == "expand"
    ]
    if not found:
        return None
    at, good, said = max(found)
    return Check(
        id=checklists.RECORDED,
        status=Status.PASS if good else Status.FAIL,
        expected=item.text,
        reason=f"{at:%Y-%m-%d %H:%M} UTC: {said}",
    )


_ACTIONS: Mapping[str, str] = {
    "canary deploy": release_journal.DEPLOY,
    "gate": release_journal.GATE,
    "promote": release_journal.PROMOTE,
    "validate": release_journal.VALIDATE,
}
"""The journal's action by step."""


def _went_well(entry: Entry) -> bool:
    return entry.facts.verdict in (None, "proceed")


def _weight(outcome: Outcome) -> int | None:
    details = GateDetails.of(outcome.details)
    return details.weight if details else None


def _follow_ups(
    context: Context,
    entries: Sequence[Entry],
    ticks: Mapping[str, tuple[Entry, TickFacts]],
    now: datetime,
) -> list[tuple[Check, ItemRow]]:
    """The journal's follow-ups: open until they are ticked, overdue after their day."""
    found = []
    for name, facts in checklists.follow_ups(entries, context.release.version).items():
        due = None
        if facts.due is not None:
            due = datetime(
                facts.due.year, facts.due.month, facts.due.day, 23, 59, tzinfo=now.tzinfo
            )
        item = ChecklistItem(text=facts.text)
        check = checklists.state(name, item, None, ticks.get(name), due, now)
        when = f"due {facts.due}" if facts.due else ""
        found.append((check, checklists.row(check, "Follow-ups", facts.owner, when)))
    return found


def tick(context: Context, item: str, by: str, note: str, *, done: bool = True) -> None:
    """Journal that a person confirms the item, or takes it back.

    Raises UsageError for an unknown item.
    """
    known = list(checklists.all_items(context.rollout))
    known += checklists.follow_ups(context.cluster.journal.entries(), context.release.version)
    if item not in known:
        raise UsageError(
            doing="confirming an item",
            found=f"no item {item!r}",
            expected=f"one of {', '.join(known)}",
            next_step="`tarsrelease check readiness` lists the items",
        )
    facts = TickFacts(item=item, by=by, note=note, done=done)
    journal(context, STEP, checklists.TICK, Phase.RESULT, facts)


def follow_up(context: Context, text: str, owner: str, due: date) -> str:
    """Journal a task for after the release. Returns its id."""
    taken = checklists.follow_ups(context.cluster.journal.entries(), context.release.version)
    item = f"follow-up-{len(taken) + 1}"
    facts = FollowUpFacts(item=item, text=text, owner=owner, due=due)
    journal(context, STEP, checklists.FOLLOW_UP, Phase.RESULT, facts)
    return item
