"""The git commit of a bundle's inputs, by the git program.

The repository may be anybody's: nothing that it configures is executed. Hooks, fsmonitor, external
diffs, textconv, filters, signatures' programs, credential helpers and fetching of what is missing
are off, in submodules, too.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tarsrelease.adapters.child_environment import minimal
from tarsrelease.model.bundle import Source
from tarsrelease.model.bundle_input import INPUT
from tarsrelease.model.errors import UsageError
from tarsrelease.model.verification import Commit

_LONGEST = 30.0
_LARGEST = 2**20
_OFF = {
    "core.askPass": "",
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.sshCommand": "false",
    "credential.helper": "",
    "log.showSignature": "false",
    "protocol.allow": "never",
    "safe.bareRepository": "explicit",
    "safe.directory": "*",  # the owner of a checkout in a container is often another user
}
_VARIABLES = {
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


class _Refused(Exception):  # noqa: N818 - git's own answer, which the caller reads
    """git ended with an error."""


def source_of(paths: Sequence[Path], version: str) -> Source | None:
    """The commit that last touched `paths`, the release's tag if it stands on that very commit,
    and whether they have uncommitted changes. None outside of a git repository, and before the
    first commit of them.

    Not HEAD: committing the bundle itself moves HEAD, and a rebuild must give the same bytes.
    Raises `UsageError` in a shallow clone, where the last commit that touched a file is unknown.
    """
    root = _root(paths[0].parent)
    if root is None:
        return None
    if _git(root, "rev-parse", "--is-shallow-repository").strip() == b"true":
        raise UsageError(
            doing="recording the commit that the bundle is built from",
            found="the repository is a shallow clone",
            expected="the full history, to find the last commit that changed the inputs",
            next_step="git fetch --unshallow (in GitHub Actions: fetch-depth: 0)",
        )
    names = [str(path.resolve()) for path in paths]
    try:
        commit = _git(root, "rev-list", "-1", "HEAD", "--", *names).decode().strip()
    except _Refused:  # a repository without a commit
        return None
    if not commit:
        return None
    tags = _tags(root, commit)
    return Source(
        commit=commit,
        tag=next((tag for tag in (f"v{version}", version) if tag in tags), None),
        clean=not _changed(root, names),
    )


def commit_of(folder: Path, source: Source) -> Commit | str:
    """The commit that the bundle names, from the repository around the bundle's `folder`.

    Returns a text instead if there is no repository, or it is a clone without this commit. A
    repository inside the bundle is never used.
    """
    folder = folder.resolve()
    if shutil.which("git") is None:
        return "there is no git here"
    root = _root(folder.parent)
    if root is None:
        return "the bundle is not in a git repository"
    try:
        _git(root, "cat-file", "-e", f"{source.commit}^{{commit}}")
    except _Refused:
        return f"the repository at {root.name}/ does not have commit {source.commit}"
    inside = (folder / INPUT).relative_to(root).as_posix()
    try:
        size = int(_git(root, "cat-file", "-s", f"{source.commit}:{inside}"))
        # The bytes as they were committed: no textconv, no filter.
        inputs = (
            _git(root, "cat-file", "blob", f"{source.commit}:{inside}") if size < _LARGEST else b""
        )
    except _Refused:
        return Commit(_tags(root, source.commit), None)
    return Commit(_tags(root, source.commit), inputs)


def remote_and_commit(folder: Path) -> tuple[str | None, str | None]:
    """The address of the remote `origin` and the commit of a repository; None for what is not."""
    root = _root(folder)
    if root is None:
        return None, None
    found = []
    for arguments in (("config", "--get", "remote.origin.url"), ("rev-parse", "HEAD")):
        try:
            found.append(_git(root, *arguments).decode("utf-8", "replace").strip() or None)
        except _Refused:
            found.append(None)
    return found[0], found[1]


def _tags(root: Path, commit: str) -> frozenset[str]:
    found = _git(
        root, "for-each-ref", "--format=%(refname:strip=2)", f"--points-at={commit}", "refs/tags"
    )
    return frozenset(found.decode(errors="replace").splitlines())


def _root(folder: Path) -> Path | None:
    """The work tree around `folder`; None if there is none."""
    try:
        found = _git(folder, "rev-parse", "--show-toplevel").decode(errors="surrogateescape")
    except _Refused:
        return None
    return Path(found.rstrip("\n")).resolve()


def _changed(root: Path, paths: Sequence[str]) -> bool:
    """Whether anything of `paths` differs from its commit.

    Each submodule is asked by itself: what is switched off here is not handed down to it.
    """
    status = ("status", "--porcelain", "--untracked-files=all", "--ignore-submodules=dirty")
    if _git(root, *status, "--", *paths, more=_without_filters(root)):
        return True
    for line in _git(root, "ls-files", "--stage", "-z", "--", *paths).split(b"\0"):
        mode, _, path = line.partition(b"\t")
        if not mode.startswith(b"160000 "):
            continue
        inside = (root / path.decode(errors="surrogateescape")).resolve()
        is_there = root in inside.parents and (inside / ".git").exists()
        if is_there and _changed(inside, ["."]):
            return True
    return False


def _without_filters(root: Path) -> dict[str, str]:
    """Variables that switch off every filter that the repository configures.

    Not by -c: a filter's name may contain the `=` that would end the key there.
    """
    try:
        found = _git(root, "config", "--null", "--name-only", "--get-regexp", r"^filter\.")
    except _Refused:  # there is none
        return {}
    names = {key.rpartition(".")[0] for key in found.decode(errors="surrogateescape").split("\0")}
    values = {"clean": "", "smudge": "", "process": "", "required": "false"}
    pairs = [(f"{name}.{key}", each) for name in names if name for key, each in values.items()]
    variables = {"GIT_CONFIG_COUNT": str(len(pairs))}
    for number, (key, value) in enumerate(pairs):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def _git(folder: Path, *arguments: str, more: Mapping[str, str] | None = None) -> bytes:
    """What git prints. Raises _Refused where it ends with an error, UsageError without git."""
    settings = [part for key, value in _OFF.items() for part in ("-c", f"{key}={value}")]
    try:
        done = subprocess.run(
            ["git", "--no-pager", *settings, *arguments],
            cwd=folder,
            env={**minimal(), **_VARIABLES, **(more or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_LONGEST,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise UsageError(
            doing=f"asking git {arguments[0]} in {folder}",
            found=str(problem),
            expected=f"git on the PATH, and an answer within {_LONGEST:g} s",
            next_step="install git, or look at the repository with `git status`",
        ) from problem
    if done.returncode != 0:
        raise _Refused(done.stderr.decode(errors="replace").strip())
    return done.stdout
