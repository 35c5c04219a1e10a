"""What `check readiness` measures: one result per kind of check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tarsrelease.context import Context
from tarsrelease.model.errors import RefusedError, ReleaseError, UsageError
from tarsrelease.model.format import count, names
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.outcome import Check, ExitCode, Outcome, Status, Verdict, worst
from tarsrelease.model.people import OnCall
from tarsrelease.model.readiness import MachineCheck
from tarsrelease.operations.canary_render import check_render
from tarsrelease.operations.staging_record import suite_in_staging
from tarsrelease.ports.cluster import Journal, Settled, Workloads
from tarsrelease.ports.people import Schedules
from tarsrelease.ports.readiness import AlertRules, Pages, StatusPage
from tarsrelease.readiness import preflight as judge
from tarsrelease.readiness.checklists import MEASURED
from tarsrelease.rollout import release_journal

Result = tuple[Status, str]


@dataclass(frozen=True, slots=True)
class Outside:
    """The systems outside the cluster; None where the environment file does not name one.

    `approvers` are the results of `check environments`.
    """

    pages: Pages
    alert_rules: AlertRules | ReleaseError | None = None
    status_page: StatusPage | None = None
    schedules: Schedules | ReleaseError | None = None
    approvers: Callable[[], Sequence[Check]] | None = None
    staging: Workloads | ReleaseError | None = None
    staging_helm: Settled | None = None
    staging_journal: Journal | ReleaseError | None = None


def measure(
    context: Context,
    outside: Outside,
    recorded: Sequence[Outcome],
    wanted: Sequence[MachineCheck],
    known: Mapping[MachineCheck, Callable[[], Result]],
) -> dict[MachineCheck, Check]:
    """The result of each wanted check; a system that does not answer affects only its own.

    `known` are the checks that go or no-go makes, too.
    """
    staging = context.environment.staging
    kinds: Mapping[MachineCheck, Callable[[], Result]] = {
        **known,
        MachineCheck.SUITE: lambda: _suite(context, outside, recorded),
        MachineCheck.DASHBOARDS: lambda: _pages(context, outside, "dashboards"),
        MachineCheck.TRACING: lambda: _pages(context, outside, "tracing"),
        MachineCheck.ALERT_RULES: lambda: _alert_rules(outside),
        MachineCheck.PAGERDUTY: lambda: (Status.SKIPPED, "--test-pagerduty sends a test alert"),
        MachineCheck.ROLLBACK: lambda: _rollback(context, outside, recorded),
        MachineCheck.MIGRATIONS: lambda: _migrations(context, recorded, staging),
        MachineCheck.FEATURE_FLAGS: lambda: _flags(context, outside),
        MachineCheck.CANARY_VALUES: lambda: _canary_values(context),
        MachineCheck.STATUS_PAGE: lambda: _status_page(outside),
        MachineCheck.APPROVERS: lambda: _approvers(outside),
    }
    return {kind: _measured(kind, kinds[kind]) for kind in wanted}


def _measured(kind: MachineCheck, ask: Callable[[], Result]) -> Check:
    try:
        status, reason = ask()
    except ReleaseError as error:
        status, reason = Status.ERROR, f"{error}; {error.detail.next}"
    return Check(id=MEASURED, status=status, service=kind, expected=kind, reason=reason)


def of_check(check: Check) -> Result:
    """Status and reason of a result."""
    return check.status, check.reason


def _suite(context: Context, outside: Outside, recorded: Sequence[Outcome]) -> Result:
    staging = context.environment.staging
    if staging is None:
        return Status.SKIPPED, "the environment file has no staging"
    version = context.release.version
    return of_check(suite_in_staging(MEASURED, version, outside.staging_journal, recorded, staging))


def _pages(context: Context, outside: Outside, kind: str) -> Result:
    links = [each for each in context.rollout.readiness.links if each.kind == kind]
    if not links:
        return Status.SKIPPED, f"readiness.links has no link of kind {kind}"
    wrong = []
    for link in links:
        try:
            status = outside.pages.status(link.url)
        except ReleaseError as error:
            wrong.append(f"{link.name}: {error.detail.found}")
            continue
        if status != 200:
            wrong.append(f"{link.name}: status {status}")
    if wrong:
        return Status.FAIL, "; ".join(wrong)
    return Status.PASS, f"{names([each.name for each in links], 6)}: status 200"


def _alert_rules(outside: Outside) -> Result:
    if outside.alert_rules is None:
        return Status.SKIPPED, "the environment has no Prometheus"
    if isinstance(outside.alert_rules, ReleaseError):
        raise outside.alert_rules
    rules = outside.alert_rules.alert_rules()
    broken = [f"{rule.name}: {rule.problem}" for rule in rules if rule.problem]
    if broken:
        return Status.FAIL, "; ".join(broken)
    if not rules:
        return Status.FAIL, "the metrics server has no alert rule"
    return Status.PASS, f"{count(len(rules), 'alert rule')}, all evaluated"


def who_is_on_call(outside: Outside, at: datetime | None) -> tuple[Result, Sequence[OnCall]]:
    """Who is on call at the start of the release."""
    if outside.schedules is None:
        return (Status.SKIPPED, "notifications.pagerduty has no token_env"), ()
    if at is None:
        return (Status.SKIPPED, "the start of the release is not known: no window"), ()
    if isinstance(outside.schedules, ReleaseError):
        return (Status.ERROR, f"{outside.schedules}; {outside.schedules.detail.next}"), ()
    try:
        found = outside.schedules.on_call(at)
    except ReleaseError as error:
        return (Status.ERROR, f"{error}; {error.detail.next}"), ()
    first = [each for each in found if each.level == 1]
    said = names([f"{each.person} (level {each.level}, {each.policy})" for each in found], 6)
    if not first:
        return (Status.FAIL, f"nobody at level 1{f'; {said}' if said else ''}"), found
    return (Status.PASS, said), found


def _rollback(context: Context, outside: Outside, recorded: Sequence[Outcome]) -> Result:
    staging, version = context.environment.staging, context.release.version
    if staging is None:
        return Status.SKIPPED, "the environment file has no staging"
    journaled = [
        entry.at
        for entry in _entries(outside.staging_journal)
        if entry.release == version
        and entry.action == release_journal.ROLLBACK
        and entry.phase is Phase.RESULT
    ]
    seen = [
        each.finished_at
        for each in recorded
        if each.step == "rollback"
        and (each.release, each.environment) == (version, staging)
        and each.exit_code is ExitCode.DONE
    ]
    times = sorted([*journaled, *seen])
    if times:
        return (
            Status.PASS,
            f"{version} was rolled back in {staging}, {times[-1]:%Y-%m-%d %H:%M} UTC",
        )
    return (
        Status.FAIL,
        f"no rollback of {version} in {staging} is recorded; rehearse it with "
        f"`tarsrelease rollback --environment {staging}`",
    )


def _entries(journal: Journal | ReleaseError | None) -> Sequence[Entry]:
    if journal is None:
        return ()
    if isinstance(journal, ReleaseError):
        raise journal
    return journal.entries()


def _migrations(context: Context, recorded: Sequence[Outcome], staging: str | None) -> Result:
    if not context.release.manifest.migrations:
        return Status.PASS, "the release has no migrations"
    version = context.release.version
    plans = [each for each in recorded if each.step == "migrate plan" and each.release == version]
    proofs = [check for check in plans[-1].checks if check.id == "migrate.down"] if plans else []
    if not proofs:
        return (
            Status.FAIL,
            "no proof in the evidence; run "
            f"`tarsrelease migrate plan --environment {staging or context.environment.name}`",
        )
    status = worst(check.status for check in proofs)
    wrong = [check.reason for check in proofs if check.status is not Status.PASS]
    if status is Status.SKIPPED or plans[-1].verdict is not Verdict.PROCEED:
        status = Status.FAIL
    return status, "; ".join(wrong) or f"up, down and up again, {plans[-1].finished_at:%Y-%m-%d}"


def _flags(context: Context, outside: Outside) -> Result:
    wanted = context.rollout.feature_flags
    if not wanted:
        return Status.PASS, "rollout.yaml has no feature_flags"
    if outside.staging_helm is None:
        return Status.SKIPPED, "the environment file has no staging"
    there = outside.staging_helm.values(context.rollout.application)
    return of_check(
        judge.feature_flags(wanted, there or {}, where=context.environment.staging or "")
    )


def _canary_values(context: Context) -> Result:
    try:
        objects = check_render(context)
    except (RefusedError, UsageError) as error:
        return Status.FAIL, f"{error.detail.found}; {error.detail.next}"
    name = context.rollout.canary_values
    return Status.PASS, f"{name} renders {count(len(objects), 'object')}, each checked"


def _status_page(outside: Outside) -> Result:
    if outside.status_page is None:
        return Status.SKIPPED, "notifications has no statuspage"
    found = outside.status_page.maintenance()
    if found is None:
        return Status.FAIL, "no maintenance: tarsrelease notify send --event scheduled"
    return Status.PASS, f"{found.title}: {found.status} {found.link}".rstrip()


def _approvers(outside: Outside) -> Result:
    if outside.approvers is None:
        return Status.SKIPPED, "the environment file has no github.environments"
    checks = outside.approvers()
    wrong = [check for check in checks if check.status not in (Status.PASS, Status.SKIPPED)]
    if wrong:
        said = [f"{c.id}{f' of {c.service}' if c.service else ''}: {c.reason}" for c in wrong]
        return Status.FAIL, "; ".join(said)
    return Status.PASS, f"{count(len(checks), 'rule')} of GitHub's environments and branches"
