"""Several clusters side by side, each in its own network, as the targets of one environment.

All have the same addresses. Relays bring the servers of the others into the network of the first,
from where commands then act on all of them.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from tarsrelease.model.errors import UnreachableError
from tarsrelease.rehearsal import commands, world
from tarsrelease.rehearsal.paths import Say

_POSTGRES = 5432
_RELAY_END = 5.0


@dataclass(frozen=True, slots=True)
class Member:
    """One of the clusters: the target `name`, counted from 1.

    `api`, `router` and `prometheus` are host:port in the network of the first cluster, `dsn` the
    address of its database there.
    """

    number: int
    cluster: commands.Cluster

    @property
    def name(self) -> str:
        """The target's name, which is also the name of its context."""
        return target(self.number)

    @property
    def api(self) -> str:
        """The API server."""
        return self._reached(world.API_SERVER)

    @property
    def router(self) -> str:
        """The gateway."""
        return self._reached(world.ROUTER)

    @property
    def prometheus(self) -> str:
        """Prometheus."""
        return self._reached(world.PROMETHEUS)

    @property
    def dsn_env(self) -> str:
        """The variable with `dsn`."""
        return world.DSN_VARIABLE + ("" if self.number == 1 else f"_{self.number}")

    @property
    def dsn(self) -> str:
        """The worked example's database."""
        inside = world.dsn(world.PRODUCTION)
        if self.number == 1:
            return inside
        return inside.replace(world.database_host(world.PRODUCTION), f"{self._host}:{_POSTGRES}")

    @property
    def _host(self) -> str:
        return f"127.0.0.{self.number}"

    def _reached(self, address: str) -> str:
        return address if self.number == 1 else f"{self._host}:{address.rpartition(':')[2]}"

    def routes(self) -> tuple[list[str], list[str]]:
        """The relay's arguments in this cluster's network, and those in the first one's."""
        there, here = [], []
        for address, reached in (
            (world.API_SERVER, self.api),
            (world.ROUTER, self.router),
            (world.PROMETHEUS, self.prometheus),
            (f"{world.database_host(world.PRODUCTION)}:{_POSTGRES}", f"{self._host}:{_POSTGRES}"),
        ):
            socket = f"{self.number}-{address.rpartition(':')[2]}.sock"
            there.append(f"{socket}={address}")
            here.append(f"{reached}={socket}")
        return there, here


@dataclass(frozen=True, slots=True)
class Fleet:
    """The running clusters in the order of the waves. Commands run in the network of the first."""

    members: tuple[Member, ...]

    @property
    def runner(self) -> commands.Cluster:
        """The cluster in whose network all others are reached."""
        return self.members[0].cluster

    def variables(self, kubeconfig: Path) -> dict[str, str]:
        """What a command on all targets has in its environment, besides the runner's."""
        dsns = {member.dsn_env: member.dsn for member in self.members}
        return {"KUBECONFIG": str(kubeconfig), **dsns}

    def kubeconfig(self, own: Sequence[Path], to: Path) -> Path:
        """Write one kubeconfig with a context for each member, from the `own` of each."""
        merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config"}
        merged |= {"clusters": [], "users": [], "contexts": []}
        for member, path in zip(self.members, own, strict=True):
            config, name = yaml.safe_load(path.read_text()), member.name
            # The certificate has the names of the cluster's own network.
            cluster = config["clusters"][0]["cluster"] | {
                "server": f"https://{member.api}",
                "tls-server-name": "localhost",
            }
            merged["clusters"].append({"name": name, "cluster": cluster})
            merged["users"].append({"name": name, "user": config["users"][0]["user"]})
            merged["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
        to.touch(mode=0o600)
        to.write_text(yaml.safe_dump(merged))
        return to

    def environment(
        self,
        one: Mapping[str, Any],
        sizes: Sequence[int],
        on_failure: Literal["wave", "all"] = "wave",
    ) -> dict[str, Any]:
        """The environment `one` of a single cluster with these clusters as its targets.

        `sizes`: how many of them are in each wave.
        """
        content = copy.deepcopy(dict(one))
        content["targets"] = [
            {
                "name": member.name,
                "kubernetes": content["kubernetes"] | {"context": member.name},
                "gateway": content["gateway"] | {"address": f"http://{member.router}"},
                "prometheus": content["prometheus"] | {"url": f"http://{member.prometheus}"},
                "database": content["database"] | {"dsn_env": member.dsn_env},
            }
            for member in self.members
        ]
        names = iter(member.name for member in self.members)
        content["waves"] = [
            {"targets": [next(names) for _ in range(size)], "on_failure": on_failure}
            for size in sizes
        ]
        return content


def target(number: int) -> str:
    """The name of a target, counted from 1."""
    return f"region-{number}"


@contextmanager
def clusters(name: str, number: int, say: Say) -> Iterator[Fleet]:
    """Start that many clusters, named after `name`, which end with the block."""
    with ExitStack() as stack:
        names = [f"{name}-{each}" for each in range(1, number + 1)]
        started = _all_up(names, say, stack)
        fleet = Fleet(tuple(Member(each, one) for each, one in enumerate(started, 1)))
        _connect(fleet, stack)
        yield fleet


def _all_up(names: Sequence[str], say: Say, stack: ExitStack) -> list[commands.Cluster]:
    """Start all at once; those that started are closed with the stack."""

    def up(name: str) -> commands.Cluster:
        return commands.up(name, lambda line: say(f"{name}: {line}"), tied=True)

    first_failed = None
    with ThreadPoolExecutor(len(names), "up") as pool:
        starting = [pool.submit(up, name) for name in names]
        try:
            done, _ = wait(starting, return_when=FIRST_EXCEPTION)
            first_failed = next(filter(None, (each.exception() for each in done)), None)
        finally:
            if not all(each.done() for each in starting):
                for name in names:
                    commands.give_up(name)
            for each in starting:
                if each.exception() is None:
                    stack.callback(each.result().close)
    if first_failed is not None:
        raise first_failed
    return [each.result() for each in starting]


def _connect(fleet: Fleet, stack: ExitStack) -> None:
    """Bring the servers of the other clusters into the network of the first."""
    folder = fleet.runner.folder.data / "relay"
    folder.mkdir(exist_ok=True)
    arrivals: list[str] = []
    for member in fleet.members[1:]:
        there, here = member.routes()
        stack.enter_context(_relay(member.cluster, folder, there))
        arrivals += here
    stack.enter_context(_relay(fleet.runner, folder, arrivals))


@contextmanager
def _relay(cluster: commands.Cluster, folder: Path, routes: Sequence[str]) -> Iterator[None]:
    argv = [sys.executable, "-m", "tarsrelease.rehearsal.relay", str(folder), *routes]
    with subprocess.Popen(
        cluster.enter_argv(argv),
        env=cluster.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the release
    ) as process:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018
        try:
            if not process.stdout.readline():
                raise UnreachableError(
                    doing=f"connecting the network of {cluster.folder.name}",
                    found=f"the relay ended with {process.wait()}",
                    expected="a relay that listens",
                    next_step="see its messages above, then run this command again",
                )
            yield
        finally:
            process.stdin.close()
            try:
                process.wait(_RELAY_END)
            except subprocess.TimeoutExpired:
                process.kill()
