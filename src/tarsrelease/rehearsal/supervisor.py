"""Process 1 of the cluster's namespaces: when it ends, the kernel ends everything in them.

Run by `commands.up` as ``python -m tarsrelease.rehearsal.supervisor FOLDER LIFELINE REPORT``:
the cluster's state folder, the end of a pipe that closes when the caller dies (then the
supervisor ends, unless it was detached or somebody else holds it), and the end of a pipe that we
write our progress to, one JSON object a line: {"say": TEXT}, {"listening": true},
{"ready": SECONDS}, {"failed": TEXT}.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tarsrelease.model.format import duration
from tarsrelease.rehearsal.boot import Cluster
from tarsrelease.rehearsal.control import short_path
from tarsrelease.rehearsal.keeper import Part, PartError, Surroundings
from tarsrelease.rehearsal.kubeapi import KubeApiError
from tarsrelease.rehearsal.parts import Layout
from tarsrelease.rehearsal.spawn import ProcessTable
from tarsrelease.rehearsal.spec import Spec
from tarsrelease.rehearsal.state import StateFolder

_PROXIES = {"http_proxy", "https_proxy", "all_proxy", "ftp_proxy"}


class Supervisor:
    """Starts the cluster, serves the control socket, and ends when told to."""

    def __init__(self, folder: StateFolder, lifeline: int, report: int) -> None:
        self._folder = folder
        self._lifeline = lifeline
        self._report = report
        self._phase = "starting"
        self._detached = False
        self._holders = 1  # the lifeline, until it closes
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        # One thread per request; the threads only wait for answers.
        self._loop.set_default_executor(ThreadPoolExecutor(max_workers=32))
        layout = Layout(data=folder.data, logs=folder.logs, images=folder.images)
        self._cluster = Cluster(
            Spec.read(folder.spec),
            layout,
            Surroundings(
                table=ProcessTable(),
                environment=_environment(layout),
                logs=folder.logs,
                folder=folder.data,
                say=self._say,
            ),
        )

    async def run(self) -> None:
        """Return when the cluster is to end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._over.set)
        self._loop.add_reader(self._lifeline, self._caller_left)
        with short_path(self._folder.socket) as name:
            server = await asyncio.start_unix_server(self._serve, name)
        async with server:
            self._tell({"listening": True})
            starting = asyncio.create_task(self._start())
            starting.add_done_callback(self._started)
            await self._over.wait()
            starting.cancel()

    async def _start(self) -> None:
        began = time.monotonic()
        reasons: list[str] = []
        try:
            await self._cluster.start()
        except* (PartError, KubeApiError, OSError) as errors:
            reasons = _messages(errors)
        if reasons:
            self._say(f"failed: {'; '.join(reasons)}")
            self._tell({"failed": "; ".join(reasons)})
            self._over.set()
            return
        self._phase = "ready"
        self._say(f"ready after {duration(time.monotonic() - began)}")
        self._tell({"ready": time.monotonic() - began})

    def _started(self, starting: asyncio.Task[None]) -> None:
        bug = None if starting.cancelled() else starting.exception()
        if bug is not None:
            self._over.set()  # whatever happens below, the caller sees the supervisor end
            traceback.print_exception(bug)

    def _caller_left(self) -> None:
        self._loop.remove_reader(self._lifeline)
        self._let_go()

    def _let_go(self) -> None:
        self._holders -= 1
        if self._holders == 0 and not self._detached:
            self._say("nobody holds this cluster any more, so it ends")
            self._over.set()

    def _say(self, text: str) -> None:
        print(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {text}", flush=True)
        if self._phase == "starting":
            self._tell({"say": text})

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            os.write(self._report, json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            # Nobody listens any more. Whether that ends us is for the lifeline to say, so it is
            # only noted; the log has what was said.
            print("(nobody reads the reports any more)", flush=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        holds = False
        reply: dict[str, Any]
        try:
            while line := await reader.readline():
                try:
                    request = json.loads(line)
                    match request:
                        case {"do": "hold"} if not holds:
                            holds, reply = True, {}
                            self._holders += 1
                        case {"do": "leave"} if holds:
                            left = self._holders - 1 + (1 if self._detached else 0)
                            holds, reply = False, {"left": left}
                            # The reply goes first: letting go may end us.
                            self._loop.call_soon(self._let_go)
                        case _:
                            reply = await self._answer(request)
                    reply = {"ok": True, **reply}
                except (PartError, KeyError, ValueError, TypeError) as error:
                    reply = {"ok": False, "error": str(error) or repr(error)}
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            self._say("a control connection broke off")
        finally:
            writer.close()
            if holds:
                self._let_go()

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request:
            case {"do": "status"}:
                described = [part.describe() for part in self._cluster.parts.values()]
                return {"phase": self._phase, "parts": described}
            case {"do": "detach"}:
                self._detached = True
            case {"do": "shutdown"}:
                self._loop.call_soon(self._over.set)
            case {"do": "load-start", "arguments": [*arguments]}:
                await self._start_load([str(argument) for argument in arguments])
            case {"do": "load-stop"}:
                await self._part("load").stop()
            case {"do": str(verb), "part": str(name)}:
                await self._change(verb, self._part(name))
            case _:
                raise PartError(f"not understood: {json.dumps(request)}")
        return {}

    def _part(self, name: str) -> Part:
        if name not in self._cluster.parts:
            known = ", ".join(sorted(self._cluster.parts))
            raise PartError(f"there is no part {name!r}; there are: {known}")
        return self._cluster.parts[name]

    async def _start_load(self, arguments: list[str]) -> None:
        running = self._cluster.parts.get("load")
        if running is not None and running.state != "stopped":
            raise PartError("the load generator runs already: stop it first")
        load = self._cluster.load(arguments)
        load.start()
        await load.wait_ready(deadline=10.0)

    async def _change(self, verb: str, part: Part) -> None:
        self._say(f"{verb} {part.name}, as asked")
        match verb:
            case "stop":
                await part.stop()
            case "kill":
                await part.stop(by=signal.SIGKILL)
            case "start":
                part.start()
                await part.wait_ready(deadline=25.0)
            case "restart":
                await part.stop(by=signal.SIGKILL)
                part.start()
                await part.wait_ready(deadline=25.0)
            case "pause":
                part.pause()
            case "resume":
                part.resume()
            case "reload":
                part.reload()
            case _:
                raise PartError(f"a part cannot {verb!r}")


def _environment(layout: Layout) -> dict[str, str]:
    """The parts' environment: ours, without proxies, with scratch files where `down` finds them."""
    scratch = layout.data / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    scratch.chmod(0o1777)  # PostgreSQL runs as another user
    kept = {key: value for key, value in os.environ.items() if key.lower() not in _PROXIES}
    return {**kept, "TMPDIR": str(scratch)}


def _messages(errors: BaseExceptionGroup[Any]) -> list[str]:
    texts: list[str] = []
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            texts += _messages(error)
        else:
            texts.append(str(error) if isinstance(error, PartError) else repr(error))
    return list(dict.fromkeys(texts))


async def _main(folder: StateFolder, lifeline: int, report: int) -> None:
    await Supervisor(folder, lifeline, report).run()
    # The kernel ends everything else now. Ending the usual way would first wait for the threads
    # that look whether a part is ready.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(_main(StateFolder(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])))
