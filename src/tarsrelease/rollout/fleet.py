"""One outcome for a step on several targets, and which targets a wave has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from tarsrelease.model.details import Details, Table, TargetRow
from tarsrelease.model.environment import Environment, Wave
from tarsrelease.model.outcome import (
    ErrorDetail,
    ExitCode,
    Outcome,
    Status,
    Verdict,
    deciding,
)
from tarsrelease.model.step_details import StatusDetails

_WORST_FIRST = (
    ExitCode.BUG,
    ExitCode.INTERRUPTED,
    ExitCode.STOPPED,
    ExitCode.ROLLBACK,
    ExitCode.HOLD,
    ExitCode.UNREACHABLE,
    ExitCode.LOCKED,
    ExitCode.USAGE,
    ExitCode.NO,
    ExitCode.DONE,
)

_BAD_CHECKS = 20
"""Checks that the outcome of a fleet lists."""
_CHANGED = frozenset(
    {ExitCode.DONE, ExitCode.HOLD, ExitCode.STOPPED, ExitCode.INTERRUPTED, ExitCode.BUG}
)
"""The exit codes of a release or rollback that may have changed something at its target."""
_UNCHANGED = frozenset({ExitCode.UNREACHABLE, ExitCode.LOCKED, ExitCode.USAGE, ExitCode.NO})


def targets_of(environment: Environment, wave: int | None) -> tuple[str, ...]:
    """The names of the targets of a wave, counted from 1, or of all, in the order of the waves.

    Raises ValueError if there is no such wave.
    """
    waves = environment.waves
    if wave is not None and wave > len(waves):
        raise ValueError(f"there are {len(waves)} waves, and no wave {wave}")
    chosen = waves if wave is None else waves[wave - 1 : wave]
    return tuple(name for each in chosen for name in each.targets)


def first_users(environment: Environment, waves: Sequence[Wave], number: int) -> list[str]:
    """A target of wave `number` (from 1) for each shared database that no earlier wave uses."""
    earlier = {name for wave in waves[: number - 1] for name in wave.targets}
    found: list[str] = []
    for name in waves[number - 1].targets:
        users = environment.sharing(name)
        if len(users) > 1 and earlier.isdisjoint(users) and not set(found) & set(users):
            found.append(name)
    return found


def one_per_database(environment: Environment, names: Sequence[str]) -> tuple[str, ...]:
    """The first of these targets for each database; those without a database stay."""
    found: list[str] = []
    for name in names:
        if not set(found) & set(environment.sharing(name)):
            found.append(name)
    return tuple(found)


def without(waves: Sequence[Wave], left_out: Mapping[str, str]) -> list[Wave]:
    """The waves without the targets that are left out, by name with the reason.

    Raises ValueError for one that no wave has, one without a reason, and one too many in a wave.
    """
    known = {name for wave in waves for name in wave.targets}
    for name, reason in left_out.items():
        if name not in known:
            raise ValueError(f"{name} is not one of the targets")
        if not reason.strip():
            raise ValueError(f"{name} has no reason")
    remaining = []
    for number, wave in enumerate(waves, 1):
        names = tuple(name for name in wave.targets if name not in left_out)
        if len(wave.targets) - len(names) > wave.max_unavailable:
            most = wave.max_unavailable
            raise ValueError(f"wave {number} may leave out {most} (max_unavailable)")
        remaining.append(wave.model_copy(update={"targets": names}))
    return remaining


def mentioning(outcome: Outcome, left_out: Mapping[str, str]) -> Outcome:
    """The outcome of a fleet, with a row for each target that was left out."""
    if not left_out:
        return outcome
    rows = tuple(
        TargetRow(target=name, exit_code=int(ExitCode.DONE), summary=f"left out: {reason}")
        for name, reason in left_out.items()
    )
    details = outcome.details.model_copy(update={"targets": (*outcome.details.targets, *rows)})
    names = some(list(left_out))
    return outcome.model_copy(
        update={"summary": f"{outcome.summary}; left out: {names}", "details": details}
    )


def some(names: Sequence[str], most: int = 5) -> str:
    """The names in one line, of many the first ones: ``eu-1, eu-2 and 40 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def to_roll_back(waves: Sequence[Wave], failed: int, found: Mapping[str, Outcome]) -> list[str]:
    """The targets to roll back because wave number `failed` (from 1) failed.

    `found` has what came of the targets so far. Those that were rolled back already stay as they
    are; so do those that nothing was changed in.
    """
    wave = waves[failed - 1]
    reached = waves[:failed] if wave.on_failure == "all" else (wave,)
    names = [name for each in reached for name in each.targets]
    return [name for name in names if name in found and found[name].exit_code in _CHANGED]


def stops_others(step: str, outcome: Outcome) -> bool:
    """Whether this outcome at one target ends the step at the others.

    A rollback does. So does another run that took over a target of a release: two releases to the
    same targets must not both go on.
    """
    code = outcome.exit_code
    return code is ExitCode.ROLLBACK or (step == "run" and code is ExitCode.LOCKED)


