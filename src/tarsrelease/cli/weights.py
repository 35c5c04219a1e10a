"""Stages as people write them: ``10``, ``10%``, ``canary-10``; several as ``1,10,100``."""

from __future__ import annotations

import re

from tarsrelease.model.errors import UsageError
from tarsrelease.model.rollout import Rollout


def stage_weight(text: str, rollout: Rollout) -> int:
    """The weight of the stage that `text` names. Raises `UsageError` where there is none."""
    weight = _number(text, "--stage")
    known = [stage.weight for stage in rollout.stages]
    if weight not in known:
        raise UsageError(
            doing="choosing the stage",
            found=f"--stage {text}",
            expected=f"one of the stages of this release: {', '.join(map(str, known))}",
            next_step=f"for example --stage {known[0]}",
        )
    return weight


def stage_weights(text: str | None) -> tuple[int, ...] | None:
    """The weights of a list such as ``1,10,100``; None stays None (all stages)."""
    if text is None:
        return None
    return tuple(_number(part, "--stages") for part in text.split(","))


def _number(text: str, flag: str) -> int:
    digits = text.strip().removeprefix("canary-").removesuffix("%").strip()
    if not re.fullmatch("[0-9]{1,3}", digits) or not 1 <= int(digits) <= 100:
        raise UsageError(
            doing="choosing the stage",
            found=f"{flag} {text[:60]!r}",
            expected="a share of the traffic in percent, from 1 to 100",
            next_step=f"for example {flag} 10" + (",100" if flag == "--stages" else ""),
        )
    return int(digits)
