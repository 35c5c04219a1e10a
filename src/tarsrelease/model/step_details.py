"""Each step's own details: the shapes of `details` in an outcome's JSON.

The keys are a contract with dashboards; schemas/outcome.schema.json publishes them. Every time
span is in seconds unless its name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tarsrelease.model.base import Value
from tarsrelease.model.cluster import DeploymentState, Revision, RouteState
from tarsrelease.model.details import Details
from tarsrelease.model.incident import Classification
from tarsrelease.model.journal import Entry, LockHolder
from tarsrelease.model.kpis import BurnRate, DriftReport, ErrorBudget, KpiReport, SloAlert
from tarsrelease.model.load import LoadReport
from tarsrelease.model.notice import Told
from tarsrelease.model.people import Approval, OnCall, Vote
from tarsrelease.model.planning import PlannedCheck, PooledCheck, StagePlan
from tarsrelease.model.position import Position
from tarsrelease.model.result import Check
from tarsrelease.model.slo_report import SloReport
from tarsrelease.model.sockets import SocketReport


class ArtifactRow(Value):
    """What `verify` found of one file or image; `expected` and `actual` are SHA-256.

    `result` is PASS, FAIL or NOT CHECKED.
    """

    artifact: str
    size: int | None = None
    expected: str | None = None
    actual: str | None = None
    source: str = ""
    signer: str | None = None
    built_from: str | None = None
    result: str


class VerifyDetails(Details):
    """Of `verify`."""

    artifacts: tuple[ArtifactRow, ...] = ()


class BundleBuildDetails(VerifyDetails):
    """Of `bundle build`: SHA-256 by file, and the files with new bytes."""

    files: dict[str, str]
    changed: tuple[str, ...]


class BundleDiffDetails(Details):
    """Of `bundle diff`."""

    differences: tuple[str, ...]


class PlanDetails(Details):
    """Of `plan`. `window_override` is the reason why the deployment window is ignored."""

    schedule: tuple[StagePlan, ...]
    window_override: str | None


class GoNoGoDetails(Details):
    """Of `check go-no-go`; `window` is that of the measurements.

    `decision` is GO, NO-GO, POSTPONE, or ASK: the approvals that are votes are still to come.
    """

    votes: tuple[Vote, ...]
    preflight: tuple[Check, ...]
    window: float
    decision: str = ""


class ItemRow(Value):
    """An item of a checklist: who did it or has to, when, and the evidence.

    `status`: pass, fail, error, or skipped (not due yet).
    """

    item: str
    checklist: str
    text: str
    status: str
    who: str = ""
    when: str = ""
    evidence: str = ""


class ReadinessDetails(Details):
    """Of `check readiness`: the items of one part, and who is on call in the window."""

    part: str
    items: tuple[ItemRow, ...]
    on_call: tuple[OnCall, ...] = ()


class EnvironmentsDetails(Details):
    """Of `check environments`: whether the repository is private, and who approved the run."""

    private: bool
    approvals: tuple[Approval, ...]


class CanaryPlanDetails(Details):
    """Of `canary plan`, over a window of recorded traffic."""

    window_seconds: float
    alpha_per_check: float
    planned: tuple[PlannedCheck, ...]
    not_planned: tuple[str, ...]


class FleetPlanDetails(Details):
    """Of `canary plan` on several targets: what those of a wave find together."""

    pooled: tuple[PooledCheck, ...]


class PlayedStage(Value):
    """One stage of `canary backtest`: how often this canary was rolled back or passed."""

    stage: str
    canary: str
    stretches: int
    rolled_back: int
    rolled_back_interval: tuple[float, float]
    proceeded: int
    median_seconds: float | None


class BacktestDetails(Details):
    """Of `canary backtest`. `power`: (requests a second, chance) by stage."""

    played: tuple[PlayedStage, ...]
    alpha_per_check: float
    power: dict[str, tuple[tuple[float, float], ...]]
    not_replayed: tuple[str, ...]


class ExplainDetails(Details):
    """Of `canary explain`; `explained` has sentences by check and service."""

    law: str
    verdict: str
    alpha_per_check: float
    explained: dict[str, tuple[str, ...]]


class DeployDetails(Details):
    """Of `canary deploy`; `stable` is the version that serves."""

    stable: str


class GateDetails(Details):
    """Of `canary gate` and its two modes.

    `shifted_at` is RFC 3339. `protected` says why all traffic moved to stable before a rollback was
    proven; the stage may have been tried once more since. With ``mode`` "wait", `over` says how
    somebody else ended the wait and `by` in which run; `limit` is the longest wait.
    """

    weight: int | None = None
    stage: str | None = None
    looks: int | None = None
    false_rollback_budget: float | None = None
    alpha_per_check: float | None = None
    shifted_at: str | None = None
    seconds_from_shift_to_verdict: float | None = None
    seconds_from_verdict_to_write: float | None = None
    seconds_from_shift_to_write: float | None = None
    extended_seconds: float | None = None
    protected: str | None = None
    seconds_from_shift_to_protection: float | None = None
    lifted_by: str | None = None
    lifted_for: str | None = None
    mode: str | None = None
    waited_seconds: float | None = None
    limit: float | None = None
    over: str | None = None
    by: str | None = None


class AppliedDetails(Details):
    """Of what applies migrations: statements finished, and how often it gave way."""

    statements: int = 0
    gave_way: int = 0


class MigrateUpDetails(AppliedDetails):
    """Of `migrate up`; `repaired` counts indexes built anew."""

    phase: str | None = None
    repaired: int = 0
    paused_seconds: float = 0.0
    foreign_invalid_indexes: tuple[str, ...] = ()


class MigrateDownDetails(AppliedDetails):
    """Of `migrate down`: what was lost, in words."""

    lost: tuple[str, ...] = ()


class MigrateStatusDetails(Details):
    """Of `migrate status`: who holds the lock, builds in progress, invalid indexes."""

    lock: str | None
    builds: tuple[str, ...]
    invalid_indexes: tuple[str, ...]


class LockTaken(Value):
    """A table lock that a statement takes."""

    relation: str
    mode: str


class FoundDanger(Value):
    """What the linting found in a statement; `allowed` is the reason given in the file."""

    rule: str
    found: str
    weight: str
    allowed: str | None


class PlannedStatement(Value):
    """One statement of `migrate plan`, as it behaved on the throwaway copy.

    `sql` is its beginning, `sha256` that of the whole statement.
    """

    file: str
    statement: int
    line: int
    sql: str
    sha256: str
    locks: tuple[LockTaken, ...]
    measured: bool
    rewrites: tuple[str, ...]
    scans: tuple[str, ...]
    bytes: dict[str, int | None]
    seconds: float
    duration: str
    deadline: str = ""
    findings: tuple[FoundDanger, ...]
    in_the_way: tuple[str, ...]


class MigratePlanDetails(Details):
    """Of `migrate plan`; `session` are settings of the role that the environment replaces.

    `not_copied` are schemas and tables that the role may not read.
    """

    tried_on: str
    database: str
    session: tuple[str, ...] = ()
    not_copied: tuple[str, ...] = ()
    statements: tuple[PlannedStatement, ...]


class UndoneDetails(MigrateDownDetails):
    """The database's part of `rollback --with-database`."""

    summary: str = ""


