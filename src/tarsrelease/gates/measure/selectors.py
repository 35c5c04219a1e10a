"""Filling in the placeholders of metric selectors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from string import Template

from tarsrelease.model.measurement import Track
from tarsrelease.model.rollout import Rollout

ANY = ".*"


def alternation(names: Iterable[str]) -> str:
    """A regular expression for the inside of a quoted matcher that matches exactly these names.

    Sorted, without repetitions. Backslashes are doubled, as PromQL reads its strings the way Go
    does. No names at all match nothing special: `.*`.
    """
    escaped = sorted({re.escape(name).replace("\\-", "-") for name in names})
    return "|".join(escaped).replace("\\", "\\\\") or ANY


def render(
    template: str, rollout: Rollout, namespace: str, versions: Iterable[str], window: float
) -> str:
    """The selector for all services, both tracks and all `versions` in play, in one query.

    An unknown (empty) version among `versions` widens `$version` to any; series are told apart
    by their labels afterwards. `window` is in seconds.
    """
    known = list(versions)
    names = [service.name for service in rollout.services]
    names += [worker.name for worker in rollout.workers]
    return Template(template).substitute(
        namespace=namespace,
        service=alternation(names),
        track="|".join(sorted(Track)),
        version=alternation(known) if all(known) else ANY,
        window=f"{max(1, round(window))}s",
    )
