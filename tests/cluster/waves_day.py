"""T.A.R.S. on three rehearsal clusters, with load at each, for tests of releases in waves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import yaml
from in_background import Running
from tars_day import Day
from troubles import shorter

from tarsrelease.rehearsal.clusters import Fleet

SIZES = (1, 2)
_LONGEST = 600.0


def patient(day: Day) -> None:
    """Let a stage wait for its requests: three clusters and their load share this machine."""
    content = yaml.safe_load(day.environment.read_text())
    content["overrides"]["max_extension"] = "3m"
    day.environment.write_text(yaml.safe_dump(content))


class WavesDay(Day):
    """A release to all clusters, from the network of the first; `regions` are theirs by target."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        super().__init__(fleet.runner, folder)
        self.fleet = fleet
        self.regions: dict[str, Day] = {}
        for member in fleet.members:
            own = folder / member.name
            own.mkdir()
            self.regions[member.name] = day = Day(member.cluster, own)
            shorter(day)
            patient(day)
        admins = [member.cluster.kubeconfig for member in fleet.members]
        self.kubeconfig = fleet.kubeconfig(admins, folder / "kubeconfig")
        self.on_failure("wave")

    def on_failure(self, policy: Literal["wave", "all"]) -> None:
        """Write the environment file with this policy for all waves."""
        one = yaml.safe_load(self.regions["region-1"].environment.read_text())
        self.environment.write_text(yaml.safe_dump(self.fleet.environment(one, SIZES, policy)))

    def everywhere(self, act: Callable[[Day], None]) -> None:
        """Act on all clusters at the same time."""
        with ThreadPoolExecutor(len(self.regions)) as pool:
            list(pool.map(act, self.regions.values()))

    def install(self) -> None:
        self.everywhere(Day.install)

    @contextmanager
    def load(self, rate: float = 150.0) -> Iterator[None]:
        """Requests at every gateway, from the network of its own cluster; scraped everywhere."""
        with ExitStack() as stack:
            for day in self.regions.values():
                stack.enter_context(day.load(rate))
            self.everywhere(Day.wait_until_scraped)
            self.everywhere(Day.forget_clients)
            yield

    def command(self, *step: str) -> list[str]:
        variables = self.fleet.variables(self.kubeconfig)
        return [
            "env",
            *(f"{key}={value}" for key, value in variables.items()),
            *super().command(*step),
        ]

    def until_weight(self, target: str, weight: int, release: Running) -> None:
        """Until the canary has this weight in every route of a target; 0 also without a canary."""
        end, wanted = time.monotonic() + _LONGEST, {weight}
        while (set(self.regions[target].canary_weights()) or {0}) != wanted:
            assert weight == 0 or not release.ended, f"{target} has no {weight} %: {release.said}"
            assert time.monotonic() < end, f"{target} never had {weight} %: {release.said}"
            time.sleep(0.1)

    def versions_everywhere(self) -> dict[str, set[str]]:
        """The versions that run, by target."""
        return {name: day.versions() for name, day in self.regions.items()}

    def journal(self, target: str) -> list[dict[str, Any]]:
        """The entries of a target's journal."""
        found = self.regions[target].kubectl("get", "configmap", "tarsrelease-tars", "-o", "json")
        return [
            json.loads(line) for line in json.loads(found)["data"]["journal.jsonl"].splitlines()
        ]


def rows(outcome: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of an outcome of several targets, by target."""
    return {row["target"]: row for row in outcome["details"]["targets"]}