class RollbackDetails(Details):
    """Of `rollback`; `traffic_moved_at` is RFC 3339."""

    reason: str | None = None
    version: str = ""
    budget: float | None = None
    seconds: float | None = None
    within_budget: bool | None = None
    traffic_moved_at: str | None = None
    database: UndoneDetails | None = None


class RollbackPlanDetails(Details):
    """Of `rollback --plan`."""

    budget: float


class RunDetails(Details):
    """Of `run`; `rollback` is there where it was rolled back."""

    rollback: RollbackDetails | None = None


class FaultRow(Value):
    """A fault of a rehearsal: the verdict that it should lead to, and the one that came.

    `seconds`: from its beginning to no traffic on the canary.
    """

    fault: str
    expected: str
    got: str | None = None
    seconds: float | None = None


class RehearseDetails(RunDetails):
    """Of `rehearse`; `clients` is the load generator's report."""

    faults: tuple[str, ...] = ()
    expectations: tuple[FaultRow, ...] = ()
    clients: dict[str, Any] = {}
    cluster_ready_seconds: float | None = None
    evidence: str | None = None


class ClusterUpDetails(Details):
    """Of `rehearse up`."""

    kubeconfig: str
    context: str


class ClusterPart(Value):
    """A process of the rehearsal cluster; its resident memory in bytes."""

    name: str
    state: str
    pid: int | None
    restarts: int
    memory_bytes: int


class ClusterStatusDetails(Details):
    """Of `rehearse status`."""

    phase: str
    pid: int | None
    kubeconfig: str | None
    addresses: dict[str, str]
    versions: dict[str, str]
    parts: tuple[ClusterPart, ...]


class ValidateDetails(Details):
    """Of `validate`: the marks that chose the tests, their number, and the report's path."""

    target: str
    marks: tuple[str, ...]
    tests: int
    seconds: float
    html: str | None = None


class WatchDetails(Details):
    """Of `watch`; `confidence` as a percentage in text."""

    window: float
    confidence: str


