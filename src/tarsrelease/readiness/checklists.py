"""The checklists of a release: the built-in ones, rollout.yaml's, and the state of each item."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from tarsrelease.model.journal import Entry, FollowUpFacts, TickFacts
from tarsrelease.model.outcome import Check, Status
from tarsrelease.model.readiness import Checklist, ChecklistItem, MachineCheck, Part
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.step_details import ItemRow

TICK = "tick"
FOLLOW_UP = "follow-up"
MEASURED = "readiness.measured"
RECORDED = "readiness.recorded"
CONFIRMED = "readiness.confirmed"
NEVER = datetime.max.replace(tzinfo=UTC)
"""The due time of an item that has none yet."""
_Lines = dict[str, tuple[str, str]]
_Measured = dict[str, tuple[str, str, MachineCheck]]

_STAKEHOLDERS: _Lines = {
    "decision-confirmed": ("release-manager", "Decides go or no-go, and is there in the window"),
    "suite-verified": ("qa", "The production validation suite is complete for this release"),
    "fixes-confirmed": ("engineering", "Every fix of the release is confirmed in staging"),
    "announcement-approved": ("product", "The draft of the customers' announcement is approved"),
    "support-briefed": ("support", "The support team knows the changes and the escalation path"),
    "stakeholders-told": ("release-manager", "All stakeholders know the window"),
}
_TECHNICAL: _Measured = {
    "artifacts-verified": ("release-manager", "The bundle is verified", MachineCheck.ARTIFACTS),
    "staging-deployed": ("qa", "Staging runs this version, complete", MachineCheck.STAGING),
    "suite-passed": ("qa", "The whole suite passed in staging", MachineCheck.SUITE),
    "dashboards-answer": ("sre", "The dashboards answer", MachineCheck.DASHBOARDS),
    "alert-rules-answer": ("sre", "Alert rules are evaluated", MachineCheck.ALERT_RULES),
    "tracing-answers": ("sre", "Tracing answers", MachineCheck.TRACING),
    "pagerduty-tested": ("sre", "PagerDuty took and resolved a test", MachineCheck.PAGERDUTY),
    "on-call-confirmed": ("sre", "Somebody is on call in the window", MachineCheck.ON_CALL),
    "rollback-rehearsed": ("sre", "A rollback succeeded in staging", MachineCheck.ROLLBACK),
    "migrations-proven": (
        "engineering",
        "Migrations are proven both ways",
        MachineCheck.MIGRATIONS,
    ),
    "flags-equal": ("engineering", "Feature flags equal staging's", MachineCheck.FEATURE_FLAGS),
    "canary-values-valid": (
        "engineering",
        "The canary's values are valid",
        MachineCheck.CANARY_VALUES,
    ),
    "approvers-required": ("release-manager", "Approvals are required", MachineCheck.APPROVERS),
}
_AFTER: dict[str, tuple[Part, str, str, _Lines]] = {
    "after-2h": (
        "hours",
        "end+2h",
        "After 2 hours",
        {"metrics-reviewed": ("sre", "The first metrics show no anomaly, SLOs are on track")},
    ),
    "after-4h": (
        "hours",
        "end+4h",
        "After 4 hours",
        {
            "feedback-reviewed": ("support", "Customers' feedback is reviewed"),
            "tickets-checked": ("support", "Support tickets show no widespread issue"),
        },
    ),
    "after-8h": (
        "hours",
        "end+8h",
        "After 8 hours",
        {
            "performance-analyzed": ("engineering", "Performance and resource usage are analyzed"),
            "no-memory-leak": ("engineering", "No memory leak is detected"),
        },
    ),
    "after-12h": (
        "hours",
        "end+12h",
        "After 12 hours",
        {"midpoint-reported": ("release-manager", "The mid-point SLO report is written")},
    ),
    "after-24h": (
        "hours",
        "end+24h",
        "After 24 hours",
        {
            "day-reported": ("release-manager", "The full report of 24 hours is written"),
            "retrospective-scheduled": ("release-manager", "The retrospective is scheduled"),
            "announcement-sent": ("product", "The customers' announcement is sent"),
        },
    ),
    "after-48h": (
        "days",
        "end+48h",
        "Within 48 hours",
        {"lessons-documented": ("release-manager", "Lessons learned are documented")},
    ),
    "after-7d": (
        "days",
        "end+7d",
        "Within 7 days",
        {
            "retrospective-held": ("release-manager", "The retrospective was held"),
            "slo-week-reported": ("sre", "SLOs over 7 days are reported"),
            "cost-and-capacity": ("engineering", "Cost and capacity are reviewed"),
            "documentation-updated": ("product", "The documentation site is updated"),
            "runbooks-updated": ("sre", "Runbooks have what was learned"),
        },
    ),
}


def _confirmed(lines: _Lines) -> dict[str, ChecklistItem]:
    return {name: ChecklistItem(role=role, text=text) for name, (role, text) in lines.items()}


def _during(rollout: Rollout) -> dict[str, ChecklistItem]:
    """One item per step; the steps' own evidence ticks them."""
    steps = {
        "migrations-applied": ("migrate up", "The expand migrations are applied"),
        "canary-deployed": ("canary deploy", "The canary is deployed and smoke-tested"),
    }
    items = {name: ChecklistItem(step=step, text=text) for name, (step, text) in steps.items()}
    for stage in rollout.stages:
        items[stage.name] = ChecklistItem(
            step="gate", weight=stage.weight, text=f"{stage.weight} % passed its checks"
        )
    items["suite-passed-canary"] = ChecklistItem(step="validate", text="The whole suite passed")
    items["promoted"] = ChecklistItem(step="promote", text="The new version is stable")
    items["watch-started"] = ChecklistItem(
        step="watch", role="sre", text="The 24 hours after the release are watched"
    )
    return items


