"""Mutations of valid answers and files, and the rule that they are held to.

Whatever comes in: a result or a ReleaseError, within the deadline. Anything else is a bug.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tarsrelease.model.errors import ReleaseError

EXAMPLES = 25
"""Per target in a default run: always the same ones."""
MINUTES = float(os.environ.get("FUZZ_MINUTES", "10"))
"""Of all targets together, in a full run."""
DEADLINE = 15.0
"""Seconds for one example on a busy machine; every adapter's own limit here is below one second."""

NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**400, -(10**20), float("nan"), float("inf"), float("-inf")),
    *("", " ", "\0", "\x1b[2J", "é" * 3, "\ud800", "a" * 5000, "1", "-1", "NaN", "1e999", "null"),
    *("../../etc/passwd", "{{ .Values }}", "${{ secrets.X }}", "2026-13-45T99:99:99Z", "::error::"),
    *("2026-01-01T00:00:00", "9" * 5000, "<html>log in</html>", "%s%n", "sha256:zz"),
    *([], {}, [[]], [None], [{}], {"": None}, {"a": {"b": [1]}}, [0] * 300),
    {"metadata": None},
)

JSON = st.recursive(
    st.sampled_from([each for each in NASTY if not isinstance(each, (list, dict))])
    | st.text(max_size=20)
    | st.integers()
    | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=12,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a document."""
    yield path
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places(value, (*path, key))
    elif isinstance(document, list):
        for number, value in enumerate(document[:20]):
            yield from places(value, (*path, number))


@st.composite
def mutated(draw: st.DrawFn, valid: Any) -> Any:
    """The document with one to three values replaced, removed, doubled, wrapped or renamed."""
    document = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(document))))
        how = draw(
            st.sampled_from(["replace", "replace", "any", "remove", "wrap", "double", "name"])
        )
        if not path:
            if how in ("any", "wrap"):
                return draw(JSON) if how == "any" else [document]
            continue
        above = document
        for step in path[:-1]:
            above = above[step]
        last = path[-1]
        if how == "replace":
            # A copy: what is mutated next would otherwise change NASTY for all later examples.
            above[last] = copy.deepcopy(draw(st.sampled_from(NASTY)))
        elif how == "any":
            above[last] = draw(JSON)
        elif how == "wrap":
            above[last] = [above[last]]
        elif how == "remove":
            del above[last]
        elif how == "double" and isinstance(above, list):
            above.append(copy.deepcopy(above[last]))
        elif how == "name" and isinstance(above, dict):
            above[draw(st.sampled_from(["", "extra", "\0", "a" * 300]))] = above.pop(last)
    return document


def as_json(document: Any) -> bytes:
    """JSON as careless servers write it: NaN and lone surrogates included."""
    return json.dumps(document).encode("utf-8", "surrogatepass")


@st.composite
def damaged(draw: st.DrawFn, text: bytes) -> bytes:
    """The text cut, with bytes exchanged, or with a piece put in."""
    content = bytearray(text)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        how = draw(st.sampled_from(["cut", "put", "exchange", "repeat"]))
        if how == "cut":
            del content[at : at + draw(st.integers(1, 200))]
        elif how == "put":
            pieces = [
                b"\0",
                b"\xff\xfe",
                b"\n",
                b": ",
                b"- ",
                b"{",
                b"[" * 2000,
                b"&a *a",
                b"<<: *a",
            ]
            content[at:at] = draw(st.sampled_from(pieces) | st.binary(max_size=10))
        elif how == "exchange":
            content[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        else:
            content[at:at] = content[max(0, at - 200) : at] * 3
    return bytes(content)


def bodies(valid: Any) -> st.SearchStrategy[bytes]:
    """Answers in JSON: nearly right, of another shape, damaged, or none at all."""
    return (
        mutated(valid).map(as_json)
        | damaged(as_json(valid))
        | JSON.map(as_json)
        | st.sampled_from(
            [b"", b"null", b"[" * 100_000, b"<html>Please log in</html>", b"\xff\xfe"]
        )
    )


Target = Callable[[Any], object]


def held(target: Target, value: Any) -> None:
    """Run the target; a ReleaseError is an answer. Fails on any other error, and after the
    deadline."""
    began = time.monotonic()
    with contextlib.suppress(ReleaseError):
        target(value)
    took = time.monotonic() - began
    assert took < DEADLINE, f"took {took:.1f} s"


_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


def short(target: Target, values: st.SearchStrategy[Any], examples: int = EXAMPLES) -> None:
    """The same few examples every time."""

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=_QUIET,
        phases=[Phase.explicit, Phase.generate],
    )
    @given(values)
    def play(value: Any) -> None:
        held(target, value)

    play()


def long(target: Target, values: st.SearchStrategy[Any], seconds: float) -> int:
    """New examples until the time is up; how many."""
    ends_at, played, number = time.monotonic() + seconds, 0, time.time_ns()
    while time.monotonic() < ends_at:
        number += 1

        @seed(number)
        @settings(max_examples=100, database=None, deadline=None, suppress_health_check=_QUIET)
        @given(values)
        def play(value: Any) -> None:
            nonlocal played
            if time.monotonic() < ends_at:
                played += 1
                held(target, value)

        play()
    return played
