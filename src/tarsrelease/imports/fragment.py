"""The imported part of a rollout.yaml, and what has no counterpart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from tarsrelease.imports.expressions import Matcher, Parse
from tarsrelease.imports.queries import Condition, Percentile, ShareOf, identity_labels, measured
from tarsrelease.model.format import percent
from tarsrelease.model.presets import PRESETS
from tarsrelease.model.rollout import PresetSli, ProportionSli

_OWNERS = {
    preset.requests: name for name, preset in PRESETS.items() if preset.sides is not None
} | {f"{preset.histogram}_bucket": name for name, preset in PRESETS.items() if preset.sides}


@dataclass
class Fragment:
    """Collects services, SLIs, checks and stages; `missing` has (object, what, why).

    That all pods are ready is always checked, as the other tools do.
    """

    parse: Parse
    services: list[dict[str, Any]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    slis: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(
        default_factory=lambda: [{"id": "canary.ready", "kind": "ready"}]
    )
    stages: list[dict[str, Any]] = field(default_factory=list)
    promotion: dict[str, Any] = field(default_factory=dict)
    missing: list[tuple[str, str, str]] = field(default_factory=list)

    def lacks(self, whose: str, what: str, why: str) -> None:
        """Note what has no counterpart, and why."""
        self.missing.append((whose, what, why))

    def rest(
        self, whose: str, given: Mapping[str, Any], read: Iterable[str], whys: Mapping[str, str]
    ) -> None:
        """Note the keys that are set and not in `read`, together if they have one reason."""
        by_reason: dict[str, list[str]] = {}
        for key, value in given.items():
            if key not in read and value is not False and value not in (None, "", [], {}):
                by_reason.setdefault(whys.get(key, "it has no counterpart"), []).append(str(key))
        for why, keys in by_reason.items():
            self.lacks(whose, ", ".join(keys), why)

    def queried(
        self, whose: str, name: str, query: str, limit: Condition, values: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """The check for a PromQL query and its limit; None (and noted) without a counterpart."""
        try:
            found = measured(query, values, self.parse)
            sli, bound = (
                _share(found, limit) if isinstance(found, ShareOf) else _percentile(found, limit)
            )
            self._attribution(identity_labels(query, self.parse), sli)
            ProportionSli.model_validate(sli)
        except ValueError as problem:
            self.lacks(whose, f"metric {name}", _reason(problem))
            return None
        return self._added(name, sli, bound)

    def preset(
        self, whose: str, name: str, preset: str, slower_than: str | None, bound: dict[str, str]
    ) -> dict[str, Any] | None:
        """The check for a preset; None (and noted) if the preset has no such bucket."""
        sli = {"preset": preset} | ({"slower_than": slower_than} if slower_than else {})
        try:
            PresetSli.model_validate(sli).expanded()
        except ValueError as problem:
            self.lacks(whose, f"metric {name}", _reason(problem))
            return None
        return self._added(name, sli, bound)

    def _added(self, name: str, sli: dict[str, Any], bound: dict[str, str]) -> dict[str, Any]:
        word = _word(name)
        while word in self.slis and self.slis[word] != sli:
            word += "_2"
        self.slis[word] = sli
        return {"id": f"canary.{word}", "kind": "proportion", "sli": word, **bound}

    def _attribution(self, labels: tuple[str, ...], sli: dict[str, Any]) -> None:
        """How the samples are told apart: by a mesh's label, or by the pod."""
        metric = str(sli["of"]).partition("{")[0].removesuffix("_count")
        owner = _OWNERS.get(metric) or _OWNERS.get(f"{metric}_bucket")
        if owner is not None:
            label, canary, stable = PRESETS[owner].sides or ("", "", "")
            sli["sides"] = {"label": label, "canary": canary, "stable": stable}
            return
        pods = [label for label in labels if "pod" in label and "namespace" not in label]
        if pods and pods[0] != "pod":
            self.labels["pod"] = pods[0]

    def document(self) -> dict[str, Any]:
        """The keys of rollout.yaml that have something to say, in its order."""
        parts = {
            "labels": self.labels,
            "services": self.services,
            "slis": self.slis,
            "checks": self.checks,
            "stages": self.stages,
            "promotion": self.promotion,
        }
        return {name: part for name, part in parts.items() if part}


def _share(found: ShareOf, limit: Condition) -> tuple[dict[str, Any], dict[str, str]]:
    part, whole = found.part.where(), found.whole.where()
    good = limit.at_least is not found.complement
    bound = limit.limit / found.scale
    _refuse_extreme(bound)
    sli = {"kind": "proportion", "of": whole, "good" if good else "bad": part}
    return sli, {"at_least" if limit.at_least else "below": _percentage(bound)}


def _percentile(found: Percentile, limit: Condition) -> tuple[dict[str, Any], dict[str, str]]:
    if limit.at_least:
        raise ValueError("a latency has no lower limit")
    threshold = limit.limit / found.scale
    text = f"{threshold:g}"
    base = found.buckets.metric.removesuffix("_bucket")
    rest = tuple(m for m in found.buckets.matchers if m.label != "le")
    others = ",".join(map(str, rest))
    bucket = type(found.buckets)(found.buckets.metric, rest)
    found.per_second  # noqa: B018 - raises if the unit is unknown
    bound = re.escape(text) if "." in text else f"{text}([.]0)?"
    sli = {
        "kind": "proportion",
        "of": f"{base}_count{{{others}}}",
        "good": bucket.where(Matcher("le", "=~", bound.replace("\\.", "[.]"))),
    }
    _refuse_extreme(1 - found.quantile)
    return sli, {"below": _percentage(1 - found.quantile)}


def _refuse_extreme(bound: float) -> None:
    if not 0 < bound < 1:
        raise ValueError(
            f"a limit of {percent(bound)} cannot be proven by counting; choose one between 0 % and "
            "100 %"
        )


def _percentage(share: float) -> str:
    return f"{round(share * 100, 6):g}%"


def _word(name: str) -> str:
    found = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "metric"
    return found if found[0].isalpha() else f"m_{found}"


def _reason(problem: ValueError) -> str:
    if isinstance(problem, ValidationError):
        return problem.errors()[0]["msg"].removeprefix("Value error, ")
    return str(problem)
