"""Go or no-go: the measured criteria and people's votes in one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tarsrelease.context import Context
from tarsrelease.model.cluster import DeploymentState
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.format import names
from tarsrelease.model.outcome import Check, Observed, Outcome, Status, Verdict, worst
from tarsrelease.model.people import Vote
from tarsrelease.model.release import Release
from tarsrelease.model.step_details import GoNoGoDetails
from tarsrelease.model.versions import same_version
from tarsrelease.operations.outcome import StepReport
from tarsrelease.operations.recorded_checks import recorded_checks, stage_of
from tarsrelease.operations.snapshot import snapshot_without_helm
from tarsrelease.ports.cluster import Workloads
from tarsrelease.rollout.position import position
from tarsrelease.rollout.rollback_plan import stable_names
from tarsrelease.steps.check_preflight import checks_before_approval, go_or_no_go

STEP = "check go-no-go"
VERIFIED = "go_no_go.verified"
PREFLIGHT = "go_no_go.preflight"
IN_PROGRESS = "go_no_go.no_other_release"
STABLE = "go_no_go.stable"
STAGING = "go_no_go.staging"
VOTE = "go_no_go.vote"
_NOW = frozenset({"proportion", "ready"})


def go_no_go(
    context: Context,
    *,
    votes: Sequence[Vote],
    required: Iterable[str],
    window: float,
    recorded: Sequence[Outcome],
    staging: Workloads | ReleaseError | None,
) -> Outcome:
    """Check every criterion; `recorded` are the outcomes in the evidence so far.

    `staging` gives staging's workloads, or the error reading them; None if there is no staging.
    """
    report, release = StepReport(context, STEP), context.release
    before = checks_before_approval(context)
    checks = [
        verified(recorded, release.version),
        _preflight(before),
        _in_progress(context),
        *_stable(context, window),
        _staging(release, staging),
        *voted(votes, required),
    ]
    return go_or_no_go(
        report,
        checks,
        GoNoGoDetails(votes=tuple(votes), preflight=tuple(before), window=window),
    )


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


def voted(votes: Sequence[Vote], required: Iterable[str]) -> list[Check]:
    """One result per role; `fail` if a required role did not vote or any of its votes is no-go."""
    said: dict[str, list[Vote]] = {role: [] for role in required}
    for vote in votes:
        said.setdefault(vote.role, []).append(vote)
    return [_vote(role, given) for role, given in said.items()]


def _vote(role: str, given: Sequence[Vote]) -> Check:
    against = [vote for vote in given if not vote.go]
    who = names([vote.by or "somebody" for vote in (against or given)])
    if not given:
        status, reason, value = Status.FAIL, "did not vote", "none"
    elif against:
        status, reason, value = Status.FAIL, f"no-go by {who}", "no-go"
    else:
        status, reason, value = Status.PASS, f"go by {who}", "go"
    return Check(
        id=VOTE,
        status=status,
        service=role,
        observed=Observed(value=value, unit="vote"),
        expected="go",
        reason=reason,
        source="--vote",
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


def _staging(release: Release, staging: Workloads | ReleaseError | None) -> Check:
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
