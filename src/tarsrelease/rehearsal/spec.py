"""The supervisor's settings, in a file; everything is resolved before it starts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tarsrelease.rehearsal.paths import write_atomically


@dataclass(frozen=True, slots=True)
class Spec:
    """The supervisor's settings (spec.json).

    tools: program name to argument vector. crds: the Gateway API's definitions, a JSON list.
    manifests: the folder of the backing services. history: the command that writes the blocks
    of the past into the folder that it gets as its last argument; empty for no history.
    scrape_interval: seconds.
    """

    name: str
    tools: dict[str, list[str]]
    crds: str
    manifests: str
    kubeconfig: str
    images: str
    scrape_interval: float
    history: list[str] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write the file."""
        write_atomically(path, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Spec:
        """Read the file."""
        return cls(**json.loads(path.read_text()))
