"""A number from a command's standard output or an HTTP endpoint's answer."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import httpx

from tarsrelease.adapters.child_environment import for_logins
from tarsrelease.adapters.child_process import run
from tarsrelease.adapters.http.client import Client
from tarsrelease.model.checks import ExternalCheck, NumberSource
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.format import duration

_LIMIT = 1 << 20
_EXCERPT = 200


def read_number(rule: ExternalCheck) -> float:
    """The number there is now, asked for the rule's `timeout` seconds at most.

    Raises UnreachableError if there is no answer or one that is no number, UsageError where
    the variable of the token is not set or the command does not exist.
    """
    return number_from(rule.source, rule.timeout)


def number_from(source: NumberSource, timeout: float) -> float:
    """The same from a source, within `timeout` seconds."""
    text = _printed(source, timeout) if source.command else _answered(source, timeout)
    return _number(source, text)


def _printed(source: NumberSource, timeout: float) -> str:
    doing = f"running {source.command[0]}"
    try:
        done = run(
            source.command,
            variables=for_logins([source.token_env] if source.token_env else []),
            seconds=timeout,
            largest=_LIMIT,
        )
    except FileNotFoundError as error:
        raise UsageError(
            doing=doing, found=str(error), expected="a program", next_step="install it"
        ) from error
    except OSError as error:
        raise _no_answer(doing, str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise _no_answer(doing, f"it did not end within {duration(timeout)}") from error
    if done.code != 0:
        said = done.err.decode(errors="replace")[-_EXCERPT:].strip()
        raise _no_answer(doing, f"exit code {done.code}: {said}")
    return done.out.decode(errors="replace")


def _answered(source: NumberSource, timeout: float) -> str:
    doing = f"GET {source.url}"
    headers = {}
    if source.token_env is not None:
        token = os.environ.get(source.token_env)
        if not token:
            raise UsageError(
                doing=doing,
                found=f"the variable {source.token_env} is not set",
                expected="a bearer token in it",
                next_step=f"set {source.token_env}",
            )
        headers["Authorization"] = f"Bearer {token}"
    try:
        client = Client(seconds=timeout, largest=_LIMIT)
        answer = client.get(str(source.url), headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _no_answer(doing, f"{type(error).__name__}: {error}") from error
    if answer.status != httpx.codes.OK:
        raise _no_answer(doing, f"status {answer.status}")
    return answer.text


def _number(source: NumberSource, text: str) -> float:
    doing = f"reading the number of {source.url or source.command[0]}"
    try:
        value: Any = text.strip() if source.pointer is None else _at(source.pointer, text)
        if isinstance(value, bool):
            raise ValueError(f"{value} is not a number")  # noqa: TRY004, TRY301 - as float() does
        return float(value)
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        shown = text.strip()[:_EXCERPT]
        raise _no_answer(doing, f"{type(error).__name__}: {error} in {shown!r}") from error


def _at(pointer: str, text: str) -> Any:
    """The value at a JSON pointer (RFC 6901)."""
    value = json.loads(text)
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value


def _no_answer(doing: str, found: str) -> UnreachableError:
    return UnreachableError(
        doing=doing,
        found=found,
        expected="a number",
        next_step="run the command or query the URL of rollout.yaml by hand",
    )
