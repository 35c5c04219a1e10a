"""Running the helm binary: finding it, giving it a deadline, and reading its failures."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from threading import BoundedSemaphore
from time import monotonic

from tarsrelease.adapters.child_environment import for_cluster
from tarsrelease.model.errors import (
    LostError,
    ReleaseError,
    StoppedError,
    UnreachableError,
    UsageError,
)
from tarsrelease.model.format import duration

_GRACE = 10.0
"""Seconds that Helm gets after its own deadline, and again after it was asked to end."""

# Helm must not outlive the run that started it: two of them would work on one release. The
# kernel sends it SIGTERM when this process dies. What it leaves then (a revision that is failed or
# pending) is recovered by the next run.
_TIED = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 15)\n"
    "if os.getppid() != int(sys.argv[1]): sys.exit(143)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)

_UNREACHABLE = (
    "cluster unreachable",
    "connection refused",
    "no such host",
    "i/o timeout",
    "TLS handshake timeout",
    "no route to host",
    "connection reset by peer",
    "unexpected EOF",
    "http2: client connection lost",
    "failed to download openapi",
    "the server is currently unable to handle the request",
    "etcdserver: request timed out",
)
_FORBIDDEN = re.compile(
    r'cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
)
_HIDDEN = re.compile(r'^level=DEBUG msg="[^"]*[Ff]ail[^"]*".* error=(.*)$', re.MULTILINE)
_CHANGING = {"create", "update", "patch", "delete"}
_AT_ONCE = 32
"""Helm's processes at the same time, of some 60 MB each: a rollback may go to hundreds of clusters
at once."""
_places = BoundedSemaphore(_AT_ONCE)


class Failure(Exception):  # noqa: N818 - the caller turns it into a ReleaseError
    """Helm ended with an error: `said` is its message, `log` all that it wrote beside it."""

    def __init__(self, said: str, *, log: str = "", timed_out: bool = False) -> None:
        super().__init__(said)
        self.said = said
        self.log = log.replace('\\"', '"')
        self.timed_out = timed_out

    @property
    def not_found(self) -> bool:
        """Whether there is no such release."""
        return "release: not found" in self.said

    @property
    def _whole(self) -> str:
        """The message, with the reason that Helm writes only to its log (e.g. for uninstall)."""
        hidden = [reason for reason in _HIDDEN.findall(self.log) if "not found" not in reason]
        return f"{self.said}: {hidden[-1][:1000]}" if hidden else self.said

    def explained(self, doing: str, namespace: str, *, changing: bool) -> ReleaseError:
        """The failure as a ReleaseError. `changing`: Helm may have changed something."""
        right = _FORBIDDEN.search(self.said) or _FORBIDDEN.search(self.log)
        if right:
            resource = right["resource"] + (f".{right['group']}" if right["group"] else "")
            named = f"{right['verb']} {resource} in {namespace}"
            return _sort(changing)(
                doing=doing,
                found=f"the right to `{named}` is missing",
                expected="a ServiceAccount with the Role in rbac/role.yaml, and rights on the "
                "chart's kinds",
                next_step=f"compare with rbac/role.yaml; check with `kubectl auth can-i "
                f"{right['verb']} {resource} -n {namespace}`",
            )
        if not self.timed_out and any(sign in self.said for sign in _UNREACHABLE):
            return (LostError if changing else UnreachableError)(
                doing=doing,
                found=self.said,
                expected="an API server that answers",
                next_step="check that this machine can reach it, then run this command again",
            )
        return _sort(changing)(
            doing=doing,
            found=self._whole,
            expected="Helm to end without an error",
            next_step="see `tarsrelease status`; this command can be run again"
            if changing
            else "fix the error in Helm's message",
        )


def _sort(changing: bool) -> type[ReleaseError]:
    return StoppedError if changing else UsageError


def find_helm() -> str:
    """The path of the helm binary: TARSRELEASE_HELM, else PATH. UsageError if there is none."""
    named = os.environ.get("TARSRELEASE_HELM")
    found = shutil.which(named or "helm")
    if found is None:
        raise UsageError(
            doing="finding Helm",
            found=f"TARSRELEASE_HELM is {named}, which is not executable"
            if named
            else "no helm on PATH",
            expected="helm, version 3 or 4, on PATH or in TARSRELEASE_HELM",
            next_step="install Helm (https://helm.sh/docs/intro/install/), or set "
            "TARSRELEASE_HELM to its path",
        )
    return found


def run(
    program: str,
    arguments: Sequence[str],
    *,
    stdin: str | None,
    deadline: float,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Run Helm and return its standard output. Raises Failure.

    `variables` is its environment, by default what it needs to log in to the cluster. After
    `deadline`, part of which may pass until it can start, and a grace it is asked to end, and
    later killed. Helm ends well although it had no right to record what it did; that is a failure
    here.
    """
    ends_at = monotonic() + deadline
    if not _places.acquire(timeout=max(0.0, deadline)):
        said = f"Helm did not start within {duration(deadline)}: {_AT_ONCE} others were running"
        raise Failure(said, timed_out=True)
    try:
        variables = for_cluster() if variables is None else variables
        return _output(program, arguments, stdin, ends_at - monotonic(), variables)
    finally:
        _places.release()


def _output(
    program: str,
    arguments: Sequence[str],
    stdin: str | None,
    deadline: float,
    variables: Mapping[str, str],
) -> str:
    command = [program, *arguments]
    if sys.platform == "linux":
        command = [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *command]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=dict(variables),
    )
    timed_out = False
    try:
        try:
            out, err = process.communicate(stdin, timeout=deadline + _GRACE)
        except subprocess.TimeoutExpired:
            timed_out = True
            process.terminate()
            try:
                out, err = process.communicate(timeout=_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
    except BaseException:
        process.terminate()
        raise
    if timed_out:
        said = f"Helm was still running after {duration(deadline + _GRACE)}. {_last(err)}"
        raise Failure(said, log=err, timed_out=True)
    if process.returncode != 0:
        said = _last(err) or f"exit {process.returncode}"
        raise Failure(said, log=err, timed_out="timed out" in said)
    unrecorded = _FORBIDDEN.search(err.replace('\\"', '"'))
    if unrecorded and unrecorded["verb"] in _CHANGING:
        raise Failure(f"Helm could not record what it did: {unrecorded[0]}", log=err)
    return out


def _last(err: str) -> str:
    """Helm's message: from the last line that begins with Error, else the last line."""
    lines = [line for line in err.strip().splitlines() if line.strip() and not _is_log(line)]
    for number in range(len(lines) - 1, -1, -1):
        if lines[number].startswith("Error:"):
            return " ".join(lines[number:]).removeprefix("Error:").strip()[:2000]
    return lines[-1][:2000] if lines else ""


def _is_log(line: str) -> bool:
    return line.startswith(("level=", "time="))
