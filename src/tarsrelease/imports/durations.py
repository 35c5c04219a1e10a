"""Durations as other tools write them."""

from __future__ import annotations

import re
from typing import Any

from tarsrelease.model.format import duration
from tarsrelease.model.quantities import parse_seconds


def written(value: Any, default: str) -> str:
    """A Go duration or a number of seconds as rollout.yaml has it; `default` for None."""
    seconds = seconds_of(value)
    return default if seconds is None else duration(seconds)


def seconds_of(value: Any) -> float | None:
    """Seconds; None for None. Raises ValueError for anything that is no duration."""
    if value is None or value == "":
        return None
    text = str(value).strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)
    return parse_seconds(text)
