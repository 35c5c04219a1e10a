"""check readiness: from options to the journal, the systems to ask, and the timeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.go_no_go import own_maintenance, staging_of

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Check, Outcome
    from tarsrelease.model.readiness import Part
    from tarsrelease.operations.readiness_checks import Outside


@dataclass(frozen=True, slots=True)
class Asked:
    """The options."""

    part: Part
    ticks: tuple[str, ...]
    unticks: tuple[str, ...]
    by: str | None
    note: str
    follow_up: str | None
    owner: str | None
    due: date | None
    test_pagerduty: bool

    @property
    def changes(self) -> bool:
        """Whether the journal is written."""
        return bool(self.ticks or self.unticks or self.follow_up or self.test_pagerduty)

    def check(self) -> None:
        """Raise click.UsageError for options that do not go together."""
        if (self.ticks or self.unticks) and not self.by:
            raise click.UsageError("--by NAME is missing: who confirms the item.")
        if self.follow_up and not (self.owner and self.due):
            raise click.UsageError("--follow-up needs --owner NAME and --due DATE.")


def checked(session: Session, asked: Asked) -> Outcome:
    """Record what the options say, then measure and list the items of the part."""
    from tarsrelease.adapters.files.evidence_file import outcomes_in
    from tarsrelease.steps.check_readiness import check_readiness

    session.use_listed_bytes()
    _record(session, asked)
    evidence = session.evidence()
    recorded = outcomes_in(evidence.path.parent) if evidence else ()
    outside = _outside(session)
    if asked.test_pagerduty:
        _test_alert(session)
    return check_readiness(session.context, asked.part, outside, recorded)


def _record(session: Session, asked: Asked) -> None:
    from tarsrelease.cli.gate_modes import who_and_why
    from tarsrelease.steps.check_readiness import follow_up, tick

    note = " ".join(asked.note.split())
    for items, done in ((asked.ticks, True), (asked.unticks, False)):
        for item in items:
            person = who_and_why(asked.by or "", note or "no note", "--by", "--note")
            tick(session.context, item, person.by, note, done=done)
    if asked.follow_up and asked.owner and asked.due:
        person = who_and_why(asked.owner, asked.follow_up, "--owner", "--follow-up")
        follow_up(session.context, person.reason, person.by, asked.due)


def _test_alert(session: Session) -> None:
    """Send PagerDuty a test alert, resolve it, and record that it was accepted."""
    from tarsrelease.adapters.channels.channels import Channels
    from tarsrelease.adapters.channels.trial import trials
    from tarsrelease.model.errors import UsageError
    from tarsrelease.model.readiness import MachineCheck
    from tarsrelease.readiness.checklists import checklists_of
    from tarsrelease.report.notices.pagerduty import PAGERDUTY
    from tarsrelease.steps.check_readiness import tick

    channels = Channels(session.environment.notifications)
    trial = trials(channels, session.run.id, session.environment.name).get(PAGERDUTY)
    if trial is None:
        raise UsageError(
            doing="testing PagerDuty",
            found="notifications has no pagerduty",
            expected="notifications.pagerduty in the environment file",
            next_step="add it, or leave --test-pagerduty out",
        )
    said = trial()
    for each in checklists_of(session.release.rollout).values():
        for name, item in each.items.items():
            if item.check is MachineCheck.PAGERDUTY:
                tick(session.context, name, session.run.owner, said)


def _outside(session: Session) -> Outside:
    from tarsrelease.adapters.channels.statuspage_state import StatuspageState
    from tarsrelease.adapters.helm.releases import Helm
    from tarsrelease.adapters.http.pages import WebPages
    from tarsrelease.adapters.pagerduty.rest import PagerDutyRest
    from tarsrelease.adapters.prometheus.rules import PrometheusRules
    from tarsrelease.model.errors import ReleaseError
    from tarsrelease.model.metrics_server import NO_PROMETHEUS
    from tarsrelease.operations.readiness_checks import Outside

    place, notified = session.environment, session.environment.notifications
    staging = place.staging
    workloads, journal = staging_of(staging, session) if staging else (None, None)
    helm = None
    if staging:
        from tarsrelease.adapters.files.configuration import load_environment

        there = load_environment(staging).kubernetes
        helm = Helm(there.context, there.namespace)
    rules: PrometheusRules | ReleaseError | None = None
    if place.prometheus.url != NO_PROMETHEUS:
        try:
            rules = PrometheusRules(place.prometheus)
        except ReleaseError as error:
            rules = error
    schedules: PagerDutyRest | ReleaseError | None = None
    if notified.pagerduty is not None and notified.pagerduty.token_env is not None:
        try:
            schedules = PagerDutyRest(notified.pagerduty)
        except ReleaseError as error:
            schedules = error
    page = notified.statuspage
    return Outside(
        pages=WebPages(),
        alert_rules=rules,
        status_page=StatuspageState(page, own_maintenance(session)) if page else None,
        schedules=schedules,
        approvers=_approvers(session),
        staging=workloads,
        staging_helm=helm,
        staging_journal=journal,
    )


def _approvers(session: Session) -> Callable[[], Sequence[Check]] | None:
    settings = session.environment.github
    if settings is None or not settings.environments:
        return None

    def ask() -> Sequence[Check]:
        from tarsrelease.adapters.github.api import GitHubReviews
        from tarsrelease.steps.check_environments import environment_checks

        return environment_checks(settings, GitHubReviews(settings))

    return ask


def timeline_text(session: Session, form: str, starts: datetime | None) -> str:
    """The timeline as Markdown or as iCalendar, with the window of the journal if it answers."""
    from tarsrelease.model.errors import ReleaseError, UsageError
    from tarsrelease.model.journal import Entry
    from tarsrelease.readiness.timeline import planned, timeline
    from tarsrelease.report.timeline import timeline_calendar, timeline_markdown
    from tarsrelease.rollout.window import in_force

    entries: list[Entry] = []
    try:
        entries = session.context.cluster.journal.entries()
    except ReleaseError as error:
        session.progress.say(f"the journal cannot be read ({error}): the window is rollout.yaml's")
    rollout, now = in_force(session.release.rollout, entries), datetime.now(UTC)
    when = planned(rollout, entries, now, starts)
    if when is None:
        raise UsageError(
            doing="planning the timeline",
            found="rollout.yaml has no window",
            expected="a window, or the start of the release",
            next_step="add --starts TIME, such as 2026-12-01T09:00Z",
        )
    events = [
        (each.title, each.starts, each.ends, each.participants, each.actions)
        for each in timeline(rollout, when)
    ]
    name = session.environment.name
    if form == "ics":
        return timeline_calendar(rollout, name, events, now)
    zone = rollout.window.zone if rollout.window is not None else when.starts.tzinfo or UTC
    return timeline_markdown(rollout, name, events, zone)


def timeline_outcome(session: Session, form: str, starts: datetime | None) -> Outcome:
    """The timeline as the output ``timeline`` of an outcome; its lines end with a newline."""
    from tarsrelease.model.details import Details
    from tarsrelease.model.outcome import Verdict
    from tarsrelease.operations.outcome import StepReport
    from tarsrelease.steps.check_readiness import STEP

    report = StepReport(session.assignment, STEP)
    text = timeline_text(session, form, starts)
    details = Details(outputs={"timeline": text.replace("\r\n", "\n")})
    return report.outcome(Verdict.PROCEED, f"the timeline as {form}", details=details)