def checklists_of(rollout: Rollout) -> dict[str, Checklist]:
    """The built-in checklists, with those of rollout.yaml in place of the same id or after them."""
    built_in = {
        "stakeholders": Checklist(title="Stakeholders", items=_confirmed(_STAKEHOLDERS)),
        "technical": Checklist(
            title="Technical",
            items={
                name: ChecklistItem(role=role, text=text, check=check)
                for name, (role, text, check) in _TECHNICAL.items()
            },
        ),
        "communication": Checklist(
            title="Communication",
            items={
                "status-page-prepared": ChecklistItem(
                    role="support",
                    text="The status page shows the scheduled maintenance",
                    check=MachineCheck.STATUS_PAGE,
                ),
                "channels-ready": ChecklistItem(
                    role="release-manager", text="The chat channels and the call are ready"
                ),
                "timeline-published": ChecklistItem(
                    role="release-manager", text="The timeline is published in the wiki"
                ),
            },
        ),
        "during": Checklist(
            title="During the release", part="during", due="end", items=_during(rollout)
        ),
        **{
            name: Checklist(part=part, due=due, title=title, items=_confirmed(lines))
            for name, (part, due, title, lines) in _AFTER.items()
        },
    }
    merged = {**built_in, **rollout.readiness.checklists}
    return {name: each for name, each in merged.items() if each.items}


def ticks(entries: Iterable[Entry], release: str) -> dict[str, tuple[Entry, TickFacts]]:
    """The last tick of each item, unless it was removed later."""
    found: dict[str, tuple[Entry, TickFacts]] = {}
    for entry in entries:
        facts = TickFacts.of(entry.facts) if entry.release == release else None
        if facts is not None and facts.done:
            found[facts.item] = entry, facts
        elif facts is not None:
            found.pop(facts.item, None)
    return found


def follow_ups(entries: Iterable[Entry], release: str) -> dict[str, FollowUpFacts]:
    """The release's follow-ups by item."""
    found = (FollowUpFacts.of(each.facts) for each in entries if each.release == release)
    return {facts.item: facts for facts in found if facts is not None}


def state(
    name: str,
    item: ChecklistItem,
    found: Check | None,
    tick: tuple[Entry, TickFacts] | None,
    due: datetime | None,
    now: datetime,
) -> Check:
    """The result of one item. `found` is what was measured or recorded.

    A person's tick counts only where nothing was measured or recorded. An item without either fails
    when it is due; `due` None: at once.
    """
    check_id = MEASURED if item.check else RECORDED if item.step else CONFIRMED
    known = found is not None and found.status is not Status.SKIPPED
    if known and found is not None:
        status, reason = found.status, found.reason
    elif tick is not None:
        entry, facts = tick
        note = f": {facts.note}" if facts.note else ""
        status = Status.PASS
        reason = f"confirmed by {facts.by}, {entry.at:%Y-%m-%d %H:%M} UTC{note}"
    elif due is not None and now < due:
        status = Status.SKIPPED
        reason = "not due yet" if due == NEVER else f"due {due:%Y-%m-%d %H:%M} UTC"
    else:
        status = Status.FAIL
        reason = f"open: --tick {name} --by NAME"
    if not known and found is not None and found.reason:
        reason += f" (not measured: {found.reason})"
    return Check(
        id=check_id,
        status=status,
        service=name,
        expected=item.text,
        reason=reason,
        source=item.check or item.step or "journal",
    )


def row(check: Check, checklist: str, who: str, when: str) -> ItemRow:
    """The item as a row of the table."""
    return ItemRow(
        item=check.service or "",
        checklist=checklist,
        text=check.expected,
        who=who,
        when=when,
        status=check.status.value,
        evidence=check.reason,
    )


def lists_of(rollout: Rollout, part: Part) -> list[Checklist]:
    """The checklists of one part of the release."""
    return [each for each in checklists_of(rollout).values() if each.part == part]


def all_items(rollout: Rollout) -> Sequence[str]:
    """The ids of all items."""
    return [name for each in checklists_of(rollout).values() for name in each.items]
