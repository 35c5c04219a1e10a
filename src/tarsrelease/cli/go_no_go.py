"""check go-no-go: from options to recorded decisions, and to what other systems say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import click

from tarsrelease.model.people import Answer, Vote

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.errors import ReleaseError
    from tarsrelease.model.lifting import Lifting
    from tarsrelease.model.outcome import Outcome
    from tarsrelease.model.window import FixedWindow
    from tarsrelease.ports.cluster import Journal, Workloads
    from tarsrelease.ports.people import Incidents
    from tarsrelease.steps.check_go_no_go import OthersSay

NEXT = "next"


@dataclass(frozen=True, slots=True)
class Decisions:
    """The options: votes to record, votes of this run only, overrides, a new window."""

    recorded: Sequence[tuple[str, Answer]]
    only_now: Sequence[Vote]
    by: str | None
    reason: str
    required: tuple[str, ...]
    overrides: tuple[str, ...]
    postpone_to: FixedWindow | None
    window: float
    staging: str | None
    approvals_of: str | None

    @property
    def changes(self) -> bool:
        """Whether the journal is written."""
        return bool(self.recorded or self.overrides or self.postpone_to)

    def check(self) -> None:
        """Raise click.UsageError for options that do not go together."""
        if self.changes and not self.by:
            raise click.UsageError("--by NAME is missing: who votes, overrides or postpones.")
        if (self.overrides or self.postpone_to) and not self.reason.strip():
            raise click.UsageError("--reason TEXT is missing; it is recorded.")


def read_votes(texts: Iterable[str], by: str | None) -> tuple[list[tuple[str, Answer]], list[Vote]]:
    """The votes to record (``qa=GO``, with --by), and those of this run only (``qa=go:Ada``)."""
    from tarsrelease.steps.check_go_no_go import parse_vote

    recorded, only_now = [], []
    for text in texts:
        role, _, word = text.partition("=")
        if role and word in set(Answer):
            recorded.append((role, Answer(word)))
            continue
        try:
            only_now.append(parse_vote(text))
        except ValueError as problem:
            said = f"{problem}; or ROLE=GO, ROLE=NO-GO or ROLE=POSTPONE with --by NAME"
            raise click.BadParameter(said, param_hint="--vote") from None
    if by and only_now and not recorded:
        raise click.UsageError("--by goes with ROLE=GO, ROLE=NO-GO or ROLE=POSTPONE.")
    return recorded, only_now


def decided(session: Session, asked: Decisions) -> Outcome:
    """Record what the options say, measure everything, and decide."""
    from tarsrelease.adapters.files.evidence_file import outcomes_in
    from tarsrelease.steps.check_go_no_go import go_no_go

    session.use_listed_bytes()
    warnings = _record(session, asked) if asked.changes else ()
    evidence = session.evidence()
    staging = asked.staging or session.environment.staging
    workloads, journal = staging_of(staging, session) if staging else (None, None)
    outcome = go_no_go(
        session.context,
        votes=(*asked.only_now, *_postponed(asked)),
        required=(*session.release.rollout.readiness.voters, *asked.required),
        window=asked.window,
        recorded=outcomes_in(evidence.path.parent) if evidence else (),
        staging=workloads,
        others=_others(session, journal, asked.approvals_of),
    )
    if not warnings:
        return outcome
    details = outcome.details.model_copy(update={"warnings": tuple(warnings)})
    return outcome.model_copy(update={"details": details})


def _postponed(asked: Decisions) -> list[Vote]:
    """The postponement by this command; it ended the round of the votes before it."""
    if asked.postpone_to is None:
        return []
    said = f"{asked.reason} (to {asked.postpone_to})"
    return [Vote(role="postponed", go=False, postpone=True, by=asked.by or "", reason=said)]


def _record(session: Session, asked: Decisions) -> list[str]:
    from tarsrelease.cli.announce import announce
    from tarsrelease.cli.gate_modes import who_and_why
    from tarsrelease.steps import go_no_go_votes as write

    context, by = session.context, asked.by or ""
    reason = " ".join(asked.reason.split())
    person: Lifting = who_and_why(by, reason or "no reason", "--by", "--reason")
    warnings: list[str] = []
    for role, answer in asked.recorded:
        write.cast(context, role, answer, person.by, reason)
    for criterion in asked.overrides:
        warnings += write.override(context, criterion, person, partial(announce, session))
    if asked.postpone_to is not None:
        warnings += write.postpone(context, asked.postpone_to, person, partial(announce, session))
    return warnings


def _others(
    session: Session, journal: Journal | ReleaseError | None, approvals_of: str | None
) -> OthersSay:
    from tarsrelease.readiness.decision import approval_votes
    from tarsrelease.steps.check_go_no_go import OthersSay

    github = session.environment.github
    roles = github.votes if github else {}
    votes: list[Vote] = []
    if github is not None and approvals_of not in (None, NEXT):
        from tarsrelease.adapters.github.api import GitHubReviews

        given = GitHubReviews(github).approvals(str(approvals_of))
        votes = approval_votes(given, roles)
    return OthersSay(
        incidents=incident_systems(session),
        staging_journal=journal,
        approvals=votes,
        asked_later=roles if approvals_of == NEXT else {},
    )


def incident_systems(session: Session) -> Mapping[str, Incidents | ReleaseError]:
    """PagerDuty and the status page, as far as the environment file names them."""
    from tarsrelease.adapters.channels.statuspage_state import StatuspageState
    from tarsrelease.adapters.pagerduty.rest import PagerDutyRest
    from tarsrelease.model.errors import ReleaseError

    place = session.environment.notifications
    found: dict[str, Incidents | ReleaseError] = {}
    if place.pagerduty is not None and place.pagerduty.token_env is not None:
        try:
            found["PagerDuty"] = PagerDutyRest(place.pagerduty)
        except ReleaseError as error:
            found["PagerDuty"] = error
    if place.statuspage is not None:
        found["status page"] = StatuspageState(place.statuspage, own_maintenance(session))
    return found


def own_maintenance(session: Session) -> str:
    """The key of the release's maintenance on the status page."""
    from tarsrelease.model.notice import Event, Notice
    from tarsrelease.report.notices.statuspage import MAINTENANCE, key

    release = session.release
    notice = Notice(
        event=Event.SCHEDULED,
        application=release.rollout.application,
        release=release.version,
        environment=session.environment.name,
        run=session.run.id,
    )
    return key(notice, MAINTENANCE)


def staging_of(
    name: str, session: Session
) -> tuple[Workloads | ReleaseError, Journal | ReleaseError]:
    """Staging's workloads and journal, or the error; an unreachable staging is a no-go."""
    from tarsrelease.adapters.files.configuration import load_environment
    from tarsrelease.adapters.kubernetes.client import KubernetesApi
    from tarsrelease.adapters.kubernetes.journal import ConfigMapJournal
    from tarsrelease.adapters.kubernetes.workloads import KubernetesWorkloads
    from tarsrelease.model.errors import ReleaseError

    place = load_environment(name).kubernetes
    try:
        cluster = KubernetesApi.connect(place.context, place.namespace)
    except ReleaseError as error:
        return error, error
    rollout = session.release.rollout
    return KubernetesWorkloads(cluster, rollout), ConfigMapJournal(cluster, rollout.application)
