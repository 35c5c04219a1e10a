"""The certificate of a release from its evidence: success metrics, plots, tables. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from tarsrelease.model.base import Value
from tarsrelease.model.details import Point
from tarsrelease.model.evidence import Record
from tarsrelease.model.format import count, duration
from tarsrelease.model.outcome import Outcome, Verdict, exit_code_of
from tarsrelease.model.result import Check, Status
from tarsrelease.model.step_details import (
    GateDetails,
    KpiDetails,
    SloReportDetails,
    ValidateDetails,
    VerifyDetails,
)
from tarsrelease.report.day_page import whole_day
from tarsrelease.report.document import Table
from tarsrelease.report.results import headline, show_observed
from tarsrelease.report.svg_plot import Panel, svg

LONGEST = 7200.0
"""Seconds that a deployment may take."""
FEWEST_TESTS = 200
OBJECTIVES = "objectives.slis"
"""What the reason of a KPI's result names where the release has no such SLI."""
NO_RECORD = "NOT CHECKED: no record"
_MEASURED = "to be measured by measure kpi"
_WATCHED = "to be measured by watch --ga-day"
_COUNTED = "to be counted by watch --ga-day, from +4 h on"
_HOTFIX = re.compile(r"test_([a-z]+_\d+)_")
_MOST = 300
"""Points of a line in a plot."""


Word = Literal["CERTIFIED", "NOT CERTIFIED", "NOT CERTIFIED YET"]


class Metric(Value):
    """A success metric: what was required, the number, and the result.

    `accepted` is the reason why the release is certified although this was NOT CHECKED, and who
    accepted it.
    """

    group: Literal["deployment", "technical", "business"]
    name: str
    required: str
    value: str
    result: Literal["PASS", "FAIL", "NOT CHECKED"]
    accepted: str = ""


