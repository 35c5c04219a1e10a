"""The preflight checks: facts in, results out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import Template
from typing import Any

from tarsrelease.model.cluster import NodeState, PodState, Revision, RouteFaults, RouteState
from tarsrelease.model.format import count, names
from tarsrelease.model.measurement import Series, Track
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.model.rights import Right
from tarsrelease.model.versions import same_version
from tarsrelease.rollout.route_owners import controller_of

NODES = "preflight.nodes"
NAMESPACE = "preflight.namespace"
RIGHTS = "preflight.rights"
HELM = "preflight.helm_release"
ROUTES = "preflight.route_owner"
ROUTE_RULES = "preflight.route_rules"
DEPLOY = "preflight.deploy"
APIS = "preflight.apis"
TARGETS = "preflight.targets"
SELECTORS = "preflight.selectors"
FLAGS = "preflight.feature_flags"

EXPECTED = {
    NODES: "every node is ready without pressure, and at least one accepts pods",
    NAMESPACE: "the namespace is active",
    RIGHTS: "every right of rbac/role.yaml",
    HELM: "deployed",
    ROUTES: "no delivery controller owns the route",
    ROUTE_RULES: "routes that can be split, and no older route of the same requests",
    DEPLOY: "canary deploy would not refuse",
    APIS: "the cluster serves every kind of the chart",
    TARGETS: "every ready pod is scraped",
    SELECTORS: "series that have what the SLIs' selectors ask for",
    FLAGS: "staging runs with the same feature flags",
}


def _check(check_id: str, status: Status, reason: str, **more: Any) -> Check:
    """`more` are fields of `Check`; `expected` is that of the id unless it is given."""
    fields = {"expected": EXPECTED[check_id], **more}
    return Check(id=check_id, status=status, reason=reason, **fields)


def unmeasured(check_id: str, reason: str, *, service: str | None = None) -> Check:
    """The error result of a check that cannot be made."""
    return _check(check_id, Status.ERROR, reason, source="", service=service)


def after_approval(check_id: str) -> Check:
    """The skipped result of a check that read-only credentials do not allow."""
    reason = "not with read-only credentials; `check preflight` checks it after the approvals"
    return _check(check_id, Status.SKIPPED, reason, source="SelfSubjectAccessReview")


def nodes(found: Sequence[NodeState] | None) -> Check:
    """Check all nodes. None: no right to list them, which a namespace's Role cannot give."""
    source = "nodes"
    if found is None:
        return _check(
            NODES,
            Status.SKIPPED,
            "no right to list nodes, which only a ClusterRole can give "
            "(kubectl create clusterrole NAME --verb=list --resource=nodes)",
            source=source,
        )
    wrong = [f"{node.name} is not ready" for node in found if not node.ready]
    wrong += [f"{node.name} has {names(list(node.pressures))}" for node in found if node.pressures]
    if not any(node.schedulable for node in found):
        wrong.append("no node accepts pods" if found else "there is no node")
    able = sum(node.ready for node in found)
    cordoned = [node.name for node in found if not node.schedulable]
    said = f"{able} of {count(len(found), 'node')} ready"
    said += f"; cordoned: {names(cordoned)}" if cordoned else ""
    return _check(
        NODES,
        Status.FAIL if wrong else Status.PASS,
        "; ".join(wrong) or said,
        source=source,
        observed=Observed(value=able, unit="count"),
    )


def namespace(name: str, phase: str | None, *, forbidden: bool, seen_in_it: int) -> Check:
    """Check that the namespace exists; without the right to read it, its Deployments prove it."""
    source = f"namespace/{name}"
    if forbidden:
        if seen_in_it:
            reason = f"{count(seen_in_it, 'Deployment')} found in it; no right to read its phase"
            return _check(NAMESPACE, Status.PASS, reason, source=source)
        reason = "no right to read the namespace, and nothing was found in it"
        return _check(NAMESPACE, Status.ERROR, reason, source=source)
    if phase is None:
        return _check(NAMESPACE, Status.FAIL, "it does not exist", source=source)
    status = Status.PASS if phase == "Active" else Status.FAIL
    observed = Observed(value=phase, unit="phase")
    return _check(NAMESPACE, status, f"it is {phase}", source=source, observed=observed)