class KpiDetails(Details):
    """Of `measure kpi` and `measure baseline`."""

    kpis: KpiReport


class LoadDetails(Details):
    """Of `measure load`."""

    load: LoadReport


class SloReportDetails(Details):
    """Of `report slo`."""

    slo_report: SloReport


class DriftDetails(Details):
    """Of `measure drift`."""

    drift: DriftReport


class SloDetails(Details):
    """Of `measure slo`: the last evaluation, and every alert since the command started."""

    kpis: KpiReport | None = None
    evaluations: int = 0
    alerts: tuple[SloAlert, ...] = ()
    burn_rates: tuple[BurnRate, ...] = ()
    budget: ErrorBudget | None = None


class WebSocketDetails(Details):
    """Of `measure websocket`."""

    websocket: SocketReport


class NotImported(Value):
    """What `import` found no counterpart for, and why."""

    object: str
    what: str
    why: str


class ImportDetails(Details):
    """Of `import`: the rollout, and what is not in it."""

    document: dict[str, Any]
    missing: tuple[NotImported, ...]


class IncidentDetails(Details):
    """Of `incident classify` and `incident open`; `escalate_to` is None after the last level."""

    classification: Classification
    escalate_to: str | None = None


class NotifyDetails(Details):
    """Of `notify send`: receivers told now, those that this run had told before, open threads."""

    key: str
    delivered: tuple[str, ...] = ()
    known_already: tuple[str, ...] = ()
    threads: dict[str, str] = {}


class MessagesDetails(Details):
    """Of `messages`: the notices that a step posted, and who got them."""

    told: tuple[Told, ...]


class PreviewedMessage(Value):
    """A message as its receiver would get it."""

    receiver: str
    body: dict[str, Any]


class NotifyPreviewDetails(Details):
    """Of `notify preview`."""

    key: str
    messages: tuple[PreviewedMessage, ...]


class StatusDetails(Details):
    """Of `status`; `helm` has the newest revision by Helm release, `journal` the last entries."""

    position: Position
    lock: LockHolder | None
    routes: tuple[RouteState, ...]
    deployments: tuple[DeploymentState, ...]
    helm: dict[str, Revision | None]
    journal: tuple[Entry, ...]


class ReportDayDetails(Details):
    """Of `report day`: the rows of the table of steps."""

    steps: tuple[tuple[str, ...], ...]


DETAILS: Mapping[str, type[Details]] = {
    "verify": VerifyDetails,
    "bundle build": BundleBuildDetails,
    "bundle diff": BundleDiffDetails,
    "plan": PlanDetails,
    "check go-no-go": GoNoGoDetails,
    "check environments": EnvironmentsDetails,
    "check readiness": ReadinessDetails,
    "canary plan": CanaryPlanDetails,
    "canary backtest": BacktestDetails,
    "canary explain": ExplainDetails,
    "canary deploy": DeployDetails,
    "gate": GateDetails,
    "migrate plan": MigratePlanDetails,
    "migrate up": MigrateUpDetails,
    "migrate down": MigrateDownDetails,
    "migrate status": MigrateStatusDetails,
    "rollback": RollbackDetails,
    "rollback --plan": RollbackPlanDetails,
    "run": RunDetails,
    "rehearse": RehearseDetails,
    "rehearse up": ClusterUpDetails,
    "rehearse status": ClusterStatusDetails,
    "validate": ValidateDetails,
    "watch": WatchDetails,
    "measure kpi": KpiDetails,
    "measure baseline": KpiDetails,
    "measure drift": DriftDetails,
    "measure slo": SloDetails,
    "measure websocket": WebSocketDetails,
    "measure load": LoadDetails,
    "report slo": SloReportDetails,
    "import": ImportDetails,
    "incident classify": IncidentDetails,
    "incident open": IncidentDetails,
    "notify send": NotifyDetails,
    "messages": MessagesDetails,
    "notify preview": NotifyPreviewDetails,
    "status": StatusDetails,
    "report day": ReportDayDetails,
}
"""The kind of details by the step's name. Steps without an entry have no details of their own."""


def read_details(step: str, given: Mapping[str, Any]) -> Details:
    """`given` as the step's kind of details.

    What does not fit, such as a record of another version, becomes plain `Details` without the
    keys that could not be read: the record still counts. Raises ValueError for no mapping.
    """
    kind = DETAILS.get(step, Details)
    try:
        return kind.model_validate(given)
    except ValidationError as problem:
        misfits = {error["loc"][0] for error in problem.errors() if error["loc"]}
        if not misfits:
            raise
        return Details.model_validate({k: v for k, v in given.items() if k not in misfits})
