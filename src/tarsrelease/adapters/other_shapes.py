"""What an outside system answers in another shape than its own is no answer, and no bug of ours."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from tarsrelease.model.errors import ReleaseError

UNREADABLE: tuple[type[Exception], ...] = (
    *(LookupError, TypeError, ValueError, AttributeError),
    *(ArithmeticError, RecursionError),
)
"""What is missing or of another type shows as one of these in the code that reads it."""
_EXCERPT = 200
_Class = TypeVar("_Class", bound=type)


def explained_by(
    explain: Callable[[Exception], ReleaseError], errors: tuple[type[Exception], ...]
) -> Callable[[_Class], _Class]:
    """A class decorator: public methods raise what `explain` makes of one of these errors."""

    def decorate(adapter: _Class) -> _Class:
        for name, found in list(vars(adapter).items()):
            if not name.startswith("_") and callable(found) and not isinstance(found, type):
                setattr(adapter, name, _reading(found, explain, errors))
        return adapter

    return decorate


def excerpt(error: Exception) -> str:
    """The error's beginning, as it can be printed."""
    text = f"{type(error).__name__}: {str(error)[:_EXCERPT]}"
    return text.encode("utf-8", "backslashreplace").decode()


def _reading(
    method: Callable[..., Any],
    explain: Callable[[Exception], ReleaseError],
    errors: tuple[type[Exception], ...],
) -> Callable[..., Any]:
    @functools.wraps(method)
    def read(*args: Any, **named: Any) -> Any:
        try:
            return method(*args, **named)
        except ReleaseError:
            raise
        except errors as error:
            raise explain(error) from error

    return read
