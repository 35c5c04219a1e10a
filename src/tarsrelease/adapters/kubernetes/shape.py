"""What an API server answers in another shape than its API's is no answer, and no bug of ours."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from tarsrelease.adapters.kubernetes.client import Conflict
from tarsrelease.model.errors import ReleaseError, UnreachableError

_EXCERPT = 200
_Class = TypeVar("_Class", bound=type)


def reads_answers(adapter: _Class) -> _Class:
    """A class decorator: public methods raise UnreachableError for an answer that has no sense.

    A proxy, an aggregated API server or a webhook may answer anything. What is missing or of
    another type shows as an error of the code that reads it.
    """
    for name, found in list(vars(adapter).items()):
        if not name.startswith("_") and callable(found) and not isinstance(found, type):
            setattr(adapter, name, _reading(found))
    return adapter


def _reading(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def read(*args: Any, **named: Any) -> Any:
        try:
            return method(*args, **named)
        except ReleaseError:
            raise
        except (
            *(LookupError, TypeError, ValueError, AttributeError),
            *(ArithmeticError, RecursionError),
        ) as error:
            raise _no_answer(f"{type(error).__name__}: {str(error)[:_EXCERPT]}") from error
        except Conflict as error:
            raise _no_answer(f"a conflict: {str(error)[:_EXCERPT]}") from error

    return read


def _no_answer(found: str) -> UnreachableError:
    text = found.encode("utf-8", "backslashreplace").decode()
    return UnreachableError(
        doing="reading an answer of the API server",
        found=f"it has another shape ({text})",
        expected="an object as the Kubernetes API describes it",
        next_step="check what stands between this machine and the API server, then run this "
        "command again",
    )
