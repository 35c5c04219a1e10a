"""The targets of a fleet as tables: a row for each, or of many a row per wave and the problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from tarsrelease.model.details import TargetRow
from tarsrelease.model.outcome import Outcome
from tarsrelease.report.results import ended

TARGET_HEADER = ("target", "canary", "result", "summary")
WAVE_HEADER = ("wave", "targets", "canary", "results")
PROBLEM_HEADER = ("not in order", "canary", "result", "summary")
MANY = 30
"""Targets, above which they are not listed one by one."""
_SHOWN = 20
_ACROSS = 60
_STEPS = "▁▂▃▄▅▆▇█"
_DONE = {"promoted": "✓", "rolled back": "✗"}
LEGEND = "· 0 %, ▁ to █ up to 100 %, ✓ promoted, ✗ rolled back, ? unknown, ! not in order"

Table = tuple[Sequence[str], Sequence[Sequence[str]]]


def target_tables(outcome: Outcome) -> list[Table]:
    """The targets of the outcome; empty if it has none."""
    rows = outcome.details.targets
    if len(rows) <= MANY:
        return [(TARGET_HEADER, [_target_row(row) for row in rows])] if rows else []
    found: list[Table] = [
        (WAVE_HEADER, [_wave_row(wave, alike) for wave, alike in waves(rows)]),
    ]
    wrong = problems(rows)
    if wrong:
        listed = [_target_row(row) for row in wrong[:_SHOWN]]
        if len(wrong) > _SHOWN:
            listed.append((f"and {len(wrong) - _SHOWN} more", "", "", "see --format json"))
        found.append((PROBLEM_HEADER, listed))
    return found


def weight_map(outcome: Outcome) -> list[str]:
    """One character for each target, by wave, and what it means; empty if weights are unknown."""
    rows = outcome.details.targets
    if len(rows) <= MANY or all(row.weight is None for row in rows):
        return []
    lines = [f"Canary at each target: {LEGEND}"]
    for wave, alike in waves(rows):
        signs = "".join(map(sign, alike))
        pieces = [signs[at : at + _ACROSS] for at in range(0, len(signs), _ACROSS)]
        for number, piece in enumerate(pieces):
            name = f"wave {wave}" if number == 0 and wave is not None else ""
            lines.append(f"{name:<8} {piece}")
    return lines


def target_of(outcome: Outcome) -> str:
    """The target in an outcome's environment, as in ``production/eu-1``; empty if it has none."""
    return (outcome.environment or "").partition("/")[2]


def waves(rows: Sequence[TargetRow]) -> list[tuple[int | None, list[TargetRow]]]:
    """The rows by wave, in the order of the waves."""
    ordered = sorted(rows, key=lambda row: row.wave or 0)
    return [(wave, list(alike)) for wave, alike in groupby(ordered, key=lambda row: row.wave)]


def problems(rows: Sequence[TargetRow]) -> list[TargetRow]:
    """The rows of targets at which the step did not end well, in their order."""
    return [row for row in rows if row.exit_code != 0]


def sign(row: TargetRow) -> str:
    """A target in the map of weights: see `LEGEND`."""
    if row.weight is None:
        return "?" if row.exit_code == 0 else "!"
    if row.weight == 0:
        return _DONE.get(row.at, "·" if row.exit_code == 0 else "!")
    return _STEPS[min(len(_STEPS) - 1, row.weight * len(_STEPS) // 100)]


def result(row: TargetRow) -> str:
    """How the step ended there, in a word or two."""
    return row.verdict or ("" if row.exit_code == 0 else ended(row.exit_code).lower())


def spread(rows: Sequence[TargetRow]) -> str:
    """The weights of these targets: ``10 %``, ``0 to 50 %``, or empty if unknown."""
    known = [row.weight for row in rows if row.weight is not None]
    if not known:
        return ""
    least, most = min(known), max(known)
    return f"{most} %" if least == most else f"{least} to {most} %"


def where(rows: Sequence[TargetRow]) -> str:
    """How many of these targets are where: ``3 promoted, 1 rolled back``."""
    counts = Counter(row.at or result(row) for row in rows)
    return ", ".join(f"{number} {word}" for word, number in counts.most_common())


def _wave_row(wave: int | None, rows: Sequence[TargetRow]) -> tuple[str, ...]:
    return ("" if wave is None else str(wave), str(len(rows)), spread(rows), where(rows))


def _target_row(row: TargetRow) -> tuple[str, ...]:
    weight = "" if row.weight is None else f"{row.weight:3d} % {_bar(row.weight)}"
    return (row.target, weight, result(row), row.summary)


def _bar(weight: int) -> str:
    """A weight as a bar of ten characters."""
    full = (weight + 9) // 10
    return "█" * full + "░" * (10 - full)
