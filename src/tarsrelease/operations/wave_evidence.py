"""What the targets of a wave have counted so far, shared by the threads that release to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

from tarsrelease.model.measurement import Question, Ratios


@dataclass(frozen=True, slots=True)
class WaveEvidence:
    """The newest evidence of each target by place (stage and source of metrics)."""

    targets: int
    waves: int
    failed: set[str] = field(default_factory=set)
    """Targets at which a failure was proven."""
    _found: dict[str, dict[str, Mapping[Question, Ratios]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    _lock: Lock = field(default_factory=Lock)

    def at(self, target: str) -> TargetEvidence:
        """The evidence as this target hands it in and sees it."""
        return TargetEvidence(self, target)

    def exchange(
        self, target: str, place: str, ours: Mapping[Question, Ratios]
    ) -> dict[Question, list[Ratios]]:
        """Keep the target's evidence; what the others have, by question."""
        found: dict[Question, list[Ratios]] = {}
        with self._lock:
            known = self._found[place]
            known[target] = ours
            for name, theirs in known.items():
                if name != target:
                    for question, ratios in theirs.items():
                        found.setdefault(question, []).append(ratios)
        return found


@dataclass(frozen=True, slots=True)
class TargetEvidence:
    """One target's part: see `OtherTargets`."""

    wave: WaveEvidence
    target: str

    @property
    def targets(self) -> int:
        """The targets of the release."""
        return self.wave.targets

    @property
    def waves(self) -> int:
        """The waves of the release."""
        return self.wave.waves

    def exchange(
        self, place: str, ours: Mapping[Question, Ratios]
    ) -> Mapping[Question, list[Ratios]]:
        """See `OtherTargets.exchange`."""
        return self.wave.exchange(self.target, place, ours)

    def fails(self) -> None:
        """See `OtherTargets.fails`."""
        self.wave.failed.add(self.target)
