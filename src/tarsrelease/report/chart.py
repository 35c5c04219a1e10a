"""What a stage measured over its time, as charts that GitHub draws (Mermaid's xychart)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tarsrelease.model.outcome import Outcome

_MOST = 30
"""Points of a line; more only make labels overlap."""


def history_charts(outcome: Outcome) -> Iterator[str]:
    """One chart for every check that is a share, a line a service, in percent over seconds."""
    looks = _looks(outcome.details.get("history"))
    shares: dict[str, list[str]] = {}
    for check in outcome.checks:
        if check.observed is not None and check.observed.unit == "share":
            key = f"{check.id}/{check.service}" if check.service else check.id
            shares.setdefault(check.id, []).append(key)
    for check_id, keys in shares.items():
        drawn = [key for key in keys if sum(key in look["values"] for look in looks) > 1]
        if drawn:
            yield _chart(check_id, drawn, looks)


def _looks(history: object) -> list[Mapping[str, Any]]:
    """The looks that can be drawn, thinned evenly and the last one kept."""
    looks = [
        look
        for look in (history if isinstance(history, (list, tuple)) else ())
        if isinstance(look, Mapping) and isinstance(look.get("values"), Mapping)
    ]
    every = -(-len(looks) // _MOST) or 1
    return looks[::-1][::every][::-1]


def _chart(check_id: str, keys: Sequence[str], looks: Sequence[Mapping[str, Any]]) -> str:
    drawn = [look for look in looks if all(_known(look, key) for key in keys)]
    lines = [[100 * float(look["values"][key]) for look in drawn] for key in keys]
    services = ", ".join(key.partition("/")[2] or key for key in keys)
    top = max([value for line in lines for value in line], default=0.0) or 1.0
    seconds = ", ".join(f'"{float(look["elapsed"]):.0f}"' for look in drawn)
    return "\n".join(
        [
            "```mermaid",
            "xychart-beta",
            f'  title "{check_id} in percent: {services}"',
            f'  x-axis "seconds since the shift" [{seconds}]',
            f'  y-axis "percent" 0 --> {top:.4g}',
            *(f"  line [{', '.join(f'{value:.4g}' for value in line)}]" for line in lines),
            "```",
            "",
        ]
    )


def _known(look: Mapping[str, Any], key: str) -> bool:
    return isinstance(look["values"].get(key), (int, float))
