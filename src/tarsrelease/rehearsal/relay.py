"""Lets processes in one cluster's network reach servers in another's.

`python -m tarsrelease.rehearsal.relay FOLDER LISTEN=CONNECT…` passes connections on. Each end is
HOST:PORT in the network of this process, or the name of a Unix socket in FOLDER, which processes in
every network reach. It writes a line to standard output when it listens, and ends with its standard
input.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

_CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connect(place: str) -> Ends:
    host, colon, port = place.rpartition(":")
    if colon:
        return await asyncio.open_connection(host, int(port))
    return await asyncio.open_unix_connection(place)


async def _listen(place: str, serve: Callable[..., Awaitable[None]]) -> asyncio.Server:
    host, colon, port = place.rpartition(":")
    if colon:
        return await asyncio.start_server(serve, host, int(port))
    return await asyncio.start_unix_server(serve, place)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Copy to the end; how many bytes there were."""
    total = 0
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
        total += len(chunk)
    return total


async def _send(reader: asyncio.StreamReader, onwards: asyncio.StreamWriter) -> None:
    try:
        await _copy(reader, onwards)
        onwards.write_eof()
    except OSError:
        onwards.close()  # one of the two is gone


async def _carry(
    place: str,
    open_: set[object],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Connect a client to `place` until the server there closes. `open_`: what carries now."""
    answered = 0
    # The loop has only weak references to a task whose client has sent all it has to send.
    task = asyncio.current_task()
    open_.add(task)
    with suppress(OSError):  # the client sees the end of its connection
        there, onwards = await _connect(place)
        sending = asyncio.create_task(_send(reader, onwards))
        try:
            answered = await _copy(there, writer)
        finally:
            sending.cancel()
            onwards.close()
    if not answered:
        _reset(writer)
    writer.close()
    open_.discard(task)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Let the client see a reset instead of an orderly end: nobody is there to answer."""
    connection = writer.get_extra_info("socket")
    if connection.family == socket.AF_INET:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


async def relay(routes: Sequence[tuple[str, str]]) -> None:
    """Pass connections on until standard input ends."""
    open_: set[object] = set()
    for listen, connect in routes:
        await _listen(listen, partial(_carry, connect, open_))
    print("listening", flush=True)
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, over.set)
    await over.wait()
    # Ending the usual way would first wait for the connections that are open.
    os._exit(0)


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    asyncio.run(relay([(a, b) for a, _, b in (each.partition("=") for each in sys.argv[2:])]))
