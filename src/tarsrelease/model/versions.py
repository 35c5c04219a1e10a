"""Which of two versions comes first (semver.org 2.0.0, section 11)."""

from __future__ import annotations

import re


def core_of(version: str) -> str:
    """Major, minor and patch alone."""
    return re.split(r"[-+_]", version, maxsplit=1)[0]


def label_of(version: str) -> str:
    """The version as image tags and Kubernetes labels have it, which allow no ``+``.

    Helm writes ``_`` for it, too (helm.sh/docs/chart_best_practices/labels).
    """
    return version.replace("+", "_")


def same_version(one: str, other: str) -> bool:
    """Whether two versions are the same; a leading v and how ``+`` is written do not matter."""
    return label_of(one).removeprefix("v") == label_of(other).removeprefix("v")


def precedence(version: str) -> tuple[tuple[int, ...], bool, tuple[tuple[int, int, str], ...]]:
    """A key that orders versions; a leading v and build metadata do not count.

    Raises ValueError for what is no version.
    """
    core, _, pre = label_of(version).removeprefix("v").partition("_")[0].partition("-")
    numbers = tuple(int(part) for part in core.split("."))
    parts = tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in pre.split(".") if part
    )
    return numbers, not pre, parts