def rights(asked: Sequence[Right], lacking: Sequence[Right]) -> Check:
    """Check that every right that the release needs is granted."""
    having = len(asked) - len(lacking)
    said = f"{having} of {count(len(asked), 'right')}"
    if lacking:
        said += f"; missing: {', '.join(map(str, lacking))}; run `kubectl apply -f rbac/role.yaml`"
    return _check(
        RIGHTS,
        Status.FAIL if lacking else Status.PASS,
        said,
        source="SelfSubjectAccessReview",
        observed=Observed(value=having, unit="count"),
    )


def helm_release(
    application: str, history: Sequence[Revision], *, new: str, running: str | None, too_old: bool
) -> Check:
    """Check that the newest revision is deployed, at the version to be replaced.

    `running` is the version that must run, None for any; `too_old`: the running version is below
    the manifest's min_previous_version.
    """
    expected = f"deployed, at {running}" if running else f"deployed, at a version before {new}"
    source = f"helm history {application}"
    last = history[-1] if history else None
    if last is None:
        reason = f"there is no Helm release {application}"
        return _check(HELM, Status.FAIL, reason, source=source, expected=expected)
    said = f"revision {last.number} is {last.status}, at {last.app_version}"
    wrong = None
    if last.status != "deployed":
        wrong = f"{said}; run `tarsrelease rollback` to restore the last good revision"
    elif running is not None and not same_version(last.app_version, running):
        wrong = said
    elif same_version(last.app_version, new):
        wrong = f"{said} already"
    elif too_old:
        wrong = f"{said}, which is below the min_previous_version of {new}"
    return _check(
        HELM,
        Status.FAIL if wrong else Status.PASS,
        wrong or said,
        source=source,
        expected=expected,
        observed=Observed(value=last.app_version, unit="version"),
    )


def route_owner(service: str, route: str, state: RouteState | None) -> Check:
    """Check that no delivery controller overwrites the weights of the route."""
    source = route
    if state is None:
        reason = "it does not exist yet; the release creates it"
        return _check(ROUTES, Status.PASS, reason, source=source, service=service)
    controller = None if state.adopted else controller_of(state.managers)
    observed = Observed(value=names(list(state.managers)) or "tarsrelease", unit="managers")
    if controller is not None:
        reason = f"{controller[0]} manages it and would overwrite the weights: {controller[1]}"
        status = Status.FAIL
    elif not state.accepted:
        reason, status = f"the gateway does not accept it: {state.problem}", Status.FAIL
    else:
        reason, status = f"no other owner; {state.weight} % to the canary", Status.PASS
    return _check(ROUTES, status, reason, source=source, service=service, observed=observed)


def route_rules(route: str, faults: RouteFaults) -> tuple[Check, ...]:
    """Check that the routes can take the canary."""
    same: dict[str, Any] = {"source": route, "service": faults.service}
    found = [_check(ROUTE_RULES, Status.FAIL, text, **same) for text in faults.found]
    passed = _check(ROUTE_RULES, Status.PASS, "the rules can be split", **same)
    return tuple(found) or (passed,)


def deployable(said: str, refused: str | None) -> Check:
    """Check that `canary deploy` would start now; `refused` is the reason why not, or None.

    It is checked before the database is migrated.
    """
    status = Status.PASS if refused is None else Status.FAIL
    return _check(DEPLOY, status, refused or said, source="canary deploy")


def up_selector(namespace_: str, given: bool | str = True) -> str:
    """Which targets of the namespace answered their last scrape; `given` is another selector."""
    if isinstance(given, str):
        return Template(given).safe_substitute(namespace=namespace_)
    return f'up{{namespace="{namespace_}"}}'


