"""import: turn other tools' objects into the stages, SLIs and checks of a rollout.yaml."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from tarsrelease.imports.argo_rollouts import read_argo_rollouts
from tarsrelease.imports.expressions import Parse
from tarsrelease.imports.flagger import read_flagger
from tarsrelease.imports.fragment import Fragment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.format import count
from tarsrelease.model.outcome import Outcome, Verdict, exit_code_of
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.step_details import ImportDetails, NotImported
from tarsrelease.ports.clock import Clock

STEP = "import"
Objects = Sequence[Mapping[str, Any]]
READERS: Mapping[str, Callable[[Objects, Fragment], None]] = {
    "argo-rollouts": read_argo_rollouts,
    "flagger": read_flagger,
}
_PRODUCT = {"argo-rollouts": "Rollout", "flagger": "Canary"}
_KINDS = {
    "argo-rollouts": "Rollout, AnalysisTemplate or ClusterAnalysisTemplate",
    "flagger": "Canary",
}
_HEADER = {
    "schema": "tarsrelease/rollout/v1",
    "application": "app",
    "version": "1.0.0",
    "chart": "app-1.0.0.tgz",
    "canary_values": "values-canary.yaml",
}
"""What the other tools do not say, and what the reader of the file must set."""


def import_objects(
    tool: str, objects: Objects, parse: Parse, *, name: str | None = None, clock: Clock
) -> Outcome:
    """The rollout in `details.document`, and what has no counterpart in `details.missing`.

    `name` chooses one of several Rollouts or Canaries. Raises UsageError if the files have none of
    the tool's objects, or values that cannot be read.
    """
    started_at = clock.now()
    objects = _of_one_product(tool, objects, name)
    fragment = Fragment(parse)
    try:
        READERS[tool](objects, fragment)
    except (ValueError, TypeError, AttributeError, KeyError) as problem:
        raise _unreadable(tool, str(problem)) from problem
    if not fragment.stages and not fragment.slis and not fragment.missing:
        raise UsageError(
            doing=f"importing from {tool}",
            found="no object of its kinds",
            expected=_KINDS[tool],
            next_step="give the files that contain them",
        )
    document = _HEADER | fragment.document()
    if fragment.stages and fragment.slis:
        try:
            Rollout.model_validate(document)
        except ValidationError as problem:
            first = problem.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise _unreadable(tool, f"{where}: {first['msg']}") from problem
    missing = tuple(
        NotImported(object=whose, what=what, why=why) for whose, what, why in fragment.missing
    )
    return _outcome(document, missing, fragment, started_at, clock)


def _of_one_product(tool: str, objects: Objects, name: str | None) -> Objects:
    kind = _PRODUCT[tool]
    names = [str((o.get("metadata") or {}).get("name")) for o in objects if o.get("kind") == kind]
    if (name is None and len(names) > 1) or (name is not None and name not in names):
        raise UsageError(
            doing=f"importing from {tool}",
            found=f"{count(len(names), kind)}: {', '.join(names) or 'none'}",
            expected=f"one {kind}" if name is None else f"a {kind} named {name}",
            next_step="choose one with --name",
        )
    return [
        o
        for o in objects
        if o.get("kind") != kind or name in (None, (o.get("metadata") or {}).get("name"))
    ]


def _unreadable(tool: str, found: str) -> UsageError:
    return UsageError(
        doing=f"importing from {tool}",
        found=found,
        expected="objects as its documentation describes them",
        next_step="check them with `kubectl apply --dry-run=server`",
    )


def _outcome(
    document: dict[str, Any],
    missing: tuple[NotImported, ...],
    fragment: Fragment,
    started_at: datetime,
    clock: Clock,
) -> Outcome:
    checks = len(fragment.checks) + sum(len(stage.get("checks", ())) for stage in fragment.stages)
    said = f"{count(len(fragment.stages), 'stage')}, {count(checks, 'check')}"
    said += f"; {len(missing)} without a counterpart" if missing else ""
    return Outcome(
        step=STEP,
        release=None,
        environment=None,
        verdict=Verdict.PROCEED,
        exit_code=exit_code_of(Verdict.PROCEED),
        summary=said,
        details=ImportDetails(
            document=document,
            missing=missing,
            lines=tuple(f"not imported: {one.object}, {one.what}: {one.why}" for one in missing),
        ),
        started_at=started_at,
        finished_at=clock.now(),
        next="complete application, version and chart, then run `tarsrelease canary plan`",
    )
