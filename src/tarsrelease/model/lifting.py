"""A person's decision that a stage which held may go on."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from tarsrelease.model.base import Value

_Line = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$"
    ),
]


class Lifting(Value):
    """Who lifted a hold, and why: one line each, for the journal and the evidence."""

    by: _Line
    reason: _Line
