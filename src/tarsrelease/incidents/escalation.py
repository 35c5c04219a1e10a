"""Who is next on the escalation path."""

from __future__ import annotations

from tarsrelease.model.incident import EscalationLevel, IncidentRules


def next_level(rules: IncidentRules, reached: int) -> tuple[int, EscalationLevel] | None:
    """The number and level after level `reached` (0: nobody was asked yet); None after the last."""
    if reached >= len(rules.escalation):
        return None
    return reached + 1, rules.escalation[reached]


def described(number: int, level: EscalationLevel) -> str:
    """The level in a line: ``L2 SRE Lead (Ada): @sre-lead``."""
    who = f"L{number} {level.role}" + (f" ({level.name})" if level.name else "")
    return f"{who}: {level.reach}" if level.reach else who
