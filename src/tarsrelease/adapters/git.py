"""What a bundle's inputs were committed as, by GitPython."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import git

from tarsrelease.model.bundle import Source
from tarsrelease.model.errors import UsageError


def source_of(paths: Sequence[Path], version: str) -> Source | None:
    """The commit that last touched `paths`, the release's tag if it stands on that very commit,
    and whether they have uncommitted changes. None outside of a git repository, and before the
    first commit of them.

    Not HEAD: committing the bundle itself moves HEAD, and a rebuild must give the same bytes.
    Raises `UsageError` in a shallow clone, where the last commit that touched a file is unknown.
    """
    try:
        repository = git.Repo(paths[0].parent, search_parent_directories=True)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        return None
    with repository:
        if repository.git.rev_parse("--is-shallow-repository") == "true":
            raise UsageError(
                doing="recording the commit that the bundle is built from",
                found="the repository is a shallow clone",
                expected="the whole history, as the commit that last touched the inputs is asked",
                next_step="git fetch --unshallow (in GitHub Actions: fetch-depth: 0)",
            )
        names = [str(path.resolve()) for path in paths]
        if not repository.head.is_valid():
            return None
        commit = repository.git.log("-1", "--format=%H", "--", *names)
        if not commit:
            return None
        tags = set(repository.git.tag("--points-at", commit).splitlines())
        return Source(
            commit=commit,
            tag=next((tag for tag in (f"v{version}", version) if tag in tags), None),
            clean=not repository.git.status("--porcelain", "--untracked-files=all", "--", *names),
        )