def targets_off() -> Check:
    """The skipped result if the environment switches the check off."""
    return _check(TARGETS, Status.SKIPPED, "preflight.targets is off in the environment file")


def apis(wanted: Mapping[str, Iterable[str]], served: Mapping[str, Iterable[str]]) -> Check:
    """Check that the cluster serves every kind that the chart has; by group and version."""
    missing = sorted(
        f"{kind} ({group_version})"
        for group_version, kinds in wanted.items()
        for kind in set(kinds) - set(served.get(group_version, ()))
    )
    total = sum(len(set(kinds)) for kinds in wanted.values())
    return _check(
        APIS,
        Status.FAIL if missing else Status.PASS,
        f"not served: {names(missing)}; install their definitions first, such as "
        "`kubectl apply --server-side --filename CHART/crds/`"
        if missing
        else f"{count(total, 'kind')} of the chart",
        source="discovery",
        observed=Observed(value=total - len(missing), unit="count"),
    )


def targets(
    track: Track,
    deployments: Mapping[str, str],
    pods: Iterable[PodState],
    found: Sequence[Series],
    *,
    pod_label: str,
    source: str,
) -> tuple[Check, ...]:
    """Check that every ready pod of a track is scraped; one result per service and worker.

    `deployments` maps names to the track's Deployments. For a canary that is not deployed yet
    the result is skipped.
    """
    newest = {
        series.labels.get(pod_label, ""): series.samples[-1].value
        for series in found
        if series.samples
    }
    everyone = [pod for pod in pods if not pod.terminating]
    results = []
    for name, deployment in deployments.items():
        own = [pod.name for pod in everyone if pod.owner == deployment and pod.ready]
        up = [pod for pod in own if newest.get(pod) == 1]
        unknown = [pod for pod in own if pod not in newest]
        down = [pod for pod in own if pod in newest and newest[pod] != 1]
        if not own:
            absent = track is Track.CANARY
            status = Status.SKIPPED if absent else Status.FAIL
            reason = f"{deployment} has no ready pod" + (": not deployed yet" if absent else "")
        elif unknown:
            status, reason = Status.FAIL, f"not scraped at all: {names(unknown)}"
        elif down:
            status, reason = Status.FAIL, f"scraping failed: {names(down)}"
        else:
            status, reason = Status.PASS, f"{len(up)} of {count(len(own), f'{track} pod')} up"
        results.append(
            _check(
                TARGETS,
                status,
                reason,
                source=source,
                service=name,
                observed=Observed(value=len(up), unit="count"),
            )
        )
    return tuple(results)


def flags_not_compared(reason: str) -> Check:
    """The skipped result if there is nothing to compare."""
    return _check(FLAGS, Status.SKIPPED, reason, source="")


def feature_flags(wanted: Mapping[str, Any], there: Mapping[str, Any], *, where: str) -> Check:
    """Check that staging has the feature flags that this release switches on.

    `there` are the values that staging's Helm release was rendered with.
    """
    leaves = dict(_leaves(wanted))
    differing = [
        f"{'.'.join(path)} is {_shown(_at(there, path))} there, {_shown(value)} here"
        for path, value in leaves.items()
        if _at(there, path) != value
    ]
    same = len(leaves) - len(differing)
    return _check(
        FLAGS,
        Status.FAIL if differing or not leaves else Status.PASS,
        "; ".join(differing) or f"{same} of {count(len(leaves), 'flag')} as in {where}",
        source=f"helm values in {where}",
        observed=Observed(value=same, unit="count"),
    )


def _leaves(
    values: Mapping[str, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _at(values: Any, path: Sequence[str]) -> Any:
    """The value at `path`; None if there is none."""
    for key in path:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    return str(value).lower() if isinstance(value, bool) else str(value)
