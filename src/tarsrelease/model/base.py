"""Frozen values, no unknown keys, and quantities that are written with their unit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from tarsrelease.model.quantities import (
    DURATION,
    NUMBER_ALONE,
    PERCENTAGE,
    SIZE,
    Unit,
    parse_amount,
    parse_bytes,
    parse_percentage,
    parse_seconds,
    parse_share,
)


class Value(BaseModel):
    """A frozen value; an unknown key is an error, so that a typing mistake cannot pass unseen."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


T = TypeVar("T")


def repeated(items: Sequence[T]) -> T | None:
    """The first item that the sequence has more than once; None if there is none."""
    return next((item for item in items if items.count(item) > 1), None)


def _stays_inside(path: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._/+-]+", path) or {"", ".", ".."} & set(path.split("/")):
        raise ValueError(f"{path!r} is not a plain relative path inside the bundle")
    return path


def _quantity(parse: Any, pattern: str, example: str) -> Any:
    schema = {"type": "string", "pattern": pattern, "examples": [example]}
    return BeforeValidator(parse), WithJsonSchema(schema, mode="validation")


_seconds = _quantity(parse_seconds, rf"^{DURATION}$", "10m")
_bytes = _quantity(parse_bytes, rf"^{SIZE}$", "2.5GB")
_percentage = _quantity(parse_percentage, rf"^{PERCENTAGE}$", "20%")
_share = _quantity(parse_share, rf"^{PERCENTAGE}$", "0.5%")

_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

Seconds = Annotated[float, _seconds[0], _seconds[1]]
"""A duration in seconds, written as ``10m`` or ``3m30s``."""
Bytes = Annotated[float, _bytes[0], _bytes[1]]
"""An amount of memory in bytes, written as ``2.5GB``."""
Percentage = Annotated[float, _percentage[0], _percentage[1], Field(ge=0, allow_inf_nan=False)]
"""A percentage that may be above 100, as a number: 1.5 for ``150%``."""
Share = Annotated[float, _share[0], _share[1]]
"""A share between 0 and 1, written as ``0.5%``."""


class Amount(Value):
    """A number and its unit; a share is a number such as 0.8."""

    value: float
    unit: Unit


def _amount(written: Any) -> Any:
    if isinstance(written, (Amount, dict)):  # a dict: what an Amount is in JSON
        return written
    value, unit = parse_amount(written)
    return {"value": value, "unit": unit}


AnyAmount = Annotated[
    Amount,
    BeforeValidator(_amount),
    WithJsonSchema(
        {
            "type": ["string", "integer"],
            "pattern": rf"^({SIZE}|{DURATION}|{PERCENTAGE}|{NUMBER_ALONE})$",
            "examples": ["2.5GB", "30s", "80%", "200"],
        },
        mode="validation",
    ),
]
"""An amount in any unit, written as ``2.5GB``, ``30s``, ``80%`` or ``200``."""
Name = Annotated[str, StringConstraints(pattern=_NAME, max_length=53)]
"""A name that Kubernetes and Helm accept (RFC 1123 label; 53 is Helm's limit for a release)."""
Application = Annotated[str, StringConstraints(pattern=_NAME, max_length=46)]
"""A `Name` that leaves room for ``-canary``, the name of the canary's Helm release."""
Label = Annotated[str, StringConstraints(pattern=_NAME, max_length=63)]
"""A name of a Service or a namespace (RFC 1123 label)."""
ObjectName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)
]
"""A name of any other object (RFC 1123 subdomain)."""
Version = Annotated[
    str, StringConstraints(pattern=r"^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$")
]
"""A semantic version without a leading v (semver.org, 2.0.0)."""
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""A content digest as OCI writes it (image-spec, descriptor)."""
FileName = Annotated[str, AfterValidator(_stays_inside)]
"""A path inside a bundle: relative, without ``.`` or ``..``."""