def not_started(step: str, target: str, why: str, at: datetime) -> Outcome:
    """The outcome at a target that the step did not reach before it ended at the others."""
    return Outcome(
        step=step,
        release=None,
        environment=target,
        verdict=Verdict.NO_GO,
        exit_code=ExitCode.NO,
        summary=f"not started: {why}",
        started_at=at,
        finished_at=at,
    )


def overtaken(found: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """The targets of earlier waves that are not promoted any more, by `found` of `status`.

    One that does not answer is as it is; one that answers holds the release.
    """
    result = {}
    for name, outcome in found.items():
        details = StatusDetails.of(outcome.details)
        if details is not None and details.position.at == "promoted":
            continue
        hold = {"verdict": Verdict.HOLD, "exit_code": ExitCode.HOLD}
        result[name] = outcome.model_copy(update=hold) if details is not None else outcome
    return result


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome that needs a person's attention first; there must be one."""
    return min(outcomes, key=lambda outcome: _WORST_FIRST.index(outcome.exit_code))


def fleet_outcome(
    environment: str,
    found: Mapping[str, Outcome],
    started_at: datetime,
    finished_at: datetime,
    waves: Sequence[Wave] = (),
) -> Outcome:
    """The outcome of a step on several targets, from theirs by name: the worst of them decides."""
    wave_of = {name: number for number, wave in enumerate(waves, 1) for name in wave.targets}
    gravest = worst(found.values())
    alike = [name for name, one in found.items() if one.exit_code is gravest.exit_code]
    error = gravest.error
    if error is not None:
        error = ErrorDetail(
            doing=f"{error.doing} ({alike[0]})",
            found=error.found,
            expected=error.expected,
            next=error.next,
        )
    which = "all" if len(alike) == len(found) else some(alike)
    return gravest.model_copy(
        update={
            "environment": environment,
            "summary": f"{len(alike)} of {len(found)} targets ({which}): {gravest.summary}",
            "checks": (),
            "error": error,
            "details": Details(
                targets=tuple(_row(name, one, wave_of.get(name)) for name, one in found.items()),
                plan=tuple(_plans(found)),
                table=_bad_checks(found),
            ),
            "started_at": started_at,
            "finished_at": finished_at,
        }
    )


def _plans(found: Mapping[str, Outcome]) -> Iterator[str]:
    """The lines of all plans; targets with the same plan are named together."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, one in found.items():
        alike.setdefault(one.details.plan, []).append(name)
    for plan, names in alike.items():
        yield from (f"{some(names)}: {line}" for line in plan)


def _bad_checks(found: Mapping[str, Outcome]) -> Table | None:
    """Which checks failed or could not be measured, and where; None if none did."""
    alike: dict[tuple[Status, str, str], tuple[str, dict[str, None]]] = {}
    for name, one in found.items():
        for check in deciding(one.checks):
            if check.status in (Status.FAIL, Status.ERROR):
                which = (check.status, check.id, check.service or "")
                alike.setdefault(which, (check.reason, {}))[1][name] = None
    ordered = sorted(alike.items(), key=lambda each: each[0][0] is not Status.FAIL)
    rows = [
        (status.upper(), check, service, some(list(names)), reason.partition("\n")[0])
        for (status, check, service), (reason, names) in ordered[:_BAD_CHECKS]
    ]
    if len(ordered) > _BAD_CHECKS:
        more = f"and {len(ordered) - _BAD_CHECKS} more"
        rows.append(("", more, "", "", "see the evidence, or --target with one of them"))
    header = ("result", "check", "service", "at", "reason, of the first target")
    return Table(header=header, rows=tuple(rows)) if rows else None


def changed(found: Mapping[str, Outcome]) -> bool:
    """Whether a release or a rollback that ended like this may have changed one of its targets."""
    return any(one.exit_code in _CHANGED for one in found.values())


def after_changes(outcome: Outcome) -> Outcome:
    """The outcome of a fleet in which something was changed.

    Where the exit code of the worst target says that nothing was changed there, it becomes 12.
    """
    if outcome.exit_code not in _UNCHANGED:
        return outcome
    detail = outcome.error or ErrorDetail(
        doing=outcome.step, found=outcome.summary, expected="every target to proceed", next=""
    )
    update = {"next": f"{detail.next or outcome.next}; other targets were changed, see `status`"}
    return outcome.model_copy(
        update={
            "verdict": None,
            "exit_code": ExitCode.STOPPED,
            "error": detail.model_copy(update=update),
            "next": update["next"],
        }
    )


def _row(name: str, outcome: Outcome, wave: int | None) -> TargetRow:
    status = StatusDetails.of(outcome.details)
    return TargetRow(
        target=name,
        wave=wave,
        at=status.position.at if status is not None else "",
        exit_code=int(outcome.exit_code),
        verdict=outcome.verdict,
        weight=status.position.weight if status is not None else None,
        summary=outcome.summary,
        next=outcome.next,
    )
