"""Makes the new namespaces a place of their own: addresses, name service, shared memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from tarsrelease.rehearsal import world

# Every pod and service address is this machine's own, inside the namespace only.
_COMMANDS = f"""\
link set lo up
route add local {world.POD_RANGE} dev lo
route add local {world.SERVICE_RANGE} dev lo
"""
_RESOLVER = f"""\
nameserver {world.DNS_ADDRESS}
search svc.{world.CLUSTER_DOMAIN} {world.CLUSTER_DOMAIN}
options ndots:2 timeout:1 attempts:2
"""


async def prepare(data: Path, run: Callable[[list[str]], Awaitable[None]]) -> None:
    """Bring up the network, the resolver and a private /dev/shm.

    run: runs one command to its end and raises where it fails. The mounts are in a mount
    namespace of our own: outside, nothing changes, and they end with it.
    """
    commands = data / "network.batch"
    commands.write_text(_COMMANDS)
    await run(["ip", "-batch", str(commands)])
    resolver = data / "resolv.conf"
    resolver.write_text(_RESOLVER)
    await run(["mount", "--bind", str(resolver), "/etc/resolv.conf"])
    # PostgreSQL's shared memory would stay behind in the machine's when all is killed at once.
    await run(["mount", "-t", "tmpfs", "-o", "mode=1777,size=1g", "tmpfs", "/dev/shm"])  # noqa: S108
