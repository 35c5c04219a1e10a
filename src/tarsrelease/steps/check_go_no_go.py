"""Go or no-go: the measured criteria and people's votes in one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tarsrelease.context import Context
from tarsrelease.model.cluster import DeploymentState
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.format import names
from tarsrelease.model.journal import Entry, IncidentFacts, OverrideFacts
from tarsrelease.model.outcome import Check, Observed, Outcome, Status, Verdict, deciding, worst
from tarsrelease.model.people import Vote
from tarsrelease.model.release import Release
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.step_details import GoNoGoDetails
from tarsrelease.model.versions import same_version
from tarsrelease.operations.criteria import criteria_checks
from tarsrelease.operations.decision_table import decision_table
from tarsrelease.operations.outcome import StepReport
from tarsrelease.operations.recorded_checks import recorded_checks, stage_of
from tarsrelease.operations.snapshot import snapshot_without_helm
from tarsrelease.operations.staging_record import suite_in_staging
from tarsrelease.ports.cluster import Journal, Workloads
from tarsrelease.ports.people import Incidents
from tarsrelease.readiness.decision import (
    VERDICTS,
    Decision,
    decide,
    overridden,
    vote_results,
)
from tarsrelease.report.results import count_statuses
from tarsrelease.rollout.position import position
from tarsrelease.rollout.release_journal import incident as open_incident
from tarsrelease.rollout.rollback_plan import stable_names
from tarsrelease.rollout.votes import overrides as overrides_of
from tarsrelease.rollout.votes import votes as votes_of
from tarsrelease.rollout.window import closes, in_force, opens
from tarsrelease.steps.check_preflight import checks_before_approval

STEP = "check go-no-go"
VERIFIED = "go_no_go.verified"
PREFLIGHT = "go_no_go.preflight"
IN_PROGRESS = "go_no_go.no_other_release"
STABLE = "go_no_go.stable"
STAGING = "go_no_go.staging"
WINDOW = "go_no_go.window"
INCIDENTS = "go_no_go.incidents"
SUITE = "go_no_go.staging_suite"
_NOW = frozenset({"proportion", "ready"})


@dataclass(frozen=True, slots=True)
class OthersSay:
    """What systems outside the cluster say. `incidents` maps a system's name to it.

    `staging`: staging's workloads and journal, or the error of connecting to it. `approvals`: votes
    that are approvals of this run. `asked_later`: by role, the environment whose approval will be
    its vote.
    """

    incidents: Mapping[str, Incidents | ReleaseError] = field(default_factory=dict)
    staging_journal: Journal | ReleaseError | None = None
    approvals: Sequence[Vote] = ()
    asked_later: Mapping[str, str] = field(default_factory=dict)


NOBODY = OthersSay()


def go_no_go(
    context: Context,
    *,
    votes: Sequence[Vote],
    required: Iterable[str],
    window: float,
    recorded: Sequence[Outcome],
    staging: Workloads | ReleaseError | None,
    others: OthersSay = NOBODY,
) -> Outcome:
    """Measure every criterion, and decide with the votes; `recorded` are outcomes so far.

    `staging` gives staging's workloads, or the error reading them; None if there is no staging.
    The votes are those of the journal, of `votes` (this run's only) and of approvals.
    """
    report, release = StepReport(context, STEP), context.release
    said = _said_in_the_journal(context, report.started_at)
    before = checks_before_approval(context)
    criteria = overridden(
        (
            said.window,
            verified(recorded, release.version),
            _preflight(before),
            _in_progress(context),
            *criteria_checks(context),
            *_stable(context, window),
            *incident_checks(others.incidents, said.incident),
            in_staging(release, staging),
            *_staging_suite(release, others.staging_journal, recorded, context.environment.staging),
        ),
        said.overrides,
    )
    cast = (*said.votes, *votes, *others.approvals)
    wanted = tuple(dict.fromkeys(required))
    decision = decide(criteria, cast, wanted, others.asked_later)
    checks = (*criteria, *vote_results(cast, wanted, others.asked_later))
    return report.outcome(
        VERDICTS[decision],
        decided(decision, checks, others.asked_later),
        checks=checks,
        details=GoNoGoDetails(
            votes=cast,
            preflight=tuple(before),
            window=window,
            decision=decision.value,
            table=decision_table(checks, context.rollout.readiness),
        ),
        next_step=_NEXT[decision],
    )


_NEXT = {
    Decision.GO: "tarsrelease check preflight",
    Decision.ASK: "approve or reject the run",
    Decision.NO_GO: "fix what failed, or use --override CRITERION --by NAME --reason TEXT; roles "
    "that did not vote: --vote ROLE=GO --by NAME",
    Decision.POSTPONE: "vote again for the new window; if there is none yet: --postpone-to "
    "START/END --by NAME --reason TEXT",
}


@dataclass(frozen=True, slots=True)
class _Said:
    """What the journal says."""

    window: Check
    votes: Sequence[Vote] = ()
    overrides: Mapping[str, OverrideFacts] = field(default_factory=dict)
    incident: Entry | None = None


def _said_in_the_journal(context: Context, now: datetime) -> _Said:
    release = context.release
    try:
        entries = context.cluster.journal.entries()
    except ReleaseError as error:
        reason = f"the journal cannot be read: {error}; {error.detail.next}"
        return _Said(
            Check(id=WINDOW, status=Status.ERROR, expected="the release's window", reason=reason)
        )
    return _Said(
        _window(in_force(context.rollout, entries), now),
        votes_of(entries, release.version, release.identity),
        overrides_of(entries, release.version, release.identity),
        open_incident(entries, release.version),
    )


def _window(rollout: Rollout, now: datetime) -> Check:
    """Whether a window comes or is open: the release may be decided on before it opens."""
    hours = rollout.window
    if hours is None:
        status, reason = Status.SKIPPED, "rollout.yaml has no deployment window"
    elif closes(hours, now) is not None:
        status, reason = Status.PASS, "open now"
    elif (coming := opens(hours, now)) is not None:
        status, reason = Status.PASS, f"opens on {coming:%a %Y-%m-%d %H:%M} {hours.timezone}"
    else:
        status, reason = Status.FAIL, "it has passed; use --postpone-to"
    return Check(
        id=WINDOW,
        status=status,
        expected=str(hours) if hours else "any time",
        reason=reason,
        source="journal and rollout.yaml",
    )


def incident_checks(
    systems: Mapping[str, Incidents | ReleaseError], own: Entry | None
) -> list[Check]:
    """One result per system, and one for the release's own incident in the journal."""
    checks = [_incidents(name, system) for name, system in systems.items()]
    facts = IncidentFacts.of(own.facts) if own else None
    if facts is not None:
        reason = f"{facts.severity or 'unknown severity'}: {facts.reason} ({facts.by})"
        checks.append(_no_incident(Status.FAIL, "journal", reason, 1))
    return checks or [
        _no_incident(
            Status.SKIPPED,
            "PagerDuty and status page",
            "notifications has neither pagerduty.token_env nor statuspage",
            None,
        )
    ]


def _incidents(name: str, system: Incidents | ReleaseError) -> Check:
    if isinstance(system, ReleaseError):
        return _no_incident(Status.ERROR, name, f"{system}; {system.detail.next}", None)
    try:
        active = system.active()
    except ReleaseError as error:
        return _no_incident(Status.ERROR, name, f"{error}; {error.detail.next}", None)
    said = [f"{each.title} ({each.status}) {each.link}".rstrip() for each in active]
    status = Status.FAIL if active else Status.PASS
    return _no_incident(status, name, "; ".join(said) or "none", len(active))


def _no_incident(status: Status, name: str, reason: str, active: int | None) -> Check:
    return Check(
        id=INCIDENTS,
        status=status,
        service=name,
        observed=None if active is None else Observed(value=active, unit="count"),
        expected="no active incident",
        reason=reason,
        source=name,
    )


def _staging_suite(
    release: Release,
    journal: Journal | ReleaseError | None,
    recorded: Sequence[Outcome],
    staging: str | None,
) -> list[Check]:
    """Whether the whole suite passed in staging: its last run, from evidence or its journal."""
    if journal is None:
        return []
    return [suite_in_staging(SUITE, release.version, journal, recorded, staging)]


def decided(decision: Decision, checks: Sequence[Check], asked_later: Mapping[str, str]) -> str:
    """The decision in one line, with its first reason."""
    word = {Decision.GO: "go", Decision.NO_GO: "no-go", Decision.POSTPONE: "postpone"}
    if decision is Decision.ASK:
        said = f"go so far; the approvals of {names(list(asked_later.values()))} decide"
        return f"{said}: {count_statuses(checks)}"
    wrong = [c for c in deciding(checks) if c.status not in (Status.PASS, Status.SKIPPED)]
    first = wrong[0] if wrong and decision is not Decision.GO else None
    why = f"; {first.id}{f' of {first.service}' if first.service else ''}" if first else ""
    return f"{word[decision]}: {count_statuses(checks)}{why}"


def verified(recorded: Iterable[Outcome], version: str) -> Check:
    """Check that the last `verify` of this release in the evidence proceeded."""
    found = [each for each in recorded if each.step == "verify" and each.release == version]
    if not found:
        status, reason = Status.ERROR, "no verify of this release in the evidence folder"
        reason += "; run `tarsrelease verify --evidence DIR`"
    else:
        last = found[-1]
        status = Status.PASS if last.verdict is Verdict.PROCEED else Status.FAIL
        reason = f"{last.finished_at:%Y-%m-%d %H:%M:%S} UTC: {last.summary}"
    return Check(
        id=VERIFIED,
        status=status,
        expected="verify passed for this bundle",
        reason=reason,
        source="evidence",
    )


def _preflight(checks: Sequence[Check]) -> Check:
    status = worst(check.status for check in checks if check.status is not Status.SKIPPED)
    wrong = [f"{c.id}: {c.reason}" for c in checks if c.status not in (Status.PASS, Status.SKIPPED)]
    return Check(
        id=PREFLIGHT,
        status=status,
        expected="every check of preflight passes",
        reason="; ".join(wrong) or f"{len(checks)} checks, none failed" + _left_out(checks),
        source="check preflight",
        samples=len(checks),
    )


def _left_out(checks: Sequence[Check]) -> str:
    skipped = [check.id for check in checks if check.status is Status.SKIPPED]
    return f"; NOT CHECKED: {names(skipped, 6)}" if skipped else ""


def _in_progress(context: Context) -> Check:
    expected = "no release in progress, and nobody holds the lock"
    release, cluster = context.release, context.cluster
    try:
        seen = snapshot_without_helm(context)
        holder = cluster.lock.holder()
        here = position(release.rollout, seen, cluster.journal.entries(), holder)
    except ReleaseError as error:
        status, reason = Status.ERROR, f"{error}; {error.detail.next}"
    else:
        free = holder is None and here.at in ("idle", "not deployed", "rolled back")
        status = Status.PASS if free else Status.FAIL
        reason = f"{here.at}: {here.says}"
        reason += f"; {holder.owner} holds the lock" if holder else ""
    return Check(
        id=IN_PROGRESS,
        status=status,
        expected=expected,
        reason=reason,
        source="routes, journal and lock",
    )


def _stable(context: Context, window: float) -> list[Check]:
    """The last stage's checks, applied to stable now."""
    release = context.release
    try:
        found = recorded_checks(context, stage_of(release, window, _NOW), version=None)
    except ReleaseError as error:
        return [
            Check(
                id=STABLE,
                status=Status.ERROR,
                expected="stable is within the last stage's limits",
                reason=f"{error}; {error.detail.next}",
            )
        ]
    return [
        check.model_copy(update={"id": STABLE, "reason": f"{check.id}: {check.reason}"})
        for check in found
    ]


def in_staging(release: Release, staging: Workloads | ReleaseError | None) -> Check:
    """Check that staging runs this version, complete; skipped without staging."""
    expected = f"staging runs {release.version}, complete"

    def check(status: Status, reason: str) -> Check:
        return Check(id=STAGING, status=status, expected=expected, reason=reason, source="staging")

    if staging is None:
        return check(
            Status.SKIPPED,
            "no staging: use --staging, or `staging` in the environment file",
        )
    if isinstance(staging, ReleaseError):
        return check(Status.ERROR, f"{staging}; {staging.detail.next}")
    try:
        states = {state.name: state for state in staging.deployments()}
    except ReleaseError as error:
        return check(Status.ERROR, f"{error}; {error.detail.next}")
    wrong = [
        said
        for name in stable_names(release.rollout)
        if (said := _wrong(name, states.get(name), release.version))
    ]
    return check(Status.FAIL if wrong else Status.PASS, "; ".join(wrong) or expected)


def _wrong(name: str, state: DeploymentState | None, version: str) -> str | None:
    if state is None:
        return f"{name} does not exist"
    if not same_version(state.version, version):
        return f"{name} runs {state.version or 'no version'}"
    return None if state.complete else f"{name} has {state.ready} ready of {state.replicas}"


def parse_vote(text: str) -> Vote:
    """Parse ``qa=go:Ada``. Raises ValueError that shows the form."""
    role, _, said = text.partition("=")
    word, _, by = said.partition(":")
    if not role or word not in _WORDS:
        raise ValueError(f"{text!r} is not a vote; write ROLE=go:NAME or ROLE=no-go:NAME")
    return Vote(role=role, go=_WORDS[word], by=by)


_WORDS: Mapping[str, bool] = {"go": True, "no-go": False}