class Certificate(Value):
    """What is certified of a release.

    `verdict`: CERTIFIED if the release was promoted and every metric passed or was accepted
    unchecked, NOT CERTIFIED YET if some are only `unchecked`, else NOT CERTIFIED. `certified` is
    the first of these.
    """

    format: Literal["tarsrelease/certificate/v1"] = Field(
        "tarsrelease/certificate/v1", alias="schema"
    )
    release: str
    environment: str
    identity: str | None
    started_at: datetime
    finished_at: datetime
    ended: str
    verdict: Word
    certified: bool
    unchecked: tuple[str, ...]
    metrics: tuple[Metric, ...]
    tables: tuple[Table, ...]
    overrides: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The verdict with everything that was not checked."""
        if self.verdict == "NOT CERTIFIED YET":
            return f"{self.verdict}; NOT CHECKED: {', '.join(self.unchecked)}"
        accepted = [metric.name for metric in self.metrics if metric.accepted]
        if self.certified and accepted:
            return f"{self.verdict}; accepted although NOT CHECKED: {', '.join(accepted)}"
        return self.verdict


def certificate(
    records: Sequence[Record], accepted: Mapping[str, str] | None = None
) -> Certificate | None:
    """The certificate of the last release in the records; None without a record of a release.

    `accepted` has the reason for each metric that may stay NOT CHECKED. A failed metric cannot be
    accepted.
    """
    ordered = sorted(records, key=lambda record: (record.outcome.started_at, record.number))
    steps = [record.outcome for record in ordered]
    day = whole_day(ordered)
    release = next((step.release for step in reversed(steps) if step.release), None)
    if day is None or release is None:
        return None
    steps = [step for step in steps if step.release in (None, release)]
    metrics = tuple(_accepted(_metrics(steps), accepted or {}))
    unchecked = tuple(m.name for m in metrics if m.result == "NOT CHECKED" and not m.accepted)
    promoted = any(step.step == "promote" and step.verdict is Verdict.PROCEED for step in steps)
    verdict: Word = "NOT CERTIFIED YET" if unchecked else "CERTIFIED"
    if not promoted or any(metric.result == "FAIL" for metric in metrics):
        verdict = "NOT CERTIFIED"
    identities = [record.identity for record in ordered if record.outcome.release == release]
    return Certificate(
        release=release,
        environment=next((step.environment for step in reversed(steps) if step.environment), ""),
        identity=next((each for each in reversed(identities) if each), None),
        started_at=day.started_at,
        finished_at=day.finished_at,
        ended=day.summary,
        verdict=verdict,
        certified=verdict == "CERTIFIED",
        unchecked=unchecked,
        metrics=metrics,
        tables=tuple(table for table in _tables(steps) if table.rows),
        overrides=day.details.overrides,
    )


def _accepted(metrics: Iterable[Metric], reasons: Mapping[str, str]) -> Iterator[Metric]:
    for metric in metrics:
        reason = reasons.get(metric.name, "") if metric.result == "NOT CHECKED" else ""
        yield metric.model_copy(update={"accepted": reason})


def _metrics(steps: Sequence[Outcome]) -> Iterator[Metric]:
    gates = [
        (step, gate) for step in steps if (gate := GateDetails.of(step.details)) and gate.stage
    ]
    last = {gate.stage: step for step, gate in gates}
    good = sum(step.verdict is Verdict.PROCEED for step in last.values())
    yield _metric(
        "deployment",
        "all canary gates passed",
        "every stage",
        f"{good} of {len(last)}" if last else None,
        good == len(last),
    )
    people = _last(steps, "environments.two_people")
    yield _from_checks(
        "deployment", "manual approvals", "two different people", people, "two different people"
    )
    rolled = sum(step.step == "rollback" for step in steps)
    yield _metric("deployment", "no rollback", "0", str(rolled), rolled == 0)
    begin = next((step.started_at for step in steps if step.step == "canary deploy"), None)
    end = next((s.finished_at for s in reversed(steps) if s.step == "promote"), None)
    took = (end - begin).total_seconds() if begin and end else None
    yield _metric(
        "deployment",
        "deployment time",
        f"< {duration(LONGEST)}",
        None if took is None else duration(took),
        took is not None and took < LONGEST,
    )
    yield from _validation(steps)
    done = [step for step in steps if step.step in ("migrate up", "migrate verify")]
    yield _metric(
        "technical",
        "database migrations",
        "applied and verified",
        f"{count(len(done), 'step')}: {headline(done[-1])}" if done else None,
        bool(done) and done[-1].verdict is Verdict.PROCEED,
    )
    after = _after_promotion(steps)
    for check_id, name in (
        ("slo.availability", "availability"),
        ("slo.error_rate", "error rate"),
        ("slo.latency_p95", "p95 latency"),
    ):
        yield _from_checks("technical", name, _WATCHED, _last(after, check_id))
    for check_ids, name, by in (
        (("slo.reconnection", "websocket.reconnects"), "WebSocket reconnections", _MEASURED),
        (("slo.dashboard_load",), "dashboard load time", _MEASURED),
        (("watch.breaches",), "no unplanned downtime in 24 h", _WATCHED),
        (("watch.support_tickets",), "support tickets", _COUNTED),
        (("watch.pagerduty_alerts",), "alerts", _COUNTED),
    ):
        found = _last(after, *check_ids)
        if not (found and all(_no_objective(check) for check in found)):
            yield _from_checks("business", name, by, found)
    incidents = sum(step.step == "incident open" for step in steps)
    yield _metric("business", "incidents", "0", str(incidents), incidents == 0)


def _validation(steps: Sequence[Outcome]) -> Iterator[Metric]:
    whole = next((step for step in reversed(steps) if _whole_suite(step)), None)
    tests = [check for check in whole.checks if check.id == "validation.test"] if whole else []
    passed = sum(check.status is Status.PASS for check in tests)
    yield _metric(
        "technical",
        "validation suite",
        f"all of {FEWEST_TESTS} tests or more",
        f"{passed} of {len(tests)}" if tests else None,
        passed == len(tests) >= FEWEST_TESTS,
    )
    hotfixes: dict[str, list[Check]] = {}
    for check in tests:
        if match := _HOTFIX.search(check.source):
            hotfixes.setdefault(match[1].upper().replace("_", "-"), []).append(check)
    for name, found in sorted(hotfixes.items()):
        well = sum(check.status is Status.PASS for check in found)
        yield _metric(
            "technical",
            f"hotfix {name}",
            "every test",
            f"{well} of {len(found)}",
            well == len(found),
        )


def _whole_suite(step: Outcome) -> bool:
    details = ValidateDetails.of(step.details) if step.step == "validate" else None
    return details is not None and not details.marks


def _after_promotion(steps: Sequence[Outcome]) -> list[Outcome]:
    """What was measured of the promoted release: no baseline, no canary and no old version.

    Users reach only the release from the beginning of the promotion on. KPIs may begin before that
    by a hundredth of their window, as a day is measured some minutes before it is over.
    """
    promotions = [step for step in steps if step.step == "promote" and step.verdict]
    if not promotions:
        return []
    last = max(promotions, key=lambda step: step.finished_at)
    return [s for s in steps if s.finished_at > last.finished_at and _begun(s) >= last.started_at]


def _begun(step: Outcome) -> datetime:
    """When the window of KPIs begins, with its allowance; a step without one: when it ended."""
    if step.step == "measure kpi" and (measured := KpiDetails.of(step.details)):
        kpis = measured.kpis
    elif reported := SloReportDetails.of(step.details):
        kpis = reported.slo_report.kpis
    else:
        return step.finished_at
    return datetime.fromisoformat(kpis.start) + timedelta(seconds=kpis.duration_seconds / 100)


def _last(steps: Sequence[Outcome], *check_ids: str) -> list[Check]:
    """The newest results with an answer, else the newest ones."""
    found = [
        checks
        for step in reversed(steps)
        if (checks := [check for check in step.checks if check.id in check_ids])
    ]
    answered = (each for each in found if any(c.status is not Status.SKIPPED for c in each))
    return next(answered, found[0] if found else [])


def _no_objective(check: Check) -> bool:
    """Whether the release has no SLI for this, so that it is no metric of its success."""
    return check.status is Status.SKIPPED and OBJECTIVES in check.reason


def _from_checks(
    group: Literal["deployment", "technical", "business"],
    name: str,
    by: str,
    checks: Sequence[Check],
    required: str = "",
) -> Metric:
    """The metric that the checks prove; without one, `by` says what would."""
    known = [check for check in checks if check.status is not Status.SKIPPED]
    if not known:
        return _metric(group, name, by, None, False)
    worst = next((check for check in known if check.status is not Status.PASS), known[-1])
    seen = worst.reason if worst.observed is None else show_observed(worst.observed)
    good = all(check.status is Status.PASS for check in known)
    return _metric(group, name, required or worst.expected, seen, good)


def _metric(
    group: Literal["deployment", "technical", "business"],
    name: str,
    required: str,
    value: str | None,
    good: bool,
) -> Metric:
    result: Literal["PASS", "FAIL", "NOT CHECKED"] = "NOT CHECKED"
    if value is not None:
        result = "PASS" if good else "FAIL"
    return Metric(group=group, name=name, required=required, value=value or "-", result=result)


def _tables(steps: Sequence[Outcome]) -> Iterator[Table]:
    day = [(f"{s.started_at:%H:%M:%S}", s.step, headline(s), _took(s), s.summary) for s in steps]
    yield Table(title="Steps", header=("began", "step", "result", "took", "what"), rows=tuple(day))
    gates = [
        (gate.stage or "", check.id, check.service or "", check.label,
         show_observed(check.observed), check.expected, check.reason)
        for step in steps
        if (gate := GateDetails.of(step.details)) and gate.stage
        for check in step.checks
    ]  # fmt: skip
    header = ("stage", "check", "of", "result", "observed", "expected", "reason")
    yield Table(title="Gates", header=header, rows=tuple(gates))
    people = [row for step in steps for row in _checks_of(step) if "environments" in row[1]]
    people += [row for step in steps for row in _checks_of(step) if "vote" in row[1]]
    yield Table(title="Approvals and votes", header=_CHECKS, rows=tuple(dict.fromkeys(people)))
    artifacts = [
        (row.artifact, row.result, row.actual or "", row.source)
        for step in steps
        if (details := VerifyDetails.of(step.details))
        for row in details.artifacts
    ]
    columns = ("artifact", "result", "SHA-256", "source")
    yield Table(title="Artifacts", header=columns, rows=tuple(dict.fromkeys(artifacts)))
    for title, wanted in (
        ("Migrations", "migrate"),
        ("Validation", "validate"),
        ("Measurements", "measure"),
        ("After the promotion", "watch"),
        ("Messages", "notify"),
        ("Incidents", "incident"),
    ):
        rows = [row for s in steps if s.step.startswith(wanted) for row in _checks_of(s)]
        yield Table(title=title, header=_CHECKS, rows=tuple(rows))


_CHECKS = ("time", "check", "of", "result", "observed", "expected", "reason")


def _checks_of(step: Outcome) -> Iterator[tuple[str, ...]]:
    for check in step.checks:
        yield (
            f"{step.finished_at:%H:%M:%S}",
            check.id,
            check.service or "",
            check.label,
            show_observed(check.observed),
            check.expected,
            check.reason,
        )


def _took(step: Outcome) -> str:
    return duration((step.finished_at - step.started_at).total_seconds())


def certified(found: Certificate, folder: str, names: Sequence[str]) -> Outcome:
    """The Outcome of `report certify`: a check per metric."""
    verdict = _VERDICTS[found.verdict]
    statuses = {"PASS": Status.PASS, "FAIL": Status.FAIL, "NOT CHECKED": Status.SKIPPED}
    passed = sum(metric.result == "PASS" for metric in found.metrics)
    return Outcome(
        step="report certify",
        release=found.release,
        environment=found.environment,
        verdict=verdict,
        exit_code=exit_code_of(verdict),
        summary=f"{found.release} is {found.headline}; {passed} of {len(found.metrics)} metrics "
        f"passed; {folder} has {count(len(names), 'file')}",
        checks=tuple(
            Check(
                id="certificate.metric",
                status=statuses[metric.result],
                service=metric.name,
                expected=metric.required,
                reason=_why(metric),
                source="evidence",
            )
            for metric in found.metrics
        ),
        started_at=found.started_at,
        finished_at=found.finished_at,
        next=_NEXT[found.verdict],
    )


_VERDICTS: Mapping[Word, Verdict] = {
    "CERTIFIED": Verdict.PROCEED,
    "NOT CERTIFIED YET": Verdict.HOLD,
    "NOT CERTIFIED": Verdict.NO_GO,
}
_NEXT: Mapping[Word, str] = {
    "CERTIFIED": "",
    "NOT CERTIFIED YET": "run the steps that are missing (docs/certification.md), or accept a "
    'metric with --accept "METRIC=REASON" --by NAME',
    "NOT CERTIFIED": "see the metrics that failed",
}


def _why(metric: Metric) -> str:
    if metric.result != "NOT CHECKED":
        return metric.value
    return f"NOT CHECKED, accepted: {metric.accepted}" if metric.accepted else NO_RECORD


def plot(records: Iterable[Record]) -> str:
    """One SVG: each share that the gates measured, over the whole release, with its stages."""
    lines: dict[str, dict[str, list[tuple[float, float | None]]]] = {}
    marks: list[tuple[float, str]] = []
    for step in sorted((r.outcome for r in records), key=lambda outcome: outcome.started_at):
        gate = GateDetails.of(step.details)
        if gate is None or gate.stage is None:
            continue
        shifted = datetime.fromisoformat(gate.shifted_at) if gate.shifted_at else step.started_at
        marks.append((shifted.timestamp(), f"{gate.stage} {headline(step)}"))
        shares = {
            check.id for check in step.checks if check.observed and check.observed.unit == "share"
        }
        for point in _thinned(gate.history):
            at = (shifted + timedelta(seconds=point.elapsed)).timestamp()
            for key, value in point.values.items():
                check_id, _, service = key.partition("/")
                if check_id in shares:
                    own = lines.setdefault(check_id, {}).setdefault(service or "all", [])
                    own.append((at, 100 * value))
    times = [at for found in lines.values() for line in found.values() for at, _ in line]
    marks = [(max(at, min(times, default=at)), label) for at, label in marks]
    panels = [
        Panel(check_id, "%", dict(sorted(found.items()))) for check_id, found in lines.items()
    ]
    return svg("What the gates measured, from the first shift to the last verdict", panels, marks)


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    every = -(-len(points) // _MOST) or 1
    return points[::-1][::every][::-1]
