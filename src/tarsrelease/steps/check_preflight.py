"""check preflight: check that the cluster is ready for a release."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tarsrelease.context import Context
from tarsrelease.gates.checks import judged
from tarsrelease.model.cluster import NodeState, PodState
from tarsrelease.model.details import Details
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import ForbiddenError, RefusedError, ReleaseError, UsageError
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict, deciding
from tarsrelease.model.release import Release
from tarsrelease.model.rights import HELM_HISTORY, ROLE
from tarsrelease.model.versions import precedence
from tarsrelease.operations.canary_render import canary_values, check_render
from tarsrelease.operations.outcome import StepReport
from tarsrelease.operations.selectors_checked import check_selectors
from tarsrelease.operations.snapshot import take_snapshot
from tarsrelease.ports.cluster import Charts, ClusterFacts, Routes, Settled
from tarsrelease.ports.surroundings import Surroundings
from tarsrelease.readiness import preflight as judge
from tarsrelease.report.results import count_statuses
from tarsrelease.steps.canary_deploy import has_traffic_already, refuse
from tarsrelease.steps.check_surroundings import surrounding_checks

STEP = "check preflight"
_PATIENCE = 3
"""Scrape intervals within which a new ready pod must be scraped."""
_POLL = 1.0


def preflight(
    context: Context,
    *,
    running: str | None,
    staging: Settled | None = None,
    around: Surroundings | None = None,
) -> Outcome:
    """Go if every check passes; a check that cannot be made does not pass.

    `running` is the version that must run now, None for any. `staging` gives the values that the
    release has in staging; None if there is no staging. `around` is what the release depends on
    outside of its own objects; without it, that is not checked.
    """
    report = StepReport(context, STEP)
    checks = preflight_checks(context, running)
    checks += _measured(
        judge.FLAGS, lambda: [_flags(context.release, context.environment, staging)]
    )
    if around is not None:
        checks += surrounding_checks(context, around)
    return go_or_no_go(report, checks)


def go_or_no_go(
    report: StepReport, checks: Iterable[Check], details: Details | None = None
) -> Outcome:
    """Go if at least one check passed and all others passed or were skipped."""
    found = tuple(checks)
    made = deciding(found)
    wrong = [c for c in made if c.status not in (Status.PASS, Status.SKIPPED)]
    passed = any(check.status is Status.PASS for check in made)
    go = passed and not wrong
    first = wrong[0] if wrong else None
    why = f"; {first.id}{f' of {first.service}' if first.service else ''}" if first else ""
    return report.outcome(
        Verdict.PROCEED if go else Verdict.NO_GO,
        f"{'go' if go else 'no-go'}: {count_statuses(found)}{why}",
        checks=found,
        details=details,
        next_step="" if go else "fix the failed checks, then run this command again",
    )


def preflight_checks(context: Context, running: str | None) -> tuple[Check, ...]:
    """The results of all checks; a system that does not answer affects only its own checks."""
    release, cluster, facts = context.release, context.cluster, context.cluster.facts
    return (
        *_measured(judge.RIGHTS, lambda: [judge.rights(ROLE, facts.lacking(ROLE))]),
        *_measured(judge.HELM, lambda: [_helm(release, running, cluster.charts)]),
        *_measured(judge.DEPLOY, lambda: [_deploy(context)]),
        *_measured(judge.APIS, lambda: [_apis(context)]),
        *read_only_checks(context),
    )


def checks_before_approval(context: Context) -> tuple[Check, ...]:
    """The checks that the credentials allow: without the right to read Secrets, no Helm."""
    try:
        lacking = context.cluster.facts.lacking((HELM_HISTORY,))
    except ReleaseError as error:
        return (judge.unmeasured(judge.RIGHTS, f"{error}; {error.detail.next}"),)
    if not lacking:
        return preflight_checks(context, None)
    later = tuple(map(judge.after_approval, (judge.RIGHTS, judge.HELM, judge.DEPLOY, judge.APIS)))
    return (*later, *read_only_checks(context))


def read_only_checks(context: Context) -> tuple[Check, ...]:
    """The results of the checks that rbac/read-only.yaml allows."""
    release, cluster, facts = context.release, context.cluster, context.cluster.facts
    return (
        *_measured(judge.NODES, lambda: [judge.nodes(_nodes(facts))]),
        *_measured(judge.NAMESPACE, lambda: [_namespace(context)]),
        *_measured(judge.ROUTES, lambda: _routes(release, cluster.routes)),
        *_measured(judge.ROUTE_RULES, lambda: _rules(release, cluster.routes)),
        *_measured(judge.TARGETS, lambda: _scraped(context)),
        *_measured(
            judge.SELECTORS,
            lambda: check_selectors(
                context.rollout,
                context.environment,
                context.metrics.samples,
                judge.SELECTORS,
                context.cluster.workloads.deployments(),
            ),
        ),
    )


def _measured(check_id: str, ask: Callable[[], Iterable[Check]]) -> tuple[Check, ...]:
    try:
        found = tuple(ask())
    except ReleaseError as error:
        return (judge.unmeasured(check_id, f"{error}; {error.detail.next}"),)
    return found or (judge.unmeasured(check_id, "there was nothing to check"),)


def _flags(release: Release, environment: Environment, staging: Settled | None) -> Check:
    if not release.feature_flags:
        return judge.flags_not_compared("this release switches none on")
    if staging is None:
        reason = f"environment {environment.name} has no staging"
        return judge.flags_not_compared(reason)
    there = staging.values(release.rollout.application)
    where = environment.staging or "staging"
    return judge.feature_flags(release.feature_flags, there or {}, where=where)


def _nodes(facts: ClusterFacts) -> list[NodeState] | None:
    try:
        return facts.nodes()
    except ForbiddenError:
        return None


def _namespace(context: Context) -> Check:
    name = context.environment.kubernetes.namespace
    try:
        phase = context.cluster.facts.namespace()
        return judge.namespace(name, phase, forbidden=False, seen_in_it=0)
    except ForbiddenError:
        seen = len(context.cluster.workloads.deployments())
        return judge.namespace(name, None, forbidden=True, seen_in_it=seen)


def _helm(release: Release, running: str | None, charts: Charts) -> Check:
    application = release.rollout.application
    history = charts.history(application)
    least = release.manifest.min_previous_version
    too_old = False
    if least is not None and history:
        try:
            too_old = precedence(history[-1].app_version) < precedence(least)
        except ValueError:
            too_old = True
    return judge.helm_release(
        application, history, new=release.version, running=running, too_old=too_old
    )


def _routes(release: Release, routes: Routes) -> list[Check]:
    found = {state.service: state for state in routes.read(release.rollout.services)}
    return [
        judge.route_owner(service.name, service.route_names, found.get(service.name))
        for service in release.rollout.services
    ]


def _rules(release: Release, routes: Routes) -> list[Check]:
    names = {service.name: service.route_names for service in release.rollout.services}
    return [
        check
        for faults in routes.faults(release.rollout.services)
        for check in judge.route_rules(names[faults.service], faults)
    ]


def _deploy(context: Context) -> Check:
    release = context.release
    seen = take_snapshot(context)
    if has_traffic_already(release, seen, ()):
        return judge.deployable("the canary is deployed and has traffic already", None)
    try:
        serving = refuse(release, seen)
        check_render(context)
    except (RefusedError, UsageError) as error:
        return judge.deployable("", f"{error.detail.found}; {error.detail.next}")
    return judge.deployable(f"it can run next to stable {serving.app_version}", None)


def _apis(context: Context) -> Check:
    """The kinds of the rendered canary, without definitions: they define kinds."""
    release, rollout = context.release, context.release.rollout
    wanted: dict[str, set[str]] = {}
    for found in context.cluster.charts.render(
        rollout.canary_release,
        release.chart,
        canary_values(release, context.environment),
        values_from=rollout.application,
    ):
        if found.get("kind") == "CustomResourceDefinition":
            spec = found.get("spec") or {}
            kind = str((spec.get("names") or {}).get("kind"))
            for version in spec.get("versions") or []:
                if version.get("served"):
                    group_version = f"{spec.get('group')}/{version.get('name')}"
                    wanted.setdefault(group_version, set()).add(kind)
        else:
            wanted.setdefault(str(found.get("apiVersion")), set()).add(str(found.get("kind")))
    facts = context.cluster.facts
    served = {
        group_version: facts.served(*_group_and_version(group_version)) for group_version in wanted
    }
    return judge.apis(wanted, served)


def _group_and_version(text: str) -> tuple[str, str]:
    group, slash, version = text.rpartition("/")
    return (group, version) if slash else ("", text)


def _scraped(context: Context) -> list[Check]:
    """Poll until every pod is scraped, for a few scrape intervals at most."""
    if context.environment.preflight.targets is False:
        return [judge.targets_off()]
    clock, patience = context.clock, _PATIENCE * context.environment.prometheus.scrape_interval
    started = clock.now()
    while True:
        found = _targets(context)
        late = any(check.status is Status.FAIL for check in found)
        if not late or (clock.now() - started).total_seconds() >= patience:
            return found
        clock.sleep(_POLL)


def _targets(context: Context) -> list[Check]:
    environment, rollout = context.environment, context.release.rollout
    pods: list[PodState] = context.cluster.workloads.pods()
    selector = judge.up_selector(environment.kubernetes.namespace, environment.preflight.targets)
    reach = 3 * environment.prometheus.scrape_interval
    found = context.metrics.samples.series([selector], reach)[0]
    return [
        check
        for track in (Track.STABLE, Track.CANARY)
        for check in judge.targets(
            track,
            judged(rollout, track),
            pods,
            found,
            pod_label=rollout.labels.pod,
            source=selector,
        )
    ]
