"""Filling in the placeholders of metric selectors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from string import Template

from tarsrelease.model import promql
from tarsrelease.model.measurement import Track
from tarsrelease.model.rollout import Rollout

ANY = ".*"


def alternation(names: Iterable[str]) -> str:
    """A regular expression for the inside of a quoted matcher that matches exactly these names.

    Sorted, without repetitions. Backslashes are doubled, as PromQL reads its strings the way Go
    does. No names at all match nothing special: `.*`.
    """
    return _of(names).replace("\\", "\\\\")


def _of(names: Iterable[str]) -> str:
    escaped = sorted({re.escape(name).replace("\\-", "-") for name in names})
    return "|".join(escaped) or ANY


def render(
    template: str, rollout: Rollout, namespace: str, versions: Iterable[str], window: float
) -> str:
    """The selector for all services, both tracks and all `versions` in play, in one query.

    Names that stand with other text in a matcher are grouped: ``"$service-canary"`` becomes
    ``"(?:cart|search)-canary"``. An unknown (empty) version among `versions` widens `$version` to
    any; series are told apart by their labels afterwards. `window` is in seconds.
    """
    known = list(versions)
    names = [service.name for service in rollout.services]
    names += [worker.name for worker in rollout.workers]
    texts = {"namespace": namespace, "window": f"{max(1, round(window))}s"}
    several = {
        "service": _of(names),
        "track": "|".join(sorted(Track)),
        "version": _of(known) if all(known) else ANY,
    }

    def filled(inside: str, literal: promql.Literal) -> str:
        quote = template[literal.start]
        alone = re.fullmatch(r"\$(\w+)|\$\{(\w+)\}", inside) is not None
        return Template(inside).substitute(
            texts | {name: _written(each, quote, alone) for name, each in several.items()}
        )

    return promql.with_strings(template, filled)


def _written(expression: str, quote: str, alone: bool) -> str:
    grouped = expression if alone else f"(?:{expression})"
    return grouped if quote == "`" else grouped.replace("\\", "\\\\")
